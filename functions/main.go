// Command functions runs one of DataSurge's functions: generate, enrich, detect,
// aggregate or learn.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"datasurge/functions/run"
)

func main() {
	if len(os.Args) == 2 && slices.Contains([]string{"-h", "--help", "help"}, os.Args[1]) {
		fmt.Println(run.Usage)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run.Main(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "functions:", err)
		os.Exit(1)
	}
}
