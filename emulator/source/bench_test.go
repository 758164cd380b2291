//go:build unix

package source

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/dispatch"
	"datasurge/knative"
)

// startPart starts a part and returns its address.
func startPart(b *testing.B, part string) string {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), partEnv+"="+part)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// BenchmarkDelivery delivers events of 200 bytes, unordered, to a sink on this
// machine. Broker and sink are processes of their own, so cpu-µs/event is what
// the dispatcher takes; events/s depends on what else the machine does. The data
// plane of Knative makes about 10,000 events/s at 71 µs on two cores.
func BenchmarkDelivery(b *testing.B) {
	for _, kind := range []string{"plain", "event"} {
		b.Run(kind, func(b *testing.B) { benchmarkDelivery(b, kind == "event") })
	}
}

func benchmarkDelivery(b *testing.B, event bool) {
	kafka := []kgo.Opt{kgo.SeedBrokers(startPart(b, "broker"))}
	url := "http://" + startPart(b, "sink") + "/"
	client, err := kgo.NewClient(append(kafka, kgo.DefaultProduceTopic("t"))...)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(b.Context(), benchPartitions, 1, nil, "t"); err != nil {
		b.Fatal(err)
	}
	value := bytes.Repeat([]byte("x"), 200)
	records := make([]*kgo.Record, b.N)
	for i := range records {
		records[i] = &kgo.Record{Key: fmt.Appendf(nil, "user-%d", i%1000), Value: value}
		if event {
			for name, v := range map[string]string{
				"ce_specversion": "1.0", "ce_id": "0198c0a0-0000-7000-8000-000000000000", "ce_source": "/datasurge/enrich",
				"ce_type": "com.datasurge.enriched.v1", "content-type": "application/json", "ce_subject": "user-1",
				"ce_time": "2026-01-02T03:04:05.678Z", "ce_partitionkey": "user-1", "ce_datasurgetask": "enrich/1", "ce_datasurgewatermark": "1767323045678",
			} {
				records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: name, Value: []byte(v)})
			}
		}
	}
	if err := client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
		b.Fatal(err)
	}
	spec := Spec{
		Object: &knative.Object{Kind: "KafkaSource", Name: "bench", Namespace: "default"}, Topics: []string{"t"}, Group: "g", PlainRecords: true,
		Egress: dispatch.Egress{Subscriber: dispatch.Target{URL: url}, Delivery: dispatch.Delivery{Timeout: time.Minute}},
	}
	transport := dispatch.NewTransport(1, nil)
	defer transport.CloseIdleConnections()
	b.ReportAllocs()
	b.ResetTimer()
	start, used := time.Now(), cpuTime(b)
	d, err := Open(b.Context(), Config{Spec: spec, Kafka: kafka, Transport: transport, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for tick := time.NewTicker(time.Millisecond); d.delivered.Load() < int64(b.N); <-tick.C {
	}
	took := time.Since(start)
	b.ReportMetric(float64(b.N)/took.Seconds(), "events/s")
	b.ReportMetric(float64((cpuTime(b)-used).Microseconds())/float64(b.N), "cpu-µs/event")
	b.StopTimer()
	d.Close(b.Context())
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
