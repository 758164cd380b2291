package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/datadir"
	"datasurge/emulator/golden"
	"datasurge/events"
)

// asMain in the environment makes the test binary the emulator.
const asMain = "EMULATOR_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	switch {
	case isChild():
		os.Exit(child())
	case os.Getenv(asProgram) != "":
		program(os.Getenv(asProgram))
	case os.Getenv(asStep) != "":
		step()
	case os.Getenv(asMain) != "":
		main()
	}
	os.Exit(golden.Main(m))
}

// output is a file that a command writes to and a test reads.
func output(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func content(t *testing.T, f *os.File) string {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func occupy(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// TestErrors: exit status 1 and one line that says what is wrong and what to do.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	topic := "apiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\nmetadata: {name: t, labels: {strimzi.io/cluster: c}}\n"
	unknownField := write("field.yaml", topic+"spec:\n  partitons: 4\n")
	twoErrors := write("two.yaml", "apiVersion: v1\nkind: Pod\n---\napiVersion: v1\nkind: Pod\n")
	otherImage := write("image.yaml", "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: f}\nspec: {template: {spec: {containers: [{image: nginx}]}}}\n")
	noFunction := write("function.yaml", "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: f}\nspec: {template: {spec: {containers: [{image: ko://datasurge/functions}]}}}\n")
	noTopic := write("topic.yaml", "apiVersion: sources.knative.dev/v1\nkind: KafkaSource\nmetadata: {name: s}\nspec: {bootstrapServers: [b], topics: [nope], sink: {uri: 'http://h/'}}\n")
	nothing := write("nothing.yaml", "# to be written\n")
	one := write("one.yaml", topic+"spec: {partitions: 1}\n")
	busy := filepath.Join(dir, "busy")
	inUse, err := datadir.Open(busy)
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Close()
	killed, unreadable := filepath.Join(dir, "killed"), filepath.Join(dir, "unreadable")
	for path, text := range map[string]string{killed: `{"kafka":["127.0.0.1:1"],"services":{"enrich":{"url":"http://127.0.0.1:1"}}}`, unreadable: `{"kafka":`} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "emulator.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	taken := occupy(t)
	_, takenPort, err := net.SplitHostPort(taken)
	if err != nil {
		t.Fatal(err)
	}
	free := []string{"--kafka-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"unknown command", []string{"rum"}, []string{`there is no command "rum"`}},
		{"unknown flag", []string{"run", "--prot", "1"}, []string{"-prot", "emulator run -h"}},
		{"bad value", []string{"run", "--rate", "many"}, []string{"-rate", `"many"`}},
		{"bad rate", []string{"run", "--rate", "0"}, []string{"--rate 0", "--profile none"}},
		{"bad profile", []string{"run", "--profile", "fast"}, []string{`--profile "fast"`, "live"}},
		{"speed of live", []string{"run", "--speed", "3600"}, []string{"--speed", "--profile handbook"}},
		{"no speed", []string{"run", "--profile", "handbook", "--speed", "0"}, []string{"--speed", "max"}},
		{"bad pace", []string{"run", "--pace", "0"}, []string{"-pace", "0 times", "1 to 100"}},
		{"bad option of pace", []string{"run", "--pace", "2,fast"}, []string{"-pace", `"fast"`, "graceful", "drain=1s"}},
		{"bad drain", []string{"run", "--pace", "drain=-1s"}, []string{`"drain=-1s"`, "above 0"}},
		{"argument", []string{"run", "now"}, []string{`"now"`}},
		{"nothing to watch", []string{"run", "--watch"}, []string{"--watch", "-f", "--exec"}},
		{"watched input", []string{"run", "--watch", "-f", "-"}, []string{"--watch", "standard input"}},
		{"no command", []string{"run", "--exec", "f"}, []string{"-exec", "NAME=COMMAND"}},
		{"command of no Service", []string{"run", "-f", otherImage, "--exec", "g=true"}, []string{"--exec g", "no Service of that name; they have f"}},
		{"no such command", []string{"run", "-f", otherImage, "--exec", "f=no-such-program"}, []string{"--exec f", "no-such-program", "not found"}},
		{"bad brokers", []string{"run", "--brokers", "kafka"}, []string{`"kafka"`, "host:port"}},
		{"bad address", []string{"run", "--http-addr", "8080", "--data-dir", filepath.Join(dir, "a")}, []string{`--http-addr "8080"`, "host:port"}},
		{"HTTP port", append([]string{"run", "--data-dir", filepath.Join(dir, "b")}, "--http-addr", taken), []string{takenPort, "taken", "--http-addr"}},
		{"Kafka port", append([]string{"run", "--data-dir", filepath.Join(dir, "c"), "--http-addr", "127.0.0.1:0"}, "--kafka-addr", taken), []string{takenPort, "taken", "--kafka-addr"}},
		{"no broker", append([]string{"run", "--data-dir", filepath.Join(dir, "d"), "--brokers", "127.0.0.1:1,127.0.0.1:2"}, free...), []string{"127.0.0.1:1,127.0.0.1:2", "connection refused", "--brokers"}},
		{"no Kafka", append([]string{"run", "--data-dir", filepath.Join(dir, "e"), "--brokers", taken}, free...), []string{taken, "does not answer as Kafka", "--brokers"}},
		{"unknown field", []string{"run", "-f", unknownField}, []string{unknownField + ":5: spec.partitons: unknown field"}},
		{"two errors", []string{"run", "-f", twoErrors}, []string{twoErrors + ":2:", "(and 1 more)"}},
		{"no manifest", []string{"run", "-f", filepath.Join(dir, "none")}, []string{"none", "no such file"}},
		{"nothing declared", []string{"run", "-f", nothing}, []string{"nothing that could be run", nothing}},
		{"other image", []string{"run", "-f", otherImage}, []string{otherImage + ":4: spec.template.spec.containers[0].image: nginx"}},
		{"no function", []string{"run", "-f", noFunction}, []string{"FUNCTION is missing"}},
		{"no topic", append([]string{"run", "-f", one, "-f", noTopic, "--data-dir", filepath.Join(dir, "f")}, free...), []string{noTopic + ":4: spec.topics", `"nope"`}},
		{"data directory in use", append([]string{"run", "--data-dir", busy}, free...), []string{"another emulator (process " + fmt.Sprint(os.Getpid()) + ")", busy, "--data-dir"}},
		{"tail of nothing", []string{"tail"}, []string{"emulator tail TOPIC"}},
		{"tail without an emulator", []string{"tail", "t", "--data-dir", filepath.Join(dir, "none")}, []string{"no emulator runs"}},
		{"tail of one that was killed", []string{"tail", "t", "--data-dir", killed}, []string{killed, "without being stopped", "start it again"}},
		{"invoke of one that was killed", []string{"invoke", "enrich", "--data-dir", killed}, []string{killed, "without being stopped", "--local"}},
		{"tail with half an emulator.json", []string{"tail", "t", "--data-dir", unreadable}, []string{"cannot be read", "emulator.json"}},
		{"invoke of nothing", []string{"invoke", "foo", "--data-dir", filepath.Join(dir, "none")}, []string{`no function "foo"; there are generate, enrich,`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs bytes.Buffer
			out := output(t)
			if status := execute(t.Context(), c.args, out, &errs); status != 1 {
				t.Errorf("exit status %d, want 1; %s", status, content(t, out))
			}
			if n := strings.Count(errs.String(), "\n"); n != 1 {
				t.Errorf("%d lines: %s", n, &errs)
			}
			for _, want := range c.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("no %q in: %s", want, &errs)
				}
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"-h"}, {"run", "-h"}, {"tail", "--help"}} {
		var errs bytes.Buffer
		out := output(t)
		if status := execute(t.Context(), args, out, &errs); status != 0 || errs.Len() > 0 || !strings.HasPrefix(content(t, out), "usage: emulator") {
			t.Errorf("%q: exit status %d, %s%s", args, status, content(t, out), &errs)
		}
	}
	if status := execute(t.Context(), nil, output(t), io.Discard); status != 1 {
		t.Errorf("no command: exit status %d", status)
	}
}

// running is an emulator that runs in this process.
type running struct {
	t    *testing.T
	dir  string
	info datadir.Info
	out  *os.File
	errs bytes.Buffer
	stop context.CancelFunc
	done chan int
}

// launch starts the emulator on dir and returns when emulator.json is there.
func launch(t *testing.T, dir string, args ...string) *running {
	t.Helper()
	return launchWith(t, 3, dir, args...)
}

// launchWith is launch with manifests that have at least so many Services.
func launchWith(t *testing.T, services int, dir string, args ...string) *running {
	t.Helper()
	r := &running{t: t, dir: dir, out: output(t), done: make(chan int, 1)}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	args = append([]string{"run", "--data-dir", dir, "--kafka-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"}, args...)
	go func() { r.done <- execute(ctx, args, r.out, &r.errs) }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("emulator %q:\n%s%s", args, content(t, r.out), &r.errs)
		}
	})
	r.await("emulator.json with all pids", func() bool {
		var err error
		r.info, err = datadir.ReadInfo(dir)
		if err != nil {
			return false
		}
		for _, s := range r.info.Services {
			if s.PID == 0 && services > 0 {
				return false
			}
		}
		return len(r.info.Services) >= services
	})
	return r
}

