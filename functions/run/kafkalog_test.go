package run

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// While a broker is away its clients warn many times a second: one line in each
// pause says so, and how many there were.
func TestKafkaLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		noTime := func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
		log := KafkaLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: noTime})))
		for i := range 12 {
			log.Log(kgo.LogLevelInfo, "metadata update triggered")
			log.Log(kgo.LogLevelWarn, "unable to open connection", "n", i)
			if i == 2 {
				log.Log(kgo.LogLevelError, "something else")
			}
			time.Sleep(time.Second)
		}
		want := []string{
			`level=WARN msg="unable to open connection" n=0`,
			`level=ERROR msg="something else"`,
			`level=WARN msg="unable to open connection" n=5 left_out=4`,
			`level=WARN msg="unable to open connection" n=10 left_out=4`,
		}
		if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(out.String()), "\n")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestKafkaLoggerAtDebug(t *testing.T) {
	var out bytes.Buffer
	log := KafkaLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for i := range 3 {
		log.Log(kgo.LogLevelInfo, fmt.Sprint("line ", i%2))
	}
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines, want all 3:\n%s", n, &out)
	}
}
