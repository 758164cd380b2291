// Package compose holds what is laid over docker-compose.yml, and the tests that
// hold all of it against the rest: there is nothing here for other packages.
package compose

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
)

// root is the top of the repository, where users call docker compose.
const root = "../.."

// Files as a user names them.
const (
	base = "docker-compose.yml"
	tls  = "monitoring/compose/tls.yml"
	jmx  = "monitoring/compose/jmx.yml"
)

// combinations are the files that are used together.
var combinations = [][]string{{base}, {base, tls}, {base, jmx}, {base, tls, jmx}}

// passwords are the variables that have no default.
var passwords = map[string]string{"KAFKA_PASSWORD": "a password, with ] and ,", "KAFKA_KEYSTORE_PASSWORD": "another-password"}

// load reads files as docker compose would, with the variables of environment and
// no others, all profiles active.
func load(t *testing.T, environment map[string]string, files ...string) *types.Project {
	t.Helper()
	project, err := tryLoad(t, environment, files...)
	if err != nil {
		t.Fatalf("%v: %v", files, err)
	}
	return project
}

func tryLoad(t *testing.T, environment map[string]string, files ...string) (*types.Project, error) {
	t.Helper()
	paths := make([]string, len(files))
	for i, file := range files {
		paths[i] = filepath.Join(root, file)
	}
	var env []string
	for name, value := range environment {
		env = append(env, name+"="+value)
	}
	options, err := cli.NewProjectOptions(paths, cli.WithWorkingDirectory(root), cli.WithEnv(env), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

// services returns the services of p, sorted by name.
func services(p *types.Project) []types.ServiceConfig {
	return slices.SortedFunc(maps.Values(p.Services), func(a, b types.ServiceConfig) int { return strings.Compare(a.Name, b.Name) })
}

// oneShot reports whether a service ends by itself, having done its work.
func oneShot(s *types.ServiceConfig) bool { return s.Restart != types.RestartPolicyUnlessStopped }

// environment returns the variables of a service.
func environment(s *types.ServiceConfig) map[string]string {
	env := map[string]string{}
	for name, value := range s.Environment {
		if value != nil {
			env[name] = *value
		}
	}
	return env
}

// example reads .env.example.
func example(t *testing.T) map[string]string {
	t.Helper()
	env, err := dotenv.Read(filepath.Join(root, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
