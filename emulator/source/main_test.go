package source

import (
	"os"
	"testing"

	"datasurge/emulator/golden"
)

func TestMain(m *testing.M) {
	if part := os.Getenv(partEnv); part != "" {
		servePart(part)
		return
	}
	os.Exit(golden.Main(m))
}
