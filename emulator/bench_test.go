package main

import (
	"strings"
	"testing"
)

func TestBenchArguments(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--transport smoke", "want kafka or http"},
		{"--transport http --brokers a:9092", "--brokers names another"},
		{"--transport http --steady 10ms", "want at least 1s"},
		{"-n -1", "at least 1"},
		{"more", "no other arguments"},
	} {
		var errs strings.Builder
		args := append([]string{"bench"}, strings.Fields(c.args)...)
		if status := execute(t.Context(), args, output(t), &errs); status != 1 || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: status %d, %q; want %q", args, status, &errs, c.want)
		}
	}
}
