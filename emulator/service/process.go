package service

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// machine is what instances run on: this host, or one of a test.
type machine interface {
	// port returns a port for an instance to listen on.
	port() (int, error)
	// start starts a program with its arguments. What it writes goes to output.
	start(command, environment []string, output io.Writer) (process, error)
	// probe sends readiness probes.
	http.RoundTripper
	// listens reports whether something listens at an address.
	listens(address string) bool
}

// process is one that has been started.
type process interface {
	pid() int
	terminate() // SIGTERM
	kill()      // SIGKILL, also to what it has started
	wait() error
}

// host is the machine that we are on.
type host struct{ *http.Transport }

func newHost() host { return host{&http.Transport{DisableKeepAlives: true}} }

const loopback = "127.0.0.1"

// Ports that are given to instances. They are below those that systems use for
// outgoing connections, which would often take one in the moment between our
// looking and the process's listening.
const (
	firstPort = 20000
	lastPort  = 32000
)

// port returns a port that is free now. Should somebody take it before the
// process does, the process ends and is started again with another.
func (host) port() (int, error) {
	var last error
	for range 100 {
		n := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(n)))
		if err == nil {
			return n, l.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("no free port: %w", last)
}

func (host) listens(address string) bool {
	c, err := net.DialTimeout("tcp", address, probeTimeout)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func (host) start(command, environment []string, output io.Writer) (process, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = environment
	cmd.SysProcAttr = attributes()
	// What grandchildren hold open must not keep us.
	cmd.WaitDelay = time.Second
	cmd.Stdout, cmd.Stderr = output, output
	// Our own functions read their standard input to the end, which comes when
	// this process ends, however it ends: so none outlives the emulator. Others
	// do not, and on Linux the system ends them.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p := &child{cmd: cmd, stdin: stdin, ended: make(chan struct{})}
	started := make(chan error)
	go p.follow(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// child is a process of this host.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	err   error         // why it ended; set before ended is closed
	ended chan struct{} // closed when it has
}

// follow starts the process and waits for its end. It keeps its thread: Linux
// ends a process when the thread that started it does.
func (c *child) follow(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer c.stdin.Close()
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	c.err = c.cmd.Wait()
	killGroup(c.cmd.Process.Pid) // what it has left behind, as the end of a container does
	close(c.ended)
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) terminate() {
	// A process that has ended meanwhile cannot be signalled, which is fine; a
	// system without SIGTERM gets the harder one.
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.kill()
	}
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
}

func (c *child) wait() error {
	<-c.ended
	return c.err
}

// inherited are the variables that a process gets from the user's environment:
// what an operating system or a language needs, nothing that configures
// functions.
var inherited = []string{
	"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "GOCOVERDIR", "GODEBUG", "GOTRACEBACK",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

// environment is the environment of an instance, sorted. Later sources win.
func (r *revision) environment(in *instance, port int) []string {
	env := make(map[string]string)
	for _, name := range inherited {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	for _, v := range r.cfg.Service.Env {
		env[v.Name] = v.Value
	}
	maps.Copy(env, r.cfg.Env)
	if r.cfg.InstanceEnv != nil {
		maps.Copy(env, r.cfg.InstanceEnv(in.ID))
	}
	env["PORT"] = strconv.Itoa(port)
	env["K_SERVICE"] = r.s.name
	env["K_CONFIGURATION"] = r.s.name
	env["K_REVISION"] = r.name
	env["POD_IP"] = loopback
	env["INSTANCE_ID"] = in.ID
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}
