package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"datasurge/emulator/rulebook"
)

// runLabel is the command label.
func runLabel(ctx context.Context, args []string, out *os.File, errs io.Writer) error {
	flags := flag.NewFlagSet("label", flag.ContinueOnError)
	var kafka connection
	kafka.bind(flags)
	rest, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	if len(rest) != 2 || rest[1] != "fraud" && rest[1] != "legitimate" {
		return fmt.Errorf("want the id of a transaction and what it was: emulator label TRANSACTION_ID fraud|legitimate")
	}
	options, err := kafka.options(ctx)
	if err != nil {
		return err
	}
	said := false
	labelled, err := rulebook.New(options, time.Now).Label(ctx, rest[0], rest[1] == "fraud", func(read int) {
		said = true
		fmt.Fprintf(errs, "\r%d records read", read)
	})
	if said {
		fmt.Fprintln(errs)
	}
	if err != nil {
		return err
	}
	labelled.Print(out)
	return nil
}
