package dispatch

import (
	"os"
	"testing"

	"datasurge/emulator/golden"
)

func TestMain(m *testing.M) { os.Exit(golden.Main(m)) }