// await waits until ok, which processes have to bring about.
func (r *running) await(what string, ok func() bool) {
	r.t.Helper()
	eventually(r.t, what, r.done, ok)
}

func eventually(t *testing.T, what string, done <-chan int, ok func() bool) {
	t.Helper()
	timeout := time.After(2 * time.Minute) // for a machine that does much else
	for {
		begun := time.Now()
		if ok() {
			return
		}
		select {
		case <-time.After(max(20*time.Millisecond, 2*time.Since(begun))): // what is waited for needs the machine more
		case status := <-done:
			t.Fatalf("ended with status %d before: %s", status, what)
		case <-timeout:
			t.Fatalf("after two minutes not: %s", what)
		}
	}
}

// post sends an event to a function as a source does: 502 and 503 mean that it is
// to be sent again, for instance when a partition is just being taken over.
func (r *running) post(function string, header map[string]string, body string, want int) {
	r.t.Helper()
	r.await(fmt.Sprintf("an answer of %d from %s", want, function), func() bool {
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.info.Services[function].URL, strings.NewReader(body))
		if err != nil {
			r.t.Fatal(err)
		}
		for k, v := range header {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			r.t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			r.t.Fatal(err)
		}
		if resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable {
			return false
		}
		if resp.StatusCode != want {
			r.t.Fatalf("%s answers %s: %s", function, resp.Status, answer)
		}
		return true
	})
}

