package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestNext: a group is named when one of its files has changed and is still,
// once.
func TestNext(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	write(t, one, "1")
	write(t, two, "2")
	synctest.Test(t, func(t *testing.T) {
		w := New(func() map[string][]string {
			matches, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
			if err != nil {
				t.Error(err)
			}
			return map[string][]string{"a": {one}, "b": {two, filepath.Join(dir, "none")}, "c": matches}
		})
		for _, c := range []struct {
			what   string
			change func()
			want   []string
		}{
			{"content", func() { write(t, one, "11") }, []string{"a"}},
			{"two groups", func() { write(t, one, "111"); write(t, two, "22") }, []string{"a", "b"}},
			{"a new file", func() { write(t, filepath.Join(dir, "none"), "") }, []string{"b"}},
			{"gone", func() { os.Remove(filepath.Join(dir, "none")) }, []string{"b"}},
			{"a file in a directory", func() { write(t, filepath.Join(dir, "x.yaml"), "") }, []string{"c"}},
			{"renamed over", func() {
				write(t, filepath.Join(dir, "tmp"), "longer")
				os.Rename(filepath.Join(dir, "tmp"), one)
			}, []string{"a"}},
			{"mode", func() { os.Chmod(one, 0o755) }, []string{"a"}},
		} {
			c.change()
			begin := time.Now()
			got, err := w.Next(t.Context())
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, %v; want %q", c.what, got, err, c.want)
			}
			if took := time.Since(begin); took != 2*Every {
				t.Errorf("%s: noticed after %v, want two looks", c.what, took)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if got, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a change: %q, %v", got, err)
		}
	})
}

// TestStill: a file that is being written is left alone.
func TestStill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "")
	synctest.Test(t, func(t *testing.T) {
		w := New(func() map[string][]string { return map[string][]string{"f": {path}} })
		begin := time.Now()
		const writes = 20
		go func() {
			var text strings.Builder
			for range writes {
				text.WriteString("x")
				write(t, path, text.String())
				time.Sleep(Every)
			}
		}()
		time.Sleep(Every / 2)
		if got, err := w.Next(t.Context()); err != nil || len(got) != 1 {
			t.Errorf("%q, %v", got, err)
		}
		if took := time.Since(begin); took < (writes-1)*Every {
			t.Errorf("noticed after %v, while it was written", took)
		}
	})
}
