package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"datasurge/emulator/rulebook"
)

const listsUsage = `usage: emulator lists COMMAND [arguments]
  add LIST VALUE...       put merchants, customers or other texts on the list allow, deny or watch
  remove LIST VALUE...    take them off it
  show [LIST]             what is on the lists, and which rules are suppressed for whom
emulator lists COMMAND -h lists the arguments of a command.
`

// runLists is the command lists.
func runLists(ctx context.Context, args []string, out *os.File, _ io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(out, listsUsage)
		return flag.ErrHelp
	}
	name, args := args[0], args[1:]
	if name != "add" && name != "remove" && name != "show" {
		return fmt.Errorf("emulator lists has no command %q; emulator lists help lists them", name)
	}
	flags := flag.NewFlagSet("lists "+name, flag.ContinueOnError)
	var kafka connection
	kafka.bind(flags)
	var until, note string
	if name == "add" {
		flags.StringVar(&until, "until", "", "`time` from which the values no longer count: RFC 3339, or a duration from now (default: for good)")
		flags.StringVar(&note, "note", "", "why, for people")
	}
	rest, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	if name != "show" && len(rest) < 2 {
		return fmt.Errorf("which list, and which values? Say emulator lists %s LIST VALUE [VALUE...]", name)
	}
	if name == "show" && len(rest) > 1 {
		return fmt.Errorf("emulator lists show takes one list, not %d", len(rest))
	}
	options, err := kafka.options(ctx)
	if err != nil {
		return err
	}
	book := rulebook.New(options, time.Now)
	switch name {
	case "add":
		if err := book.AddToList(ctx, rest[0], rest[1:], until, note); err != nil {
			return err
		}
		fmt.Fprintf(out, "on the list %s: %s\n", rest[0], strings.Join(rest[1:], ", "))
	case "remove":
		if err := book.RemoveFromList(ctx, rest[0], rest[1:]); err != nil {
			return err
		}
		fmt.Fprintf(out, "off the list %s: %s\n", rest[0], strings.Join(rest[1:], ", "))
	default:
		lists, err := book.Lists(ctx)
		if err != nil {
			return err
		}
		lists.Print(out, strings.Join(rest, ""), time.Now())
	}
	return nil
}
