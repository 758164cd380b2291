package knative

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mattn/go-shellwords"
	"go.yaml.in/yaml/v3"
)

// deployed is what a manifest of a Service and a command of kn both say.
type deployed struct {
	Name        string
	Image       string
	Env         map[string]string
	Labels      map[string]string
	Scale       string
	Timeout     int
	Port        string // name:port
	Readiness   string // path
	Liveness    string
	Requests    map[string]string
	Limits      map[string]string
	Strict      bool // kn's --security-context strict
	Annotations map[string]string
}

// TestREADMECommands holds the commands of README.md against the manifests: one
// for each function, which says the same.
func TestREADMECommands(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := make(map[string]deployed)
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		line := strings.TrimSpace(strings.ReplaceAll(block[1], "\\\n", " "))
		if strings.HasPrefix(line, "kn service ") {
			c := fromCommand(t, line)
			commands[c.Name] = c
		}
	}
	manifests := make(map[string]deployed)
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(data), "\n---\n") {
			if strings.Contains(doc, "\nkind: Service\n") {
				m := fromManifest(t, doc)
				manifests[m.Name] = m
			}
		}
	}
	if len(manifests) != 5 {
		t.Errorf("%d Services, want 5", len(manifests))
	}
	if diff := cmp.Diff(manifests, commands); diff != "" {
		t.Errorf("manifests (-) and commands (+):\n%s", diff)
	}
}

func fromCommand(t *testing.T, line string) deployed {
	t.Helper()
	words, err := shellwords.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	d := deployed{Name: words[3], Env: map[string]string{}, Labels: map[string]string{}, Annotations: map[string]string{},
		Requests: map[string]string{}, Limits: map[string]string{}}
	put := func(m map[string]string, pairs string) {
		for pair := range strings.SplitSeq(pairs, ",") {
			name, value, ok := strings.Cut(pair, "=")
			if !ok || m[name] != "" {
				t.Errorf("%s: %q", d.Name, pairs)
			}
			m[name] = value
		}
	}
	probe := func(value string) string {
		path, ok := strings.CutPrefix(value, "http:::")
		if !ok {
			t.Errorf("%s: probe %q: want http:::path", d.Name, value)
		}
		return path
	}
	for i := 4; i+1 < len(words); i += 2 {
		value := words[i+1]
		switch words[i] {
		case "--image":
			d.Image = value
		case "--env":
			put(d.Env, value)
		case "--label-service":
			put(d.Labels, value)
		case "--scale": // both bounds
			d.Scale = value
		case "--timeout":
			if value == "60" {
				d.Timeout = 60
			}
		case "--port":
			d.Port = value
		case "--probe-readiness":
			d.Readiness = probe(value)
		case "--probe-liveness":
			d.Liveness = probe(value)
		case "--request":
			put(d.Requests, value)
		case "--limit":
			put(d.Limits, value)
		case "--security-context":
			d.Strict = value == "strict"
		default:
			t.Errorf("%s: unknown option %s", d.Name, words[i])
		}
	}
	return d
}

func fromManifest(t *testing.T, doc string) deployed {
	t.Helper()
	var m struct {
		Metadata struct {
			Name   string
			Labels map[string]string
		}
		Spec struct {
			Template struct {
				Metadata struct{ Annotations map[string]string }
				Spec     struct {
					TimeoutSeconds int `yaml:"timeoutSeconds"`
					Containers     []struct {
						Image string
						Env   []struct{ Name, Value string }
						Ports []struct {
							Name          string
							ContainerPort string `yaml:"containerPort"`
						}
						ReadinessProbe  httpProbe `yaml:"readinessProbe"`
						LivenessProbe   httpProbe `yaml:"livenessProbe"`
						Resources       struct{ Requests, Limits map[string]string }
						SecurityContext struct {
							AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
							ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
							RunAsNonRoot             bool  `yaml:"runAsNonRoot"`
							Capabilities             struct{ Drop []string }
							SeccompProfile           struct{ Type string } `yaml:"seccompProfile"`
						} `yaml:"securityContext"`
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(doc), &m); err != nil {
		t.Fatal(err)
	}
	c := m.Spec.Template.Spec.Containers[0]
	d := deployed{Name: m.Metadata.Name, Labels: m.Metadata.Labels, Env: map[string]string{}, Annotations: m.Spec.Template.Metadata.Annotations,
		Timeout: m.Spec.Template.Spec.TimeoutSeconds, Port: c.Ports[0].Name + ":" + c.Ports[0].ContainerPort,
		Readiness: c.ReadinessProbe.HTTPGet.Path, Liveness: c.LivenessProbe.HTTPGet.Path, Requests: c.Resources.Requests, Limits: c.Resources.Limits}
	if c.Image == "ko://datasurge/functions" {
		d.Image = "$IMAGE"
	}
	for _, e := range c.Env {
		d.Env[e.Name] = e.Value
	}
	const minScale, maxScale = autoscaling + "min-scale", autoscaling + "max-scale"
	if d.Scale = d.Annotations[minScale]; d.Scale != d.Annotations[maxScale] {
		t.Errorf("%s: scale from %q to %q: the number of instances is to stay", d.Name, d.Scale, d.Annotations[maxScale])
	}
	delete(d.Annotations, minScale)
	delete(d.Annotations, maxScale)
	s := c.SecurityContext
	// What kn makes of strict.
	d.Strict = s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation && s.RunAsNonRoot &&
		cmp.Equal(s.Capabilities.Drop, []string{"ALL"}) && s.SeccompProfile.Type == "RuntimeDefault"
	if !s.ReadOnlyRootFilesystem {
		t.Errorf("%s: its root file system is not read-only", d.Name)
	}
	return d
}

type httpProbe struct {
	HTTPGet struct{ Path string } `yaml:"httpGet"`
}

// TestREADMEKustomize does what the README says about the image, and has kubectl
// make what it would apply: the same objects, each with the image.
func TestREADMEKustomize(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("LEFT OUT: kustomization.yaml is not tried: there is no kubectl")
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	step := regexp.MustCompile(`(?s)\n( *printf 'images:.*?kustomization\.yaml)\n`).FindStringSubmatch(string(text))
	if step == nil {
		t.Fatal("README.md does not say how the image is put into kustomization.yaml")
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "knative"), Manifests); err != nil {
		t.Fatal(err)
	}
	const image = "registry.example.com/you/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "IMAGE="+image)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %q: %v", name, args, err)
		}
		return string(out)
	}
	run("sh", "-c", step[1])
	made, err := Read("kubectl", strings.NewReader(run(kubectl, "kustomize", "knative/")))
	if err != nil {
		t.Fatal(err)
	}
	declared, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range made.Services {
		if s.Image != image {
			t.Errorf("%s: image %s", s, s.Image)
		}
	}
	count := func(s *Set) map[string]int {
		kinds := make(map[string]int)
		for _, o := range s.objects() {
			kinds[o.Kind]++
		}
		return kinds
	}
	if diff := cmp.Diff(count(declared), count(made)); diff != "" {
		t.Errorf("declared (-) and made by kubectl kustomize (+):\n%s", diff)
	}
	if len(made.Warnings) > 0 {
		t.Errorf("warnings: %v", made.Warnings)
	}
}
