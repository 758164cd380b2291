package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBadServices: each kind of bad service is said by its name, and the others go
// on.
func TestBadServices(t *testing.T) {
	t.Parallel() // it waits most of the time
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	serve := fmt.Sprintf("%s=good exec '%s'", asProgram, exe)
	bad := []struct {
		name, script string
		said         []string // words of one line
	}{
		{"nostart", "", []string{"function ended", "service=nostart", "nostart.sh cannot be started", "no such file"}},
		{"dies", "echo cannot go on; exit 3", []string{"function ended", "service=dies", "exit status 3"}},
		{"wrongport", "PORT=0 " + serve, []string{"function is not ready yet", "service=wrongport", "has to listen on the port that the variable PORT names"}},
		{"stays", "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo stays; while :; do sleep 1; done", []string{"stays"}},
		{"floods", "yes 'a line of sixty four characters, of which it writes many, 123' | head -n 500000; " + serve,
			[]string{"floods", "lines are not shown: it wrote more than 500 lines"}},
	}
	var manifests strings.Builder
	args := []string{"--profile", "none"}
	service := func(name, script string) {
		fmt.Fprintf(&manifests, "---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: %s}\n"+
			"spec: {template: {spec: {timeoutSeconds: 1, containers: [{image: example.com/%[1]s}]}}}\n", name)
		path := filepath.Join(dir, name+".sh")
		interpreter := "/bin/sh"
		if script == "" {
			interpreter = "/nowhere" // which the system finds out when it is started
		}
		writeFile(t, path, "#!"+interpreter+"\n"+script+"\n")
		args = append(args, "--exec", name+"='"+path+"'")
	}
	service("good", serve)
	for _, b := range bad {
		service(b.name, b.script)
	}
	manifest := filepath.Join(dir, "m.yaml")
	writeFile(t, manifest, manifests.String())
	// Not all of them have a process to wait for.
	r := launchWith(t, 0, t.TempDir(), append(args, "-f", manifest)...)
	defer func() {
		begin := time.Now()
		r.close()
		if !r.has("did not stop in time and is killed", "service=stays") {
			t.Error("it is not said that the one that ignores SIGTERM is killed")
		}
		t.Logf("the stop took %v", time.Since(begin))
	}()
	get := func(name string, want int) {
		t.Helper()
		r.await(fmt.Sprintf("an answer of %d from %s", want, name), func() bool {
			resp, err := http.Get(r.info.HTTP + "/" + name)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			return resp.StatusCode == want
		})
	}
	for _, b := range bad {
		r.said(b.said...)
		get("good", http.StatusOK)
	}
	r.said("dies", "cannot go on")
	r.said("program good of floods-00001") // the last that it wrote
	get("floods", http.StatusOK)
	for _, name := range []string{"nostart", "dies", "wrongport"} {
		get(name, http.StatusGatewayTimeout)
	}
	if r.has("function ended", "service=good") {
		t.Error("the good one has ended")
	}
}
