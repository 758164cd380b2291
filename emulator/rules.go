package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"datasurge/emulator/rulebook"
)

const rulesUsage = `usage: emulator rules COMMAND [arguments]
  check FILE...                     check rules without a Kafka: what is wrong and where, what they cost, which windows they add
  apply FILE...                     put rules in force, all of a file or none; every instance has them within two seconds
  list                              the rules in force, their windows, and from when these are exact
  history ID                        all versions of a rule
  remove ID                         take a rule out of force; its history stays
  suppress ID --key K --until T     keep a rule from flagging one customer or merchant; T is a time (RFC 3339) or a duration from now (2h, 30d)
  unsuppress ID --key K             end that before its time
emulator rules COMMAND -h lists the arguments of a command.
`

// runRules is the command rules.
func runRules(ctx context.Context, args []string, out *os.File, errs io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(out, rulesUsage)
		return flag.ErrHelp
	}
	name, args := args[0], args[1:]
	switch name {
	case "check":
		return checkRules(args, out)
	case "apply":
		return applyRules(ctx, args, out, errs)
	case "list", "history", "remove", "suppress", "unsuppress":
	default:
		return fmt.Errorf("emulator rules has no command %q; emulator rules help lists them", name)
	}
	flags := flag.NewFlagSet("rules "+name, flag.ContinueOnError)
	var kafka connection
	kafka.bind(flags)
	var key, until, note string
	if name == "suppress" || name == "unsuppress" {
		flags.StringVar(&key, "key", "", "`id` of the customer or merchant")
	}
	if name == "suppress" {
		flags.StringVar(&until, "until", "", "`time` from which the rule flags again: RFC 3339, or a duration from now")
		flags.StringVar(&note, "note", "", "why, for people")
	}
	rest, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	want, wanted := 1, "the id of one rule"
	if name == "list" {
		want, wanted = 0, "no arguments"
	}
	if len(rest) != want {
		return fmt.Errorf("emulator rules %s takes %s besides its flags, not %d arguments; emulator rules help shows them", name, wanted, len(rest))
	}
	options, err := kafka.options(ctx)
	if err != nil {
		return err
	}
	book := rulebook.New(options, time.Now)
	switch name {
	case "list":
		return listRules(ctx, book, out)
	case "history":
		have, err := book.Rules(ctx)
		if err != nil {
			return err
		}
		versions, err := have.History(rest[0])
		if err != nil {
			return err
		}
		rulebook.PrintHistory(out, versions)
		return nil
	case "remove":
		if err := book.Remove(ctx, rest[0]); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s is out of force\n", rest[0])
		return nil
	case "suppress":
		at, err := book.Suppress(ctx, rest[0], key, until, note)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s does not flag transactions of %s before %s\n", rest[0], key, at.Format(time.RFC3339))
		return nil
	default:
		if err := book.Unsuppress(ctx, rest[0], key); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s flags transactions of %s again\n", rest[0], key)
		return nil
	}
}

// listRules prints the rules in force.
func listRules(ctx context.Context, book *rulebook.Book, out io.Writer) error {
	have, err := book.Rules(ctx)
	if err != nil {
		return err
	}
	windows, err := book.Windows(ctx)
	if err != nil {
		return err
	}
	have.Print(out, windows, time.Now())
	return nil
}

// checkRules is the command rules check.
func checkRules(args []string, out *os.File) error {
	flags := flag.NewFlagSet("rules check", flag.ContinueOnError)
	files, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	_, err = readRules(files, out, out)
	return err
}

// maxRuleFile bounds a file of rules, in bytes.
const maxRuleFile = 8 << 20

// readRules reads and checks files, and prints what is wrong to faults and what
// is good to out.
func readRules(files []string, out, faults io.Writer) (map[string]*rulebook.Checked, error) {
	if len(files) == 0 {
		return nil, errors.New("which file? emulator rules help shows the arguments")
	}
	compiler, err := rulebook.NewCompiler()
	if err != nil {
		return nil, err
	}
	all := map[string]*rulebook.Checked{}
	fileOf := map[string]string{} // by id
	var refused []error
	for _, name := range files {
		text, err := readRuleFile(name)
		if err != nil {
			return nil, err
		}
		checked := rulebook.Check(compiler, text)
		checked.Unique(fileOf, name)
		checked.PrintRefused(faults, name)
		checked.PrintGood(out)
		if err := checked.Err(name); err != nil {
			refused = append(refused, err)
		}
		all[name] = &checked
	}
	return all, errors.Join(refused...)
}

// ruleFile reads a file in which all rules are good, and prints to faults which
// are not.
func ruleFile(name string, faults io.Writer) ([]byte, error) {
	compiler, err := rulebook.NewCompiler()
	if err != nil {
		return nil, err
	}
	text, err := readRuleFile(name)
	if err != nil {
		return nil, err
	}
	checked := rulebook.Check(compiler, text)
	checked.PrintRefused(faults, name)
	return text, checked.Err(name)
}

func readRuleFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRuleFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxRuleFile {
		return nil, fmt.Errorf("%s is larger than %d MB, which no file of rules is", name, maxRuleFile>>20)
	}
	return text, nil
}

// applyRules is the command rules apply.
func applyRules(ctx context.Context, args []string, out *os.File, errs io.Writer) error {
	flags := flag.NewFlagSet("rules apply", flag.ContinueOnError)
	var kafka connection
	kafka.bind(flags)
	files, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	all, err := readRules(files, io.Discard, errs)
	if err != nil {
		return err
	}
	options, err := kafka.options(ctx)
	if err != nil {
		return err
	}
	book := rulebook.New(options, time.Now)
	for _, name := range files {
		outcomes, err := book.Apply(ctx, all[name])
		if err != nil {
			return fmt.Errorf("%s: nothing of it was applied: %w", name, err)
		}
		for _, o := range outcomes {
			o.Print(out)
		}
	}
	return nil
}
