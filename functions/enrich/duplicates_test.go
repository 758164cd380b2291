package enrich

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"datasurge/functions/step"
	"datasurge/functions/step/steptest"
)

func TestIdentify(t *testing.T) {
	const uuid = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f"
	if got := fmt.Sprintf("%x", identify(uuid)); got != strings.ReplaceAll(uuid, "-", "") {
		t.Errorf("the identity of %s is %s, not its bytes", uuid, got)
	}
	if identify(uuid) != identify(strings.ToUpper(uuid)) {
		t.Error("case matters in a UUID")
	}
	seen := map[identity]string{}
	for _, id := range []string{
		uuid, "tx-1", "TX-1", "tx-2", "", "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7g", "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7",
		"0189f7eaaae2c-7809-8aeb-b819cf5e9e7f", "0189f7eaae2c78098aebb819cf5e9e7f", "{" + uuid + "}",
	} {
		if other, ok := seen[identify(id)]; ok {
			t.Errorf("%q and %q are the same", id, other)
		}
		seen[identify(id)] = id
	}
}

func FuzzParseUUID(f *testing.F) {
	f.Add("0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f")
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := parseUUID(text)
		if !ok {
			return
		}
		again := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
		if !strings.EqualFold(again, text) {
			t.Fatalf("%q is read as %s", text, again)
		}
	})
}

func TestMinuteOf(t *testing.T) {
	for ms, want := range map[int64]minute{
		0: 0, 59_999: 0, 60_000: 1, -1: -1, -60_000: -1, -60_001: -2,
		-1 << 63: -1 << 31, 1<<63 - 1: 1<<31 - 1,
	} {
		if got := minuteOf(ms); got != want {
			t.Errorf("minuteOf(%d) = %d, want %d", ms, got, want)
		}
	}
}

func TestChunkKey(t *testing.T) {
	for _, m := range []minute{0, 1, -1, 29_000_000} {
		want := chunkKey{commit: 1 << 40, part: 513}
		gotMinute, got := parseChunkKey(appendChunkKey(nil, m, want))
		if gotMinute != m || got != want {
			t.Errorf("key of %d and %v is read as %d, %v", m, want, gotMinute, got)
		}
	}
}

func TestParseChunkErrors(t *testing.T) {
	for _, data := range [][]byte{nil, {}, {2}, {0, 1}, append([]byte{1}, make([]byte, 15)...)} {
		if _, err := parseChunk(data); err == nil {
			t.Errorf("%x is accepted", data)
		}
	}
	if _, err := parseChunk([]byte{2}); !errors.Is(err, step.ErrNewerVersion) {
		t.Errorf("a newer version: %v", err)
	}
}

// testDuplicates returns a store and the Tx of a function that has only it.
func testDuplicates(t testing.TB, horizon time.Duration) (*duplicates, *steptest.Tx) {
	tx := steptest.New(t, step.Definition{Codecs: map[byte]step.Codec{
		kindChunk: {Append: appendChunk, Parse: parseChunk},
	}})
	return newDuplicates(horizon, tx.All()), tx
}

func numbered(n uint64) identity {
	return identify(fmt.Sprint(n))
}

// TestOneRecordACommit: a commit of a live stream costs one changelog record.
func TestOneRecordACommit(t *testing.T) {
	d, tx := testDuplicates(t, 10*time.Minute)
	for commit := range uint64(5) {
		for n := range uint64(1000) {
			d.remember(tx, numbered(commit*1000+n), 60_000)
		}
		tx.EndCommit()
		if got := len(tx.Changelog); got != int(commit)+1 {
			t.Fatalf("%d records after %d commits", got, commit+1)
		}
	}
	size := 0
	for _, value := range tx.Changelog {
		size += len(value)
	}
	if want := 5 * (1 + 1000*16); size != want {
		t.Errorf("%d bytes, want %d", size, want)
	}
}

// TestChunkSize: a commit of very many transactions is split below 512 KB.
func TestChunkSize(t *testing.T) {
	d, tx := testDuplicates(t, 10*time.Minute)
	const count = 2*chunkIDs + 1
	for n := range uint64(count) {
		d.remember(tx, numbered(n), 0)
	}
	tx.EndCommit()
	if len(tx.Changelog) != 3 {
		t.Errorf("%d records, want 3", len(tx.Changelog))
	}
	for key, value := range tx.Changelog {
		if len(value) >= 512<<10 {
			t.Errorf("the value of %x has %d bytes", key, len(value))
		}
	}
	tx = tx.Restart()
	d = newDuplicates(10*time.Minute, tx.All())
	for n := range uint64(count) {
		if !d.known(numbered(n), 0) {
			t.Fatalf("id %d is lost", n)
		}
	}
	if d.known(numbered(count), 0) {
		t.Error("an id that never came is known")
	}
}

