// Package datadir is the directory in which an emulator keeps what has to be
// there when it is started again, and says where it can be reached.
//
//	lock           held while an emulator runs; holds its process id
//	emulator.json  the endpoints and processes, while it runs; see [Info]
//	kafka/         the data of the embedded broker
//	chaos.log      every fault of the last run with --chaos
package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Dir is a directory in use by this process.
type Dir struct {
	path string
	lock *os.File
}

// InUseError says that another emulator runs on the directory.
type InUseError struct {
	Path string
	PID  string // "" when not known
}

func (e *InUseError) Error() string {
	who := "another emulator"
	if e.PID != "" {
		who += " (process " + e.PID + ")"
	}
	return fmt.Sprintf("%s runs on the data directory %s: stop it, or give this one another directory", who, e.Path)
}

// errLocked: the lock is held by somebody else.
var errLocked = errors.New("locked")

// Open creates the directory when it is not there and takes its lock. The lock
// ends with the process, however that ends. The error is an [InUseError] when
// the lock is taken.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	name := filepath.Join(path, lockFile)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := lock(f); err != nil {
		f.Close()
		if !errors.Is(err, errLocked) {
			return nil, fmt.Errorf("data directory: lock %s: %w", name, err)
		}
		pid, _ := os.ReadFile(name) // only for the message
		return nil, &InUseError{Path: path, PID: strings.TrimSpace(string(pid))}
	}
	d := &Dir{path: path, lock: f}
	// An emulator that was killed has left its endpoints.
	os.Remove(filepath.Join(path, infoFile))
	if err := errors.Join(f.Truncate(0), write(f, fmt.Sprintln(os.Getpid()))); err != nil {
		f.Close()
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return d, nil
}

func write(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// Kafka is where the embedded broker keeps its data.
func (d *Dir) Kafka() string { return filepath.Join(d.path, kafkaDir) }

// Info is the content of emulator.json.
type Info struct {
	Kafka    []string           `json:"kafka"` // host:port of each broker
	HTTP     string             `json:"http"`  // base URL
	Services map[string]Service `json:"services"`
}

// Service is one function in [Info].
type Service struct {
	URL string `json:"url"` // stays the same; reaches any instance
	PID int    `json:"pid"` // of the first instance; 0 when it does not run
	// Instances are those that run.
	Instances []Instance `json:"instances"`
}

// Instance is one process of a function.
type Instance struct {
	URL string `json:"url"`
	PID int    `json:"pid"`
}

// Names in the directory.
const (
	infoFile = "emulator.json"
	lockFile = "lock"
	kafkaDir = "kafka"
	// FaultLog is the file in which --chaos writes down every fault.
	FaultLog = "chaos.log"
)

// WriteInfo replaces emulator.json. A reader sees the old or the new content,
// never a part.
func (d *Dir) WriteInfo(info Info) error {
	data, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(d.path, infoFile+".*")
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	_, err = temp.Write(append(data, '\n'))
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), filepath.Join(d.path, infoFile))
	}
	if err != nil {
		os.Remove(temp.Name())
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// ReadInfo reads the emulator.json of the directory at path. The error is
// fs.ErrNotExist when no emulator runs there.
func ReadInfo(path string) (Info, error) {
	var info Info
	data, err := os.ReadFile(filepath.Join(path, infoFile))
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return info, fmt.Errorf("%s: %w", filepath.Join(path, infoFile), err)
	}
	return info, nil
}

// Close removes emulator.json and gives the lock back.
func (d *Dir) Close() error {
	err := os.Remove(filepath.Join(d.path, infoFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, d.lock.Close())
}