// kill kills the process that a function has now, and waits for the next.
func (r *running) kill(function string) {
	r.t.Helper()
	var pid int
	r.await("a process of "+function+" to kill", func() bool {
		info, err := datadir.ReadInfo(r.dir)
		if err != nil || info.Services[function].PID == 0 {
			return false
		}
		pid = info.Services[function].PID
		p, err := os.FindProcess(pid)
		return err == nil && p.Kill() == nil // else it has ended by itself
	})
	r.await("another process of "+function, func() bool {
		info, err := datadir.ReadInfo(r.dir)
		return err == nil && info.Services[function].PID != pid && info.Services[function].PID != 0
	})
}

// stopWithin is far more than a stop takes, which has bounds of its own, on a
// machine that does much else.
const stopWithin = 60 * time.Second

// close stops the emulator as Ctrl-C does.
func (r *running) close() {
	r.t.Helper()
	start := time.Now()
	r.stop()
	if status := <-r.done; status != 0 {
		r.t.Errorf("exit status %d: %s", status, &r.errs)
	}
	if took := time.Since(start); took > stopWithin {
		r.t.Errorf("the stop took %v", took)
	}
	if _, err := datadir.ReadInfo(r.dir); !errors.Is(err, fs.ErrNotExist) {
		r.t.Errorf("after the stop, emulator.json: %v", err)
	}
}

// ids reads the ids of a topic's events, without watermarks, as they are
// committed now.
func ids(t *testing.T, kafka []string, topic string) map[string]int {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	remaining := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			remaining[o.Partition] = o.Offset
		}
	})
	found := make(map[string]int)
	for len(remaining) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for rec := range fetches.RecordsAll() {
			if rec.Offset+1 >= remaining[rec.Partition] {
				delete(remaining, rec.Partition)
			}
			if rec.Attrs.IsControl() {
				continue
			}
			var id, kind string
			for _, h := range rec.Headers {
				switch h.Key {
				case "ce_id":
					id = string(h.Value)
				case "ce_type":
					kind = string(h.Value)
				}
			}
			if kind != events.TypeWatermark {
				found[id]++
			}
		}
	}
	return found
}

