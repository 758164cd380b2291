package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// inNamespace is manifestOfOne in a namespace, with a topic and a group of its own.
func inNamespace(namespace string) string {
	text := strings.NewReplacer(`"%s"`, `"`+namespace+`"`, "%s", "group-"+namespace,
		"{name: other}", "{name: other, namespace: "+namespace+"}",
		"{name: t, labels", "{name: topic-"+namespace+", labels", "topics: [t]", "topics: [topic-"+namespace+"]", "topic: t}", "topic: topic-"+namespace+"}",
		"{name: s}", "{name: s, namespace: "+namespace+"}", "{name: in}", "{name: in, namespace: "+namespace+"}").Replace(manifestOfOne)
	return text
}

// TestNamespaces: two Services of one name are two, each with its own address,
// program and events.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(t.TempDir(), "m.yaml")
	writeFile(t, manifest, inNamespace("a")+"---"+inNamespace("b"))
	r := launchWith(t, 2, t.TempDir(), "-f", manifest, "--exec", "a/other='"+exe+"'", "--exec", "b/other='"+exe+"'")
	defer r.close()
	for _, namespace := range []string{"a", "b"} {
		r.await("an answer of "+namespace, func() bool {
			resp, err := http.Get(r.info.HTTP + "/" + namespace + "/other/path")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			var answer bytes.Buffer
			answer.ReadFrom(resp.Body)
			return answer.String() == namespace+" other-00001 true "
		})
		if got := r.info.Services[namespace+"/other"].URL; got != r.info.HTTP+"/"+namespace+"/other" {
			t.Errorf("emulator.json has %q for %s/other", got, namespace)
		}
	}
	if text := request(t, http.MethodGet, r.info.HTTP+"/other", nil, "", http.StatusNotFound); !strings.Contains(text, "/a/other, /b/other") {
		t.Errorf("the name alone: %s", text)
	}
	for _, namespace := range []string{"b", "a"} {
		header := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": namespace, "Ce-Source": "/test", "Ce-Type": "t", "Content-Type": "text/plain"}
		request(t, http.MethodPost, r.info.HTTP+"/"+namespace+"/in", header, "event of "+namespace, http.StatusAccepted)
		r.said(namespace+"/other", namespace+" got event of "+namespace)
	}
	if r.has("a got event of b") || r.has("b got event of a") {
		t.Error("an event came to the Service of the other namespace")
	}
}

// TestAmbiguous: what names two Services, or has the address of another, is
// refused.
func TestAmbiguous(t *testing.T) {
	manifest := filepath.Join(t.TempDir(), "m.yaml")
	both := inNamespace("a") + "---" + inNamespace("b")
	for _, c := range []struct {
		name, text string
		args       []string
		want       []string
	}{
		{"a command for two", both, []string{"--exec", "other=true"}, []string{"--exec other", "several", "a/other, b/other"}},
		{"a command for none", both, []string{"--exec", "c/other=true"}, []string{"--exec c/other", "they have a/other, b/other"}},
		{"a sink of that name", strings.Replace(both, "{name: in, namespace: b}", "{name: other, namespace: b}", 1), []string{"--exec", "a/other=true", "--exec", "b/other=true"},
			[]string{"metadata.name", "/b/other", "KafkaSink"}},
	} {
		writeFile(t, manifest, c.text)
		var errs bytes.Buffer
		args := append([]string{"run", "-f", manifest, "--data-dir", filepath.Join(t.TempDir(), "d"), "--http-addr", "127.0.0.1:0", "--kafka-addr", "127.0.0.1:0"}, c.args...)
		if status := execute(t.Context(), args, output(t), &errs); status != 1 {
			t.Errorf("%s: exit status %d", c.name, status)
		}
		for _, want := range c.want {
			if !strings.Contains(errs.String(), want) {
				t.Errorf("%s: no %q in %s", c.name, want, &errs)
			}
		}
	}
}
