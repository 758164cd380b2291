// Command emulator runs the pipeline on one machine from the manifests that are
// deployed: it starts an embedded Kafka, creates the topics, starts the functions
// as processes, and does between them what Knative does on a cluster.
//
//	emulator run        everything; see emulator run -h
//	emulator bench      measure the functions
//	emulator backtest   measure detection
//	emulator invoke     send an event to a function
//	emulator sample     a valid event of any type
//	emulator tail       the records of a topic, decoded
//	emulator explain    the story of one transaction
//	emulator rules      check, apply and list detection rules
//	emulator lists      show and change the lists that rules look at
//	emulator label      say what a transaction was
//	emulator parity     what the emulator does as Knative does
//	emulator reset      delete what the emulator has kept
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// command is one of the emulator's commands. It returns when ctx is done, with
// all it has begun in order.
type command struct {
	name, summary string
	run           func(ctx context.Context, args []string, out *os.File, errs io.Writer) error
}

// commands in the order of the help.
func commands() []command {
	return []command{
		{"run", "run the pipeline until Ctrl-C", run},
		{"bench", "measure the functions over Kafka", runBench},
		{"invoke", "send an event to a function and show what becomes of it", runInvoke},
		{"sample", "print a valid event of any type", runSample},
		{"tail", "print the records of a topic as they come", tail},
		{"explain", "tell the story of one transaction through all topics", runExplain},
		{"rules", "check, apply and list detection rules", runRules},
		{"lists", "show and change the lists that rules look at", runLists},
		{"backtest", "measure detection, on the Fraud Detection Handbook's data set or on yours", runBacktest},
		{"label", "say that a transaction was fraud, or legitimate", runLabel},
		{"parity", "what the emulator does as Knative does, and what proves it", runParity},
		{"reset", "delete everything that the emulator has kept", runReset},
	}
}

func main() {
	if isChild() {
		os.Exit(child())
	}
	// A second signal ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs the command that args name and returns the exit status: 0 after a
// clean end, else 1 with one line that says what is wrong.
func execute(ctx context.Context, args []string, out *os.File, errs io.Writer) int {
	if len(args) == 0 {
		usage(errs)
		return 1
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], out, errs)
		if err == nil || errors.Is(err, flag.ErrHelp) {
			return 0
		}
		fmt.Fprintln(errs, "emulator:", oneLine(err))
		return 1
	}
	if name := strings.TrimLeft(args[0], "-"); name == "h" || name == "help" {
		usage(out)
		return 0
	}
	fmt.Fprintf(errs, "emulator: there is no command %q; emulator help lists them\n", args[0])
	return 1
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: emulator COMMAND [arguments]")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w, "emulator COMMAND -h lists the arguments of a command.")
}

// oneLine is the first line of an error, with the number of those that follow.
func oneLine(err error) string {
	first, rest, more := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	if !more {
		return first
	}
	return fmt.Sprintf("%s (and %d more)", first, strings.Count(rest, "\n")+1)
}

// parse parses args with flags. The message of an error is the error's, not the
// whole help; -h prints that to out.
func parse(flags *flag.FlagSet, args []string, out io.Writer) error {
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(out)
		fmt.Fprintf(out, "usage: emulator %s [arguments]\n", flags.Name())
		flags.PrintDefaults()
		return err
	}
	if err != nil {
		return fmt.Errorf("%w; emulator %s -h lists the arguments", err, flags.Name())
	}
	return nil
}
