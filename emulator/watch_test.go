package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/emulator/datadir"
	"datasurge/emulator/golden"
	"datasurge/events"
	"datasurge/knative"
)

// asProgram in the environment makes the test binary a program that answers
// requests with its value and its revision, and writes each event that comes.
const asProgram = "EMULATOR_TEST_AS_PROGRAM"

func program(answer string) {
	fmt.Println("program", answer, "of", os.Getenv("K_REVISION"))
	l, err := net.Listen("tcp", ":"+os.Getenv("PORT"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			fmt.Println(err)
		}
		if r.Method == http.MethodPost {
			fmt.Printf("%s got %s\n", answer, body)
		}
		fmt.Fprint(w, answer, " ", os.Getenv("K_REVISION"), " ", os.Getenv("KAFKA_BROKERS") != "", " ", os.Getenv("FROM_USER"))
	}))
}

// manifests of one Service whose image is not ours, a topic and a source between
// them.
const manifestOfOne = `
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: other}
spec:
  template:
    spec:
      containers:
        - image: ghcr.io/someone/other
          env: [{name: ` + asProgram + `, value: "%s"}]
---
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata: {name: t, labels: {strimzi.io/cluster: c}}
spec: {partitions: 1}
---
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata: {name: s}
spec:
  bootstrapServers: [b]
  topics: [t]
  consumerGroup: %s
  initialOffset: earliest
  sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: other}}
---
apiVersion: eventing.knative.dev/v1alpha1
kind: KafkaSink
metadata: {name: in}
spec: {bootstrapServers: [b], topic: t}
`

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// said waits until the emulator has written a line that has all of these words.
func (r *running) said(words ...string) {
	r.t.Helper()
	r.await(fmt.Sprintf("a line with %q", words), func() bool { return r.has(words...) })
}

// has reports whether the emulator has written such a line.
func (r *running) has(words ...string) bool {
	r.t.Helper()
	f, err := os.Open(r.out.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
lines:
	for s := bufio.NewScanner(f); s.Scan(); {
		for _, w := range words {
			if !strings.Contains(s.Text(), w) {
				continue lines
			}
		}
		return true
	}
	return false
}

func (r *running) answers(want string) {
	r.t.Helper()
	r.await("an answer of "+want, func() bool {
		resp, err := http.Get(r.info.HTTP + "/other")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return err == nil && string(b) == want
	})
}

func (r *running) send(data string) {
	r.t.Helper()
	header := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": data, "Ce-Source": "/test", "Ce-Type": "t", "Content-Type": "text/plain"}
	request(r.t, http.MethodPost, r.info.HTTP+"/default/in", header, data, http.StatusAccepted)
}

// groups are the consumer groups that have positions.
func (r *running) groups() []string {
	r.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.info.Kafka...))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	listed, err := kadm.NewClient(client).ListGroups(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return listed.Groups()
}

