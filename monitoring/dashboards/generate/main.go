// Command generate writes the dashboards as JSON into the directory that is its
// argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"datasurge/monitoring/dashboards"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: generate DIRECTORY")
	}
	for _, d := range dashboards.All() {
		text, err := d.JSON()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(args[0], d.UID+".json"), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
