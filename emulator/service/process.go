package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// run starts one process and returns when it has ended: for how long it was
// ready, and why it ended. When ctx is done it is sent SIGTERM.
func (s *Service) run(ctx context.Context, label string) (wasReady time.Duration, err error) {
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	in := &Instance{
		Service: s.Name(), ID: s.newID(), Label: label,
		URL: "http://" + net.JoinHostPort(loopback, strconv.Itoa(port)),
	}
	cmd := exec.Command(s.cfg.Command[0], s.cfg.Command[1:]...)
	cmd.Env = s.environment(in, port)
	cmd.SysProcAttr = ownGroup()
	// What grandchildren hold open must not keep us.
	cmd.WaitDelay = time.Second
	output := &lines{write: func(line string) { s.cfg.Output(label, line) }}
	cmd.Stdout, cmd.Stderr = output, output
	// The process reads its standard input to the end, which comes when this
	// process ends, however it ends: so no function outlives the emulator.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot be started: %w", err)
	}
	in.PID = cmd.Process.Pid
	s.setRunning(in, true)

	watch, cancel := context.WithCancel(ctx)
	var probing sync.WaitGroup
	probing.Go(func() { wasReady = s.watchReadiness(watch, in) })
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		// A process that has ended meanwhile cannot be signalled, which is fine;
		// a system without SIGTERM gets the harder one.
		if e := cmd.Process.Signal(syscall.SIGTERM); e != nil && !errors.Is(e, os.ErrProcessDone) {
			cmd.Process.Kill()
		}
		err = <-ended
	}
	cancel()
	probing.Wait()
	output.flush()
	s.setRunning(in, false)
	if err == nil {
		err = errors.New("exit status 0")
	}
	return wasReady, err
}

// kill ends a process at once.
func kill(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill() // it may have ended
	}
}

const loopback = "127.0.0.1"

// freePort returns a port that is free now. Somebody may take it before the
// process does, which then ends and is started again with another.
func freePort() (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return 0, fmt.Errorf("no free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// inherited are the variables that a process gets from the user's environment:
// what an operating system or a language needs, nothing that configures
// functions.
var inherited = []string{
	"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "GOCOVERDIR", "GODEBUG", "GOTRACEBACK",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

// environment is the environment of an instance, sorted. Later sources win.
func (s *Service) environment(in *Instance, port int) []string {
	env := make(map[string]string)
	for _, name := range inherited {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	for _, v := range s.cfg.Service.Env {
		env[v.Name] = v.Value
	}
	maps.Copy(env, s.cfg.Env)
	if s.cfg.InstanceEnv != nil {
		maps.Copy(env, s.cfg.InstanceEnv(in.ID))
	}
	env["PORT"] = strconv.Itoa(port)
	env["K_SERVICE"] = s.Name()
	env["K_CONFIGURATION"] = s.Name()
	env["K_REVISION"] = revision(s.Name())
	env["POD_IP"] = loopback
	env["INSTANCE_ID"] = in.ID
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// maxLine is the length in bytes after which a line is broken.
const maxLine = 64 << 10

// lines is a writer that calls write for each line.
type lines struct {
	mu    sync.Mutex
	rest  []byte
	write func(string)
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		end := i + 1
		if i < 0 {
			if len(l.rest) < maxLine {
				return len(p), nil
			}
			i, end = maxLine, maxLine
		}
		l.write(string(bytes.TrimSuffix(l.rest[:i], []byte{'\r'})))
		l.rest = append(l.rest[:0], l.rest[end:]...)
	}
}

// flush writes a last line that has no end.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.write(string(l.rest))
		l.rest = nil
	}
}
