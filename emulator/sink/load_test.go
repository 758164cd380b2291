package sink

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kfake"
)

// asLoad in the environment makes the test binary what stands around a receiver
// that is measured: an embedded Kafka, whose address it writes, and clients, which
// send as many events as each line of its input says, to the address there.
const asLoad = "SINK_TEST_AS_LOAD"

// loadClients is how many clients send at the same time.
const loadClients = 64

func load(in io.Reader, out io.Writer) error {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		return err
	}
	defer cluster.Close()
	fmt.Fprintln(out, cluster.ListenAddrs()[0])
	var conns []net.Conn
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var address string
		var events int64
		if _, err := fmt.Sscan(lines.Text(), &address, &events); err != nil {
			return err
		}
		for len(conns) < loadClients {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return err
			}
			defer conn.Close()
			conns = append(conns, conn)
		}
		if err := send(conns, events); err != nil {
			return err
		}
		fmt.Fprintln(out, "done")
	}
	return nil
}

// send sends events of 200 bytes over the connections, each one after the other.
func send(conns []net.Conn, events int64) error {
	request := "POST /default/s HTTP/1.1\r\nHost: sink\r\nCe-Specversion: 1.0\r\nCe-Id: 1234567890\r\nCe-Source: /bench\r\n" +
		"Ce-Type: com.example.bench\r\nContent-Type: application/json\r\nCe-Partitionkey: key\r\nContent-Length: 200\r\n\r\n" + strings.Repeat("x", 200)
	const answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
	var left atomic.Int64
	left.Store(events)
	failed := make(chan error, len(conns))
	var wg sync.WaitGroup
	for _, conn := range conns {
		wg.Go(func() {
			got := make([]byte, len(answer))
			for left.Add(-1) >= 0 {
				_, err := io.WriteString(conn, request)
				if err == nil {
					_, err = io.ReadFull(conn, got)
				}
				if err == nil && string(got) != answer {
					err = fmt.Errorf("answer %q", got)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}

// runLoad is load as a process.
func runLoad() {
	if err := load(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
