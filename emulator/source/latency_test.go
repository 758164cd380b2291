package source

import (
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	last := -1
	for v := range uint64(1 << 20) {
		b := bucket(v)
		if b != last && b != last+1 {
			t.Fatalf("bucket of %d is %d, of the one before %d", v, b, last)
		}
		last = b
		if top := uint64(upper(b).Microseconds()); v > top || top > v+v/8 {
			t.Fatalf("%d is in bucket %d, up to %d", v, b, top)
		}
	}
	if b := bucket(1<<63 - 1); b >= latencyBuckets {
		t.Errorf("bucket %d of %d", b, latencyBuckets)
	}
}

func TestQuantile(t *testing.T) {
	var l latencies
	if got := l.snapshot().Quantile(0.99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for i := 1; i <= 1000; i++ {
		l.add(time.Duration(i) * time.Millisecond)
	}
	s := l.snapshot()
	for q, want := range map[float64]time.Duration{0: time.Millisecond, 0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := s.Quantile(q); got < want || got > want+want/8+time.Millisecond {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	l.add(time.Hour)
	later := l.snapshot()
	if got := later.Since(s).Quantile(0.5); got < time.Hour {
		t.Errorf("of what has come since: %v", got)
	}
	if got := s.Plus(s).Quantile(0.5); got != s.Quantile(0.5) {
		t.Errorf("twice the same: %v", got)
	}
}
