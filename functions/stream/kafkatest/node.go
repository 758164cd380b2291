package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// stopWithin is how long a node may take to end when it is asked to. Longer
// means that it hangs, as it does when its controllers are gone.
const stopWithin = 30 * time.Second

// node is one process of Apache Kafka: what is needed to start it, and, while it
// runs, the process.
type node struct {
	id      int32
	addr    string   // where it is a broker; "" if it is none
	java    []string // the command, up to the main class
	config  string   // its properties file
	logPath string   // where its output is appended

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended; nil before the first start
	exit   error         // why it ended, readable once exited is closed
}

// javaCommand is the command that runs a class of Kafka's. 384 MB is what a
// broker of a few topics needs. The optimizing compiler is left out: a node that
// lives a minute would spend more time on it than it gets back.
// Of options that contradict each other the last one counts.
func javaCommand(libs, logConfig string, more ...string) []string {
	command := []string{
		"java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + logConfig,
		"-cp", filepath.Join(libs, "*"),
	}
	return append(command, more...)
}

// formatAll prepares the storage of all nodes for one cluster.
func formatAll(ctx context.Context, nodes []*node, clusterID string) error {
	var all errgroup.Group
	all.SetLimit(2) // each is a second of a core
	for _, n := range nodes {
		all.Go(func() error {
			args := append(n.java[1:len(n.java):len(n.java)],
				"kafka.tools.StorageTool", "format", "--cluster-id", clusterID, "--config", n.config)
			out, err := exec.CommandContext(ctx, n.java[0], args...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("format the storage of node %d: %w; it says:\n%s", n.id, err, out)
			}
			return nil
		})
	}
	return all.Wait()
}

// start starts the process and returns at once.
func (n *node) start() error {
	if n.running() {
		return fmt.Errorf("start node %d: it is running", n.id)
	}
	log, err := os.OpenFile(n.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start node %d: %w", n.id, err)
	}
	defer log.Close()
	args := append(n.java[1:len(n.java):len(n.java)], "kafka.Kafka", n.config)
	// Not CommandContext: a test's context ends before its cleanups, and a node
	// has to outlive what the cleanups of others still do with it.
	cmd := exec.Command(n.java[0], args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = endWithParent()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start node %d: %w", n.id, err)
	}
	exited := make(chan struct{})
	n.cmd, n.exited = cmd, exited
	go func() {
		n.exit = cmd.Wait()
		close(exited)
	}()
	return nil
}

func (n *node) running() bool {
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// kill ends the process at once, if it runs.
func (n *node) kill() {
	if n.running() {
		_ = n.cmd.Process.Kill() // it may have ended by itself just now
		<-n.exited
	}
}

// stop asks the process to end and waits until it has.
func (n *node) stop() error {
	if !n.running() {
		return fmt.Errorf("stop node %d: it is not running", n.id)
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop node %d: %w", n.id, err)
	}
	select {
	case <-n.exited:
		return nil
	case <-time.After(stopWithin):
		return fmt.Errorf("stop node %d: it has not ended within %v; the end of its log:\n%s", n.id, stopWithin, n.logTail())
	}
}

// logTail returns the last lines of the node's log.
func (n *node) logTail() []byte {
	const size = 4 << 10
	log, err := os.ReadFile(n.logPath)
	if err != nil {
		return []byte(err.Error())
	}
	if len(log) > size {
		log = log[len(log)-size:]
		if i := bytes.IndexByte(log, '\n'); i >= 0 {
			log = log[i+1:]
		}
	}
	return log
}

// FreePorts returns n loopback ports that nobody listens on. They are below those
// that the system hands out to outgoing connections: a client that reconnects
// while a broker is down must not be given the broker's own port.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	const low, high = 12_000, 30_000
	var ports []int
	for range 1000 {
		port := low + rand.IntN(high-low)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		defer l.Close() // held until all are found, so that none is found twice
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatalf("kafkatest: found only %d free loopback ports from %d to %d, need %d", len(ports), low, high, n)
	return nil
}