// TestWatch: a program stands for an image; changes of it and of the manifests
// become new revisions, wrong and forbidden ones are said and change nothing.
func TestWatch(t *testing.T) {
	golden.Row(t, 26, golden.OwnRule)
	t.Setenv("FROM_USER", "not to be seen")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	manifest, script := filepath.Join(dir, "m.yaml"), filepath.Join(dir, "run.sh")
	writeFile(t, manifest, fmt.Sprintf(manifestOfOne, "one", "g"))
	writeFile(t, script, "exec '"+exe+"'\n")
	r := launchWith(t, 1, t.TempDir(), "-f", manifest, "--exec", "other=sh '"+script+"'", "--watch")
	defer r.close()
	r.answers("one other-00001 true ")
	r.send("event 1")
	r.said("other", "one got event 1")

	// The program changes.
	writeFile(t, script, asProgram+"=two exec '"+exe+"'\n")
	r.answers("two other-00002 true ")
	r.said("its files have changed", "other")
	r.said("takes over", "other-00002")
	r.send("event 2")
	r.said("two got event 2")

	// A program that does not start: the old revision goes on.
	writeFile(t, script, "exit 7\n")
	r.said("function ended", "exit status 7")
	r.said("the new revision does not start", "other-00003", "other-00002")
	r.answers("two other-00002 true ")
	writeFile(t, script, "exec '"+exe+"'\n")
	r.answers("one other-00004 true ")

	// The manifest changes, in what a revision is and in what it is not.
	text := fmt.Sprintf(manifestOfOne, "three", "g")
	writeFile(t, manifest, text)
	r.answers("three other-00005 true ")
	r.said("is in force", "changed Service other")
	writeFile(t, manifest, "# a comment\n"+text)
	r.said("mean what they meant")
	writeFile(t, manifest, strings.Replace(text, "initialOffset: earliest", "initialOffset: earliest\n  ordering: unordered", 1))
	r.said("is in force", "changed KafkaSource s")
	r.send("event 3")
	r.said("three got event 3")

	// What is wrong or forbidden changes nothing.
	writeFile(t, manifest, strings.Replace(text, "topics: [t]", "topics: [t]\n  topcis: [t]", 1))
	r.said("the change is not taken", manifest+":", "spec.topcis: unknown field")
	writeFile(t, manifest, fmt.Sprintf(manifestOfOne, "four", "another"))
	r.said("the change is not taken", "spec.consumerGroup", "g to another")
	r.answers("three other-00005 true ")
	r.send("event 4")
	r.said("three got event 4")

	// What is new begins, what is gone ends.
	more := strings.NewReplacer("name: other}", "name: more}", "metadata: {name: t,", "metadata: {name: u,", "topics: [t]", "topics: [u]",
		"{name: s}", "{name: s2}", "consumerGroup: g", "consumerGroup: g2", "{name: in}", "{name: in2}", "topic: t}", "topic: u}", `"three"`, `"more"`).Replace(text)
	more = strings.ReplaceAll(more, "image: ghcr.io/someone/other", "image: "+ourImage)
	more = strings.ReplaceAll(more, asProgram, "FUNCTION")
	writeFile(t, manifest, text+"---"+strings.ReplaceAll(more, `"more"`, "enrich"))
	r.said("is in force", "new KafkaSink in2", "new KafkaSource s2", "new KafkaTopic u", "new Service more")
	r.await("the new Service", func() bool {
		return strings.Contains(request(t, http.MethodGet, r.info.HTTP+"/", nil, "", 200), "/more")
	})
	writeFile(t, manifest, text)
	r.said("is in force", "gone KafkaSink in2", "gone KafkaSource s2", "gone Service more")
	if groups := r.groups(); slices.Contains(groups, "g2") || !slices.Contains(groups, "g") {
		t.Errorf("groups %q, want g, and not that of the source that is gone", groups)
	}
	request(t, http.MethodGet, r.info.HTTP+"/more", nil, "", http.StatusNotFound)
	request(t, http.MethodPost, r.info.HTTP+"/default/in2", nil, "", http.StatusNotFound)
	r.send("event 5")
	r.said("three got event 5")
}

