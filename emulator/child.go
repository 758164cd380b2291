package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	functions "datasurge/functions/run"
)

// childEnv in the environment makes this executable one of the functions: the
// emulator starts itself, so that nothing else has to be there.
const childEnv = "DATASURGE_FUNCTION_CHILD"

// ourImage is the image of the manifests that this executable stands for.
const ourImage = "ko://datasurge/functions"

func isChild() bool { return os.Getenv(childEnv) == "1" }

// child runs the function that the environment names and returns the exit
// status.
func child() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		// The end of the standard input is the end of the emulator, and with it
		// of the broker: there is nothing to finish.
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	// The name is in the arguments too, for those who list the processes.
	if err := functions.Main(ctx, nil, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, oneLine(err))
		return 1
	}
	return 0
}
