package source

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/twmb/franz-go/pkg/kfake"
)

// partEnv names the part that the test binary plays in a process of its own, so
// that a benchmark's process has only the dispatcher in it.
const partEnv = "SOURCE_BENCHMARK_PART"

// servePart runs a broker or a sink until standard input ends. The first line of
// its output is the address.
func servePart(part string) {
	switch part {
	case "broker":
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DefaultNumPartitions(benchPartitions))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		defer cluster.Close()
		fmt.Println(cluster.ListenAddrs()[0])
	case "sink":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		defer l.Close()
		fmt.Println(l.Addr())
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go accept202(c)
			}
		}()
	}
	io.Copy(io.Discard, os.Stdin)
}

// accept202 answers all requests of a connection 202, and does nothing else.
func accept202(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		length := 0
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) <= len("\r\n") {
				break
			}
			if value, ok := bytes.CutPrefix(line, []byte("content-length: ")); ok {
				length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
			}
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		if _, err := io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

// benchPartitions is the number of partitions of the topics of that broker.
const benchPartitions = 8