// TestForget: after the horizon nothing is left, in memory or in the changelog.
func TestForget(t *testing.T) {
	d, tx := testDuplicates(t, 10*time.Minute)
	for n := range uint64(3000) {
		d.remember(tx, numbered(n), int64(n)*100) // 5 minutes
		if n%100 == 99 {
			tx.EndCommit()
		}
	}
	tx.Mark = 11*60_000 - 1
	d.forget(tx)
	if len(d.index) != 3000 {
		t.Fatalf("%d ids before the end of the first minute's horizon, want 3000", len(d.index))
	}
	tx.Mark = 11 * 60_000
	if d.known(numbered(0), tx.Mark) {
		t.Error("an id is known after its horizon, before Tick came")
	}
	d.forget(tx)
	if len(d.index) != 2400 {
		t.Fatalf("%d ids after the first minute's horizon, want 2400", len(d.index))
	}
	tx.Mark = 15 * 60_000
	d.forget(tx)
	tx.EndCommit()
	if len(d.index)+len(d.chunks)+len(d.open)+len(tx.Changelog) != 0 {
		t.Errorf("left: %d ids, %d minutes, %d open chunks, %d records",
			len(d.index), len(d.chunks), len(d.open), len(tx.Changelog))
	}
}

// TestRememberedAgain: an id that came again after its horizon is known for
// another horizon, also when the old chunk goes away or is restored late.
func TestRememberedAgain(t *testing.T) {
	d, tx := testDuplicates(t, time.Minute)
	id := numbered(1)
	d.remember(tx, id, 0)
	tx.Mark = 10 * 60_000
	if d.known(id, tx.Mark) {
		t.Fatal("known after its horizon")
	}
	d.remember(tx, id, 10*60_000)
	tx.EndCommit()
	restored := newDuplicates(time.Minute, tx.Restart().All())
	d.forget(tx)
	for name, d := range map[string]*duplicates{"kept": d, "restored": restored} {
		if !d.known(id, tx.Mark) {
			t.Errorf("%s: not known within the second horizon", name)
		}
	}
}

// TestTooOld: what is older than the horizon leaves no state.
func TestTooOld(t *testing.T) {
	d, tx := testDuplicates(t, time.Minute)
	tx.Mark = 100 * 60_000
	d.remember(tx, numbered(1), 0)
	tx.EndCommit()
	if len(d.index)+len(tx.Changelog) != 0 {
		t.Errorf("%d ids, %d records", len(d.index), len(tx.Changelog))
	}
}

// TestDuplicatesAgainstReference compares random streams, with restarts and
// arbitrary Ticks, with a map of every id ever seen.
func TestDuplicatesAgainstReference(t *testing.T) {
	const horizon = 3 * time.Minute
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		d, tx := testDuplicates(t, horizon)
		seen := map[uint64]int64{} // end of the newest minute remembered
		now := int64(0)
		for range 500 {
			now += r.Int64N(20_000)
			tx.Mark = now - 30_000
			at := now - r.Int64N(120_000)
			if r.IntN(20) == 0 {
				at -= 1_000_000
			}
			n := r.Uint64N(50)
			end, ok := seen[n]
			want := ok && tx.Mark < end+horizon.Milliseconds()
			if got := d.known(numbered(n), tx.Mark); got != want {
				t.Fatalf("seed %d: id %d at watermark %d: known is %v, want %v", seed, n, tx.Mark, got, want)
			}
			if !want {
				d.remember(tx, numbered(n), at)
				if end := minuteOf(at).end(); tx.Mark < end+horizon.Milliseconds() {
					seen[n] = end
				}
			}
			switch r.IntN(10) {
			case 0:
				tx.EndCommit()
			case 1:
				d.forget(tx)
			case 2:
				d.forget(tx)
				tx.EndCommit()
				tx = tx.Restart()
				d = newDuplicates(horizon, tx.All())
			}
		}
	}
}

// TestMemory: 600,000 ids, ten minutes at 1,000 a second, stay under 32 MB with
// the state that the engine holds, after a long run as after a restart.
func TestMemory(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	d, tx := testDuplicates(t, 10*time.Minute)
	tx.Lag = 2 * time.Second
	r := rand.New(rand.NewPCG(1, 1))
	const perCommit = 50
	for ms := int64(0); ms < 14*60_000; ms += perCommit {
		for i := range int64(perCommit) {
			var id identity
			for j := range id {
				id[j] = byte(r.Uint32())
			}
			d.remember(tx, id, ms+i)
		}
		if err := tx.Observe(ms); err != nil {
			t.Fatal(err)
		}
		d.forget(tx)
		tx.EndCommit()
	}
	if len(d.index) < 600_000 {
		t.Fatalf("only %d ids", len(d.index))
	}
	changelog := uint64(0)
	for key, value := range tx.Changelog {
		changelog += uint64(len(key) + len(value) + 100)
	}
	used := heap() - before - changelog
	t.Logf("%d ids in %d chunks: %d MB", len(d.index), len(tx.Changelog), used>>20)
	if used > 32<<20 {
		t.Errorf("%d MB", used>>20)
	}
	runtime.KeepAlive(d)
	runtime.KeepAlive(tx)
}

func BenchmarkRemember(b *testing.B) {
	d, tx := testDuplicates(b, 10*time.Minute)
	var id identity
	n := uint64(0)
	for b.Loop() {
		n++
		id[0], id[1], id[2], id[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
		if !d.known(id, tx.Mark) {
			d.remember(tx, id, int64(n))
		}
		if n%1000 == 0 {
			tx.Mark = int64(n)
			d.forget(tx)
			tx.EndCommit()
		}
	}
}

func BenchmarkIdentify(b *testing.B) {
	for _, id := range []string{"0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f", "transaction-000012345678"} {
		b.Run(id[:4], func(b *testing.B) {
			for b.Loop() {
				identify(id)
			}
		})
	}
}
