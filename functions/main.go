// Command functions runs one of DataSurge's functions: generate, enrich, detect
// or aggregate.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"datasurge/functions/run"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run.Main(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "functions:", err)
		os.Exit(1)
	}
}