// TestChanges: only what a cluster would know of is a change.
func TestChanges(t *testing.T) {
	read := func(text string) *knative.Set {
		set, err := knative.Read("m.yaml", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	base := fmt.Sprintf(manifestOfOne, "one", "g")
	for _, c := range []struct{ name, text, want string }{
		{"nothing", base, "[]"},
		{"lines", "\n# moved\n" + base, "[]"},
		{"an ignored field", strings.Replace(base, "env:", "imagePullPolicy: Always\n          env:", 1), "[]"},
		{"env", strings.Replace(base, `"one"`, `"two"`, 1), "[changed Service other]"},
		{"a label", strings.Replace(base, "{name: s}", "{name: s, labels: {a: b}}", 1), "[changed KafkaSource s]"},
		{"a map", strings.Replace(base, "{partitions: 1}", "{partitions: 1, config: {retention.ms: 1}}", 1), "[changed KafkaTopic t]"},
		{"a pointer", strings.Replace(base, "name: other}}\n", "name: other}}\n  delivery: {retry: 1, deadLetterSink: {uri: 'http://h/'}}\n", 1), "[changed KafkaSource s]"},
		{"gone", base[:strings.LastIndex(base, "---")], "[gone KafkaSink in]"},
	} {
		if got := fmt.Sprint(changes(read(base), read(c.text))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if c.name == "gone" {
			if got := fmt.Sprint(changes(read(c.text), read(base))); got != "[new KafkaSink in]" {
				t.Errorf("the other way: %s", got)
			}
		}
	}
}

// TestWatchEventing: Brokers, Triggers, SinkBindings and PingSources are followed
// too.
func TestWatchEventing(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(t.TempDir(), "m.yaml")
	service := strings.Split(fmt.Sprintf(manifestOfOne, "one", "g"), "---")[0]
	const broker = "---\napiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: b, annotations: {eventing.knative.dev/broker.class: Kafka}}\nspec: {}\n"
	const trigger = "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: t}\n" +
		"spec: {broker: b, filters: [{exact: {type: %s}}], subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: other}}}\n"
	const binding = "---\napiVersion: sources.knative.dev/v1\nkind: SinkBinding\nmetadata: {name: s}\n" +
		"spec: {subject: {apiVersion: serving.knative.dev/v1, kind: Service, name: other}, sink: {uri: 'http://127.0.0.1/'}}\n"
	const ping = "---\napiVersion: sources.knative.dev/v1\nkind: PingSource\nmetadata: {name: p}\n" +
		"spec: {schedule: '0 0 1 1 *', sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: other}}}\n"
	writeFile(t, manifest, service)
	r := launchWith(t, 1, t.TempDir(), "-f", manifest, "--exec", "other='"+exe+"'", "--watch")
	defer r.close()
	r.answers("one other-00001 true ")

	writeFile(t, manifest, service+broker+fmt.Sprintf(trigger, "a")+ping)
	r.said("is in force", "new Broker b", "new PingSource p", "new Trigger t")
	r.publish("/_broker/default/b", "1", "a", "/test", "event a1")
	r.said("one got", "event a1")

	writeFile(t, manifest, service+broker+fmt.Sprintf(trigger, "b")+ping)
	r.said("is in force", "changed Trigger t")
	r.publish("/_broker/default/b", "2", "a", "/test", "event a2")
	r.publish("/_broker/default/b", "3", "b", "/test", "event b1")
	r.said("one got", "event b1")
	if r.has("one got", "event a2") {
		t.Error("the filter of before is in force")
	}

	// A binding changes the environment of the Service, and so its revision.
	writeFile(t, manifest, service+broker+fmt.Sprintf(trigger, "b")+ping+binding)
	r.answers("one other-00002 true ")
	r.said("is in force", "new SinkBinding s")

	writeFile(t, manifest, service)
	r.said("is in force", "gone Broker b", "gone PingSource p", "gone SinkBinding s", "gone Trigger t")
	r.answers("one other-00003 true ")
	request(t, http.MethodPost, r.info.HTTP+"/_broker/default/b", nil, "", http.StatusNotFound)
}

// TestRollout: our own functions get new revisions while events flow, of two
// instances, which get any event and pass on those of each other's partitions.
// Nothing is lost and nothing is there twice.
func TestRollout(t *testing.T) {
	t.Parallel()
	manifests := t.TempDir()
	if err := os.CopyFS(manifests, os.DirFS("../knative")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := launch(t, dir, "-f", manifests, "--rate", "100", "--watch", "--pace", "drain=1s")
	r.await("records in "+events.TopicScored, func() bool { return len(ids(t, r.info.Kafka, events.TopicScored)) > 100 })
	for _, function := range []string{"enrich", "detect"} {
		path := filepath.Join(manifests, function+".yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		old := r.pid(function)
		changed := strings.NewReplacer(`min-scale: "1"`, `min-scale: "2"`, `max-scale: "1"`, `max-scale: "2"`).Replace(string(text))
		if changed == string(text) {
			t.Fatalf("%s has no min-scale", path)
		}
		writeFile(t, path, changed)
		r.said("takes over", "service="+function, function+"-00002")
		r.await("the end of the old process of "+function, func() bool {
			info, err := datadir.ReadInfo(dir)
			return err == nil && len(info.Services[function].Instances) == 2 && info.Services[function].PID != old
		})
	}
	for _, in := range []string{"detect-1", "detect-2"} {
		r.said("function is ready", "service="+in, "revision=detect-00002")
		r.said(in, "partition taken over") // else all that it gets is passed on
	}
	n := len(ids(t, r.info.Kafka, events.TopicScored))
	r.await("more records in "+events.TopicScored, func() bool { return len(ids(t, r.info.Kafka, events.TopicScored)) > n+100 })
	r.close()
	if r.has("did not stop in time", "service=enrich") || r.has("function ended, starting it again") {
		t.Error("the old processes did not end as they should")
	}
	r = launch(t, dir, "--profile", "none")
	defer r.close()
	checkThrough(t, r)
}

// pid is the first process of a function, 0 while there is none.
func (r *running) pid(function string) int {
	info, err := datadir.ReadInfo(r.dir)
	if err != nil {
		return 0
	}
	return info.Services[function].PID
}
