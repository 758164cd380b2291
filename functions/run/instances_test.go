package run

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
	"datasurge/functions/stream/kafkatest"
)

// childVariable makes the test's own executable run a function.
const childVariable = "DATASURGE_TEST_FUNCTION"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		if err := Main(ctx, []string{name}, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// process is a function in a process of its own.
type process struct {
	url string
	cmd *exec.Cmd
	log *bytes.Buffer
}

func startProcess(t *testing.T, name string, b kafkatest.Backend, env ...string) *process {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	p := &process{url: "http://127.0.0.1:" + strconv.Itoa(port), cmd: exec.Command(os.Args[0]), log: &bytes.Buffer{}}
	p.cmd.Env = append(os.Environ(), childVariable+"="+name, "HOST=127.0.0.1", "POD_IP=127.0.0.1",
		"PORT="+strconv.Itoa(port), "KAFKA_BROKERS="+strings.Join(b.Addrs, ","), "MAX_AHEAD=0")
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.url, p.log)
		}
	})
	return p
}

// kill is kill -9. It may be called twice.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func (p *process) awaitReady(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		if response, err := http.Get(p.url + "/readyz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not become ready:\n%s", p.url, p.log)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Requests go to three instances of detect with no regard to partitions. One is
// killed, one is added: nothing is lost, nothing is doubled, and every partition
// has an owner again within 15 s.
func TestThreeInstancesUnderHTTP(t *testing.T) {
	b := kafkatest.Brokers(t)
	p := newPipeline(t, b, nil)
	const count = 3000
	run := fmt.Sprintf("%08x-", rand.Uint32()) // begins the ids of this run
	p.produceEnriched(run, count)

	var mu sync.Mutex
	var instances []*process
	add := func() *process {
		one := startProcess(t, "detect", b)
		mu.Lock()
		instances = append(instances, one)
		mu.Unlock()
		return one
	}
	pick := func() *process {
		mu.Lock()
		defer mu.Unlock()
		return instances[rand.IntN(len(instances))]
	}
	for range 3 {
		add().awaitReady(t)
	}
	var killed time.Time
	var back sync.Map // partition: time of its first event after the kill
	slots := make(chan struct{}, 99)
	var wg sync.WaitGroup
	for i, e := range p.placed(events.TopicEnriched, run) {
		switch i {
		case count / 3:
			mu.Lock()
			victim := instances[0]
			instances = instances[1:]
			mu.Unlock()
			victim.kill()
			killed = time.Now()
		case count * 2 / 3:
			add()
		}
		began, after := killed, !killed.IsZero()
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			p.post(pick, e)
			if after {
				back.LoadOrStore(e.Extension(events.ExtPartition), time.Since(began))
			}
		})
	}
	wg.Wait()
	for partition := range partitions {
		took, ok := back.Load(strconv.Itoa(partition))
		if !ok || took.(time.Duration) > 15*time.Second {
			t.Errorf("partition %d took its first event %v after the kill, want at most 15 s", partition, took)
		}
	}
	seen := map[string]int{}
	for _, e := range p.read(events.TopicScored) {
		if strings.HasPrefix(e.ID, run) {
			seen[e.ID]++
		}
	}
	doubled := 0
	for _, n := range seen {
		if n > 1 {
			doubled++
		}
	}
	if len(seen) != count {
		for _, e := range p.placed(events.TopicEnriched, run) {
			if seen[e.ID] == 0 {
				t.Logf("not scored: %s, partition %s, offset %s", e.ID, e.Extension(events.ExtPartition), e.Extension(events.ExtOffset))
			}
		}
	}
	if len(seen) != count || doubled > 0 {
		t.Errorf("%d of %d transactions are scored, %d of them more than once", len(seen), count, doubled)
	}
}

func (p *pipeline) produceEnriched(run string, count int) {
	p.t.Helper()
	var records []*kgo.Record
	at := time.Now().Add(-time.Hour)
	for i := range count {
		e := events.NewEnriched(&events.Enriched{
			Transaction: events.Transaction{
				TransactionID: run + strconv.Itoa(i), UserID: "u" + strconv.Itoa(i%200), MerchantID: "m1",
				Amount: int64(1000 + i), Currency: "USD", Time: at.Add(time.Duration(i) * 100 * time.Millisecond).UnixMilli(),
				Type: "purchase", Location: "US", PaymentMethod: "credit_card",
			},
			Category: "grocery", Country: "US", BaseAmount: int64(1000 + i), BaseCurrency: "USD",
		})
		rec := &kgo.Record{}
		kafkarecord.Write(&e, rec)
		records = append(records, rec)
	}
	p.Produce(p.t, events.TopicEnriched, records...)
}

// placed returns the events of a topic whose ids begin with run, as a KafkaSource
// delivers them, those of all partitions by their time.
func (p *pipeline) placed(topic, run string) []*events.Event {
	p.t.Helper()
	var list []*events.Event
	for _, rec := range p.ReadDecided(p.t, topic) {
		e := &events.Event{}
		if err := kafkarecord.Read(rec, e, kafkarecord.Mapping{Place: true}); err != nil {
			p.t.Fatal(err)
		}
		e.Extensions = append(e.Extensions, events.Extension{Name: events.ExtTopic, Value: topic})
		if strings.HasPrefix(e.ID, run) {
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b *events.Event) int { return a.Time.Compare(b.Time) })
	return list
}

// post sends e to one that pick chooses, until it is accepted.
func (p *pipeline) post(pick func() *process, e *events.Event) {
	client := &http.Client{Timeout: 10 * time.Second}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		request, err := http.NewRequest(http.MethodPost, pick().url, bytes.NewReader(e.Data))
		if err != nil {
			p.t.Error(err)
			return
		}
		for name, value := range map[string]string{
			"ce-specversion": "1.0", "ce-id": e.ID, "ce-source": e.Source, "ce-type": e.Type,
			"ce-time": e.Time.Format(time.RFC3339Nano), "ce-partitionkey": e.Key, "content-type": e.DataContentType,
		} {
			request.Header.Set(name, value)
		}
		for _, x := range e.Extensions {
			request.Header.Set("ce-"+x.Name, x.Value)
		}
		if response, err := client.Do(request); err == nil {
			text, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode == http.StatusAccepted {
				return
			}
			if response.StatusCode != http.StatusServiceUnavailable {
				p.t.Errorf("%s answered %s: %s", e.ID, response.Status, text)
				return
			}
		}
		time.Sleep(100 * time.Millisecond) // a source's backoff
	}
	p.t.Errorf("%s was not accepted within a minute", e.ID)
}
