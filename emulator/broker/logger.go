package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

// logger passes kfake's errors on, and finds among its warnings the writes that
// failed: kfake logs those and goes on. The other warnings, about slowness and
// about clients, are for debugging.
type logger struct {
	log    *slog.Logger
	dir    string
	failed chan<- error
}

// Logf implements kfake.Logger.
func (l *logger) Logf(level kfake.LogLevel, msg string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("broker: " + fmt.Sprintf(msg, args...))
	case kfake.LogLevelWarn:
		l.log.Debug("broker: " + fmt.Sprintf(msg, args...))
	default:
		return
	}
	if !strings.HasPrefix(msg, "persist") {
		return
	}
	for _, a := range args {
		err, ok := a.(error)
		if !ok {
			continue
		}
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("the disk that holds %s is full: make room, or choose another directory: %w", l.dir, err)
		} else {
			err = fmt.Errorf("the broker cannot write to %s: %w", l.dir, err)
		}
		select {
		case l.failed <- err:
		default: // one is enough
		}
	}
}
