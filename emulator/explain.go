package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"datasurge/emulator/explain"
)

// runExplain is the command explain.
func runExplain(ctx context.Context, args []string, out *os.File, errs io.Writer) error {
	flags := flag.NewFlagSet("explain", flag.ContinueOnError)
	var kafka connection
	kafka.bind(flags)
	asJSON := flags.Bool("json", false, "the story as JSON, with the data of every record")
	rest, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errors.New("which transaction? emulator explain TRANSACTION_ID")
	}
	options, err := kafka.options(ctx)
	if err != nil {
		return err
	}
	said := false
	story, err := explain.Read(ctx, options, rest[0], func(records int) {
		said = true
		fmt.Fprintf(errs, "\r%d records read", records)
	})
	if said {
		fmt.Fprintln(errs)
	}
	if err != nil {
		return err
	}
	if *asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(story); err != nil {
			return err
		}
	} else {
		for _, line := range story.Lines() {
			if _, err := fmt.Fprintln(out, line); err != nil {
				return err
			}
		}
	}
	if len(story.Hops) == 0 {
		return fmt.Errorf("there is no transaction %s", rest[0])
	}
	return nil
}
