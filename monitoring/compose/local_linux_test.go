package compose

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/go-units"
)

// endWithParent has a process end when the test's process does, however that ends.
func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// mostMemory returns the most memory that a process has had at once, in bytes.
func mostMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			bytes, err := units.RAMInBytes(strings.ReplaceAll(strings.TrimSpace(value), " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			return bytes
		}
	}
	t.Fatalf("process %d has no VmHWM", pid)
	return 0
}
