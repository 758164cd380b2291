package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/term"

	"datasurge/emulator/backtest"
	"datasurge/events"
)

// backtestConfig is the command line of emulator backtest.
type backtestConfig struct {
	protocol       backtest.Protocol // from day 0: the last days
	rules, against string
	scores, plot   string
	topic          string // "": the Handbook's data set
	kafka          connection
}

// bookTestStart is the first day of the book's test.
const bookTestStart = "2018-08-08"

func parseBacktest(args []string, out io.Writer) (backtestConfig, error) {
	var c backtestConfig
	flags := flag.NewFlagSet("backtest", flag.ContinueOnError)
	start := flags.String("test-start", "", "first `day` of the test (default: "+bookTestStart+"; with --from-topic, so that the test ends a week before the last transaction)")
	flags.IntVar(&c.protocol.Days, "days", 7, "days of the test, 1 to 7: further on, more labels would be known than the protocol has")
	flags.StringVar(&c.rules, "rules", "", "`file` of rules in place of the built-in ones")
	flags.StringVar(&c.against, "against", "", "`file` of other rules, to say what they win and lose")
	flags.StringVar(&c.scores, "scores", "", "`file` to write every transaction's score to, as CSV")
	flags.StringVar(&c.plot, "plot", "", "`directory` to write charts to, as SVG")
	flags.StringVar(&c.topic, "from-topic", "", "`topic` of transactions of your own, whose labels are in "+events.TopicLabels+"; what enrich takes is taken (default: the Handbook's data set)")
	c.kafka.bind(flags)
	if err := parse(flags, args, out); err != nil {
		return c, err
	}
	if *start == "" && c.topic == "" {
		*start = bookTestStart
	}
	at := time.UnixMilli(0)
	var err error
	if *start != "" {
		at, err = time.Parse(time.DateOnly, *start)
	}
	switch {
	case flags.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q; emulator backtest -h lists the arguments", flags.Arg(0))
	case err != nil:
		return c, fmt.Errorf("--test-start %q: want a day as 2018-08-08", *start)
	case c.topic == "" && c.kafka.brokers != "":
		return c, errors.New("--brokers is of the Kafka of --from-topic: which topic?")
	case c.protocol.Days < 1 || c.protocol.Days > 7:
		return c, fmt.Errorf("--days %d: want 1 to 7", c.protocol.Days)
	}
	c.protocol.TestStart = at.UnixMilli()
	if c.topic == "" {
		if err := new(backtest.Handbook).Covers(c.protocol); err != nil {
			return c, fmt.Errorf("--test-start %s --days %d: %w", *start, c.protocol.Days, err)
		}
	}
	return c, nil
}

// mostMemory is from how many bytes on memory is looked after rather than time.
const mostMemory = 1200 << 20

// runBacktest is the command backtest.
func runBacktest(ctx context.Context, args []string, out *os.File, errs io.Writer) error {
	c, err := parseBacktest(args, out)
	if err != nil {
		return err
	}
	config := backtest.Config{Source: &backtest.Handbook{}, Logger: slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if c.topic != "" {
		options, err := c.kafka.options(ctx)
		if err != nil {
			return err
		}
		topic, err := backtest.OpenTopic(ctx, options, c.topic)
		if err != nil {
			return err
		}
		defer topic.Close()
		config.Source = topic
	}
	for _, rules := range []struct {
		path string
		into *[]byte
	}{{c.rules, &config.Rules}, {c.against, &config.Against}} {
		if rules.path == "" {
			continue
		}
		if *rules.into, err = ruleFile(rules.path, errs); err != nil {
			return fmt.Errorf("read the rules: %w", err)
		}
	}
	// What cannot be written is found out now rather than after minutes.
	if c.plot != "" {
		if err := os.MkdirAll(c.plot, 0o755); err != nil {
			return fmt.Errorf("make the directory of --plot: %w", err)
		}
	}
	if c.scores != "" {
		if err := writable(c.scores); err != nil {
			return fmt.Errorf("write the scores: %w", err)
		}
	}
	// The state of the functions is small and lives long; what they do is not.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(mostMemory)
	bar := newProgressBar(errs)
	config.Progress = bar.show
	result, err := backtest.Run(ctx, config)
	bar.end()
	if err != nil {
		return err
	}
	if c.protocol.TestStart == 0 {
		c.protocol = backtest.Latest(result.Rows, c.protocol.Days)
	}
	report, err := backtest.NewReport(result, c.protocol)
	if err != nil {
		return err
	}
	report.Print(out)
	if c.scores != "" {
		if err := writeScores(c.scores, result); err != nil {
			return fmt.Errorf("write the scores: %w", err)
		}
	}
	if c.plot != "" {
		for name, text := range report.Plots() {
			if err := os.WriteFile(filepath.Join(c.plot, name), []byte(text), 0o644); err != nil {
				return fmt.Errorf("write a chart: %w", err)
			}
		}
	}
	return nil
}

// writable tells whether a file can be written, and leaves one that is there as
// it is.
func writable(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func writeScores(path string, result *backtest.Result) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<16)
	if err := result.WriteScores(w); err != nil {
		return err
	}
	return w.Flush()
}

// progressBar shows how far something is and how long it will still take. Where
// nobody looks, it writes a line for every tenth.
type progressBar struct {
	out      io.Writer
	terminal bool
	begun    time.Time
	tenth    int64
}

func newProgressBar(out io.Writer) *progressBar {
	f, ok := out.(*os.File)
	return &progressBar{out: out, terminal: ok && term.IsTerminal(int(f.Fd())), begun: time.Now()}
}

func (b *progressBar) show(done, all int64) {
	const width = 40
	tenth := done * 10 / all
	if !b.terminal && tenth == b.tenth {
		return
	}
	b.tenth = tenth
	left := time.Duration(float64(time.Since(b.begun)) / float64(done) * float64(all-done)).Round(time.Second)
	filled := done * width / all
	line := fmt.Sprintf("[%s%s] %3d%%, %v left", strings.Repeat("=", int(filled)), strings.Repeat(" ", int(width-filled)), done*100/all, left)
	if b.terminal {
		fmt.Fprintf(b.out, "\r%-80s", line)
		return
	}
	fmt.Fprintln(b.out, line)
}

func (b *progressBar) end() {
	if b.terminal {
		fmt.Fprint(b.out, "\r", strings.Repeat(" ", 80), "\r")
	}
}
