package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"datasurge/emulator/sample"
)

// runSample is the command sample.
func runSample(_ context.Context, args []string, out *os.File, _ io.Writer) error {
	flags := flag.NewFlagSet("sample", flag.ContinueOnError)
	id := flags.String("id", "", "`id` of the transaction (default: a new one)")
	data := flags.Bool("data", false, "only the data, without the event around it")
	rest, err := parseMixed(flags, args, out)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errors.New("which sample? emulator sample " + strings.Join(sample.Kinds(), "|"))
	}
	if *id == "" {
		*id = newID()
	}
	e, err := sample.New(rest[0], *id, time.Now())
	if err != nil {
		return err
	}
	text := e.AppendJSON(nil)
	if *data {
		text = e.Data
	}
	_, err = fmt.Fprintf(out, "%s\n", pretty(text))
	return err
}

// newID returns a random UUID.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// pretty returns JSON with line breaks, and anything else as it is.
func pretty(data []byte) []byte {
	var b bytes.Buffer
	if json.Indent(&b, data, "", "  ") != nil {
		return data
	}
	return b.Bytes()
}