// TestRun is what a newcomer does: run, look, send an event, stop, run again.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	r := launch(t, dir, "--rate", "200")
	for _, topic := range []string{events.TopicTransactions, events.TopicEnriched, events.TopicScored, events.TopicPartials, events.TopicAggregates} {
		r.await("records in "+topic, func() bool { return len(ids(t, r.info.Kafka, topic)) > 0 })
	}
	if body := request(t, http.MethodGet, r.info.HTTP+"/", nil, "", http.StatusOK); !strings.Contains(body, r.info.HTTP+"/enrich") || !strings.Contains(body, "/default/dead-letters") {
		t.Errorf("GET / answers %s", body)
	}
	event := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "by-hand", "Ce-Source": "/test", "Ce-Type": events.TypeTransaction, "Content-Type": "application/json"}
	transaction := fmt.Sprintf(`{"transactionId":"by-hand","userId":"user-1","amount":150000,"transactionTime":%d,"merchantId":"m",`+
		`"transactionType":"purchase","location":"Berlin, DE","paymentMethod":"credit_card","international":false,"currency":"EUR"}`, time.Now().UnixMilli())
	r.post("enrich", event, transaction, http.StatusAccepted)
	event["Ce-Id"] = "wrong"
	r.post("enrich", event, "{}", http.StatusBadRequest)
	request(t, http.MethodPost, r.info.HTTP+"/default/dead-letters", event, "{}", http.StatusAccepted)
	request(t, http.MethodPost, r.info.HTTP+"/default/none", event, "{}", http.StatusNotFound)
	if body := request(t, http.MethodGet, r.info.HTTP+"/enrich/metrics", nil, "", http.StatusOK); !strings.Contains(body, "datasurge_function_events_total") {
		t.Error("no metrics of enrich")
	}
	r.await("the health of Kafka", func() bool {
		body := request(t, http.MethodGet, r.info.HTTP+"/metrics", nil, "", http.StatusOK)
		return strings.Contains(body, "\ndatasurge_kafka_brokers 1\n") &&
			strings.Contains(body, `datasurge_consumer_lag_seconds{group="detect-enriched"`)
	})
	r.await("the event in "+events.TopicAnomalies, func() bool {
		return anomalies(t, r.info.Kafka)["by-hand"] == 1
	})
	r.said("anomaly", "large-transaction")
	r.kill("detect")
	r.close()
	for _, want := range []string{"detect     | ", "large-transaction", "function ended, starting it again", "went through:", events.TopicAnomalies} {
		if out := content(t, r.out); !strings.Contains(out, want) {
			t.Errorf("no %q in the output", want)
		}
	}

	// Without a generator it goes on where it was, until all is through.
	r = launch(t, dir, "--profile", "none")
	defer r.close()
	if _, ok := r.info.Services["generate"]; ok {
		t.Error("generate runs with --profile none")
	}
	checkThrough(t, r)
}

// checkThrough waits until every transaction is enriched and scored, and checks
// that each is so once.
func checkThrough(t *testing.T, r *running) {
	t.Helper()
	for _, hop := range [][2]string{{events.TopicTransactions, events.TopicEnriched}, {events.TopicEnriched, events.TopicScored}} {
		in, out := ids(t, r.info.Kafka, hop[0]), ids(t, r.info.Kafka, hop[1])
		if _, ok := out["by-hand"]; ok && hop[0] == events.TopicTransactions {
			in["by-hand"]++ // it came by HTTP
		}
		for len(out) < len(in) {
			before := len(out)
			r.await(fmt.Sprintf("more than %d of the %d of %s in %s", before, len(in), hop[0], hop[1]), func() bool {
				out = ids(t, r.info.Kafka, hop[1])
				return len(out) > before
			})
		}
		if diff := cmp.Diff(in, out); diff != "" {
			t.Errorf("%s and %s differ (-in +out):\n%.2000s", hop[0], hop[1], diff)
		}
	}
}

// anomalies reads the transactions in transaction_anomalies.
func anomalies(t *testing.T, kafka []string) map[string]int {
	t.Helper()
	found := make(map[string]int)
	for id, n := range ids(t, kafka, events.TopicAnomalies) {
		found[strings.TrimSuffix(id, "/anomaly")] += n
	}
	return found
}

func request(t *testing.T, method, url string, header map[string]string, body string, want int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Errorf("%s %s: %s %s, want %d", method, url, resp.Status, b, want)
	}
	return string(b)
}

