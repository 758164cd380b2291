package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"datasurge/events"
)

// scrapeEvery is how often a process is asked how far it is: seldom enough to
// cost it nothing.
const scrapeEvery = 200 * time.Millisecond

// process is one function, measured by its own metrics.
type process struct {
	name  string
	cmd   *exec.Cmd
	pid   int
	url   string
	log   bytes.Buffer
	stdin interface{ Close() error }
}

// start starts a function and waits until it has restored its state.
func (c *Config) start(ctx context.Context, kafka *Kafka, name string) (*process, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	listener.Close()
	p := &process{name: name, url: "http://127.0.0.1:" + port}
	p.cmd = exec.Command(c.Command[0], append(c.Command[1:len(c.Command):len(c.Command)], name)...)
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Env = append(p.cmd.Env, "FUNCTION="+name, "TRANSPORT=kafka", "HOST=127.0.0.1", "PORT="+port, "MAX_AHEAD=0",
		"KAFKA_BROKERS="+strings.Join(kafka.Addrs, ","))
	p.cmd.Stderr = &p.log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = p.cmd.Process.Pid
	for deadline := time.Now().Add(time.Minute); ; {
		if families, err := p.scrape(ctx); err == nil && value(families, "datasurge_state_restored_records_total") > 0 && p.ready(ctx) {
			return p, nil
		}
		if time.Now().After(deadline) {
			return nil, p.stop(errors.New("it did not become ready in a minute"))
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, p.stop(err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop asks the process to end and returns err, with the last of the log when
// there is one.
func (p *process) stop(err error) error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	ended := p.cmd.Wait()
	if err == nil && ended != nil {
		err = ended
	}
	if err != nil {
		text := p.log.String()
		return fmt.Errorf("%s: %w; its log ends with: %s", p.name, err, text[max(0, len(text)-1000):])
	}
	return nil
}

func (p *process) get(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept-Encoding", "identity") // to compress the answer would count as the function's work
	return http.DefaultClient.Do(request)
}

func (p *process) ready(ctx context.Context) bool {
	response, err := p.get(ctx, "/readyz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (p *process) scrape(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	response, err := p.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

// value sums a metric over its labels.
func value(families map[string]*dto.MetricFamily, name string) float64 {
	sum := 0.0
	for _, m := range families[name].GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return sum
}

// processed is how many events of its stream the function has committed.
func (p *process) processed(families map[string]*dto.MetricFamily) int {
	sum := 0.0
	for _, m := range families["datasurge_function_events_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "type" && l.GetValue() != events.TypePartial {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return int(sum)
}

// awaitEvents waits until n events have been processed.
func (p *process) awaitEvents(ctx context.Context, n int) (time.Time, error) {
	last, since := -1, time.Now()
	for {
		families, err := p.scrape(ctx)
		if err != nil {
			return time.Time{}, err
		}
		now := time.Now()
		got := p.processed(families)
		if got >= n {
			return now, nil
		}
		if got != last {
			last, since = got, now
		}
		if now.Sub(since) > time.Minute {
			return now, fmt.Errorf("it stands at %d of %d events", got, n)
		}
		if err := pause(ctx, scrapeEvery); err != nil {
			return now, err
		}
	}
}

func (p *process) measure(ctx context.Context, n int, d time.Duration) (Function, error) {
	families, err := p.scrape(ctx)
	if err != nil {
		return Function{}, err
	}
	commits := families["datasurge_function_duration_seconds"].GetMetric()
	if len(commits) != 1 {
		return Function{}, errors.New("it has no histogram of commits")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		status = nil // not Linux: peak memory stays 0
	}
	return Function{
		Rate:      rate(n, d),
		CPUMicros: value(families, "process_cpu_seconds_total") * 1e6 / float64(n),
		CommitP50: quantile(commits[0].GetHistogram(), 0.5),
		CommitP99: quantile(commits[0].GetHistogram(), 0.99),
		PeakMB:    peakMB(string(status)),
	}, nil
}

// peakMB reads the peak resident memory from /proc/PID/status.
func peakMB(status string) float64 {
	_, rest, _ := strings.Cut(status, "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return 0
	}
	return kb / 1024
}

// quantile interpolates within the bucket that holds the q-th observation.
func quantile(h *dto.Histogram, q float64) float64 {
	rank := q * float64(h.GetSampleCount())
	lower, below := 0.0, 0.0
	for _, b := range h.GetBucket() {
		upper, count := b.GetUpperBound(), float64(b.GetCumulativeCount())
		if count >= rank {
			if math.IsInf(upper, 1) || count == below {
				return lower
			}
			return lower + (upper-lower)*(rank-below)/(count-below)
		}
		lower, below = upper, count
	}
	return lower
}

// restored returns how fast the changelogs of the process's partitions were read.
func (p *process) restored(ctx context.Context) (Rate, error) {
	families, err := p.scrape(ctx)
	if err != nil {
		return Rate{}, err
	}
	records := int(value(families, "datasurge_state_restored_records_total"))
	seconds := 0.0
	for _, m := range families["datasurge_state_restore_duration_seconds"].GetMetric() {
		seconds += m.GetHistogram().GetSampleSum()
	}
	return rate(records, time.Duration(seconds*float64(time.Second))), nil
}
