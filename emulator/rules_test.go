package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The commands for rules, lists and labels say what is wrong with their
// arguments, and check needs no Kafka.
func TestRulesListsLabelArguments(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const rule = "id: spree\nversion: 1\ndescription: A rule.\nseverity: low\nweight: 0.5\nwhen: "
	good, bad := file("good.yaml", rule+"count1m > 4\n"), file("bad.yaml", rule+"count1m > 4 &&\n  amout > 3\n")
	twin := file("twin.yaml", rule+"night\n---\n"+strings.Replace(rule, "spree", "other", 1)+"night\n")
	huge := file("huge.yaml", rule+"night\n# "+strings.Repeat("x", 1<<20))
	nowhere := []string{"--data-dir", filepath.Join(dir, "none")}
	for _, c := range []struct {
		args   []string
		status int
		want   string // in what is written
	}{
		{[]string{"rules"}, 0, "usage: emulator rules COMMAND"},
		{[]string{"rules", "chekc"}, 1, `emulator rules has no command "chekc"`},
		{[]string{"rules", "check"}, 1, "which file?"},
		{[]string{"rules", "check", good}, 0, "spree version 1 (active): good; worst case costs 2"},
		{[]string{"rules", "check", bad}, 1, bad + `:7:3: rule "spree": when: undeclared reference to 'amout'`},
		{[]string{"rules", "check", good, bad}, 1, "bad.yaml: 1 of 1 rules refused"},
		{[]string{"rules", "check", good, twin}, 1, twin + `: rule "spree": id: a rule of ` + good + " has it\nother version 1 (active): good"},
		{append([]string{"rules", "apply", good, twin}, nowhere...), 1, "twin.yaml: 1 of 2 rules refused"},
		{[]string{"rules", "check", huge}, 1, "the limit is 16384"},
		{[]string{"rules", "check", filepath.Join(dir, "absent.yaml")}, 1, "no such file"},
		{append([]string{"rules", "apply", bad}, nowhere...), 1, "1 of 1 rules refused"},
		{append([]string{"rules", "apply", good}, nowhere...), 1, "no emulator runs on"},
		{append([]string{"rules", "list", "all"}, nowhere...), 1, "emulator rules list takes no arguments besides its flags, not 1"},
		{append([]string{"rules", "history"}, nowhere...), 1, "emulator rules history takes the id of one rule"},
		{append([]string{"rules", "suppress", "spree", "--key", "u1", "--until", "2h"}, nowhere...), 1, "no emulator runs on"},
		{[]string{"rules", "list", "--brokers", "127.0.0.1:1"}, 1, "no broker of 127.0.0.1:1 can be reached"},
		{[]string{"lists"}, 0, "usage: emulator lists COMMAND"},
		{[]string{"lists", "ad"}, 1, `emulator lists has no command "ad"`},
		{append([]string{"lists", "add", "watch"}, nowhere...), 1, "which list, and which values?"},
		{append([]string{"lists", "add", "watch", "m1"}, nowhere...), 1, "no emulator runs on"},
		{append([]string{"lists", "show", "deny", "watch"}, nowhere...), 1, "takes one list, not 2"},
		{append([]string{"label", "t1"}, nowhere...), 1, "emulator label TRANSACTION_ID fraud|legitimate"},
		{append([]string{"label", "t1", "maybe"}, nowhere...), 1, "emulator label TRANSACTION_ID fraud|legitimate"},
		{append([]string{"label", "t1", "fraud"}, nowhere...), 1, "no emulator runs on"},
	} {
		out := output(t)
		var errs bytes.Buffer
		if status := execute(t.Context(), c.args, out, &errs); status != c.status {
			t.Errorf("%v: status %d, want %d", c.args, status, c.status)
		}
		if text := content(t, out) + errs.String(); !strings.Contains(text, c.want) {
			t.Errorf("%v wrote\n%s\nwant %s", c.args, text, c.want)
		}
	}
}