// TestDuration: it ends by itself.
func TestDuration(t *testing.T) {
	var errs bytes.Buffer
	out := output(t)
	start := time.Now()
	status := execute(t.Context(), []string{"run", "--data-dir", t.TempDir(), "--kafka-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0",
		"--duration", "500ms", "--profile", "none"}, out, &errs)
	if status != 0 {
		t.Errorf("exit status %d: %s%s", status, content(t, out), &errs)
	}
	if text := content(t, out); !strings.Contains(text, "Ctrl-C stops it") || !strings.Contains(text, "http=http://127.0.0.1:") {
		t.Errorf("where it is and how to stop it is not said: %s", text)
	}
	// What was passed over is said, and not as the first thing.
	if _, after, _ := strings.Cut(content(t, out), "Ctrl-C stops it"); strings.Count(content(t, out), "passed over") != 1 || !strings.Contains(after, "Kustomization in knative/kustomization.yaml") {
		t.Errorf("what was passed over is not said, once, after where it is reached: %s", content(t, out))
	}
	if took := time.Since(start); took < 500*time.Millisecond || took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestKill: the emulator is killed. Its functions end too, and the next one goes
// on with nothing lost and nothing twice.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := output(t)
	cmd := exec.Command(exe, "run", "--data-dir", dir, "--kafka-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--rate", "500")
	cmd.Env = append(os.Environ(), asMain+"=1")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		if t.Failed() {
			t.Logf("killed emulator:\n%s", content(t, out))
		}
	}()
	var info datadir.Info
	eventually(t, "records in "+events.TopicScored, nil, func() bool {
		info, err = datadir.ReadInfo(dir)
		return err == nil && len(info.Services) == 5 && len(ids(t, info.Kafka, events.TopicScored)) > 500
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for name, s := range info.Services {
		eventually(t, "the end of "+name, nil, func() bool {
			p, err := os.FindProcess(s.PID)
			return err != nil || p.Signal(syscall.Signal(0)) != nil
		})
	}
	if err := os.Remove(filepath.Join(dir, "emulator.json")); err != nil {
		t.Fatal(err) // launch waits for a new one
	}
	r := launch(t, dir, "--profile", "none")
	defer r.close()
	checkThrough(t, r)
}

// TestBrokers: on a Kafka that was there before, with three brokers; the functions
// own their partitions by consumer groups.
func TestBrokers(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	r := launch(t, t.TempDir(), "--rate", "100", "--brokers", strings.Join(cluster.ListenAddrs(), ","))
	defer r.close()
	if diff := cmp.Diff(cluster.ListenAddrs(), r.info.Kafka); diff != "" {
		t.Errorf("emulator.json says (-want +got):\n%s", diff)
	}
	r.await("records in "+events.TopicAggregates, func() bool { return len(ids(t, r.info.Kafka, events.TopicAggregates)) > 0 })
	client, err := kgo.NewClient(kgo.SeedBrokers(r.info.Kafka...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context(), events.TopicScored)
	if err != nil {
		t.Fatal(err)
	}
	if d := topics[events.TopicScored]; len(d.Partitions) != 4 || len(d.Partitions[0].Replicas) != 3 {
		t.Errorf("%d partitions with %d replicas, want 4 with 3", len(d.Partitions), len(d.Partitions[0].Replicas))
	}
}

// TestTail: what is in a topic, in one line each.
func TestTail(t *testing.T) {
	r := launch(t, t.TempDir(), "--profile", "none")
	defer r.close()
	event := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/test", "Ce-Type": "a.type", "Ce-Partitionkey": "k", "Content-Type": "application/json"}
	request(t, http.MethodPost, r.info.HTTP+"/default/dead-letters", event, `{"a":1}`, http.StatusAccepted)
	event["Ce-Partitionkey"] = "other"
	request(t, http.MethodPost, r.info.HTTP+"/default/dead-letters", event, `{"a":2}`, http.StatusAccepted)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, done := output(t), make(chan int, 1)
	go func() {
		done <- execute(ctx, []string{"tail", events.TopicDeadLetters, "--from", "beginning", "--key", "k", "--data-dir", r.dir}, out, io.Discard)
	}()
	eventually(t, "the event", nil, func() bool { return strings.Contains(content(t, out), ` k a.type {"a":1}`) })
	cancel()
	if status := <-done; status != 0 || strings.Contains(content(t, out), `{"a":2}`) {
		t.Errorf("exit status %d: %s", status, content(t, out))
	}
}
