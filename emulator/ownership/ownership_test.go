package ownership

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ask(t *testing.T, r *Registry, id string, generation int64) Assignment {
	t.Helper()
	a, ok := r.Ask(t.Context(), "f", id, generation)
	if !ok {
		t.Fatalf("%s is not known", id)
	}
	return a
}

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(map[string]int{"f": 4})
		r.Join("f", "a")
		r.Join("f", "b")
		r.Join("g", "a") // no such function

		first := ask(t, r, "a", -1)
		want := Assignment{Generation: 1, Partitions: []int{0, 1, 2, 3}}
		if diff := cmp.Diff(want, first); diff != "" {
			t.Errorf("alone (-want +got):\n%s", diff)
		}

		// The question waits until b asks for the first time.
		answered := make(chan Assignment)
		go func() { answered <- ask(t, r, "a", first.Generation) }()
		time.Sleep(5 * time.Second)
		b := ask(t, r, "b", 0)
		a := <-answered
		if a.Generation != 2 || b.Generation != 2 || len(a.Partitions) != 2 || len(b.Partitions) != 2 {
			t.Errorf("two: %+v and %+v", a, b)
		}

		// Without news the answer is the same after 30 s; b is silent for longer
		// than it may be, which is news after 10 s.
		start := time.Now()
		a = ask(t, r, "a", 2)
		if got := time.Since(start); got != silence || a.Generation != 3 || len(a.Partitions) != 4 {
			t.Errorf("after %v: %+v", got, a)
		}
		start = time.Now()
		a = ask(t, r, "a", 3)
		if got := time.Since(start); got != maxWait || a.Generation != 3 {
			t.Errorf("after %v: %+v", got, a)
		}

		// It comes back, and leaves.
		if b = ask(t, r, "b", 2); b.Generation != 4 || len(b.Partitions) != 2 {
			t.Errorf("back: %+v", b)
		}
		r.Leave("f", "b")
		r.Leave("f", "b")
		if a = ask(t, r, "a", 4); a.Generation != 5 || len(a.Partitions) != 4 {
			t.Errorf("b has left: %+v", a)
		}
		if _, ok := r.Ask(t.Context(), "f", "b", 0); ok {
			t.Error("b is still known")
		}
		r.Leave("f", "a")
	})
}

// TestAskCancelled: a question ends with its context.
func TestAskCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(map[string]int{"f": 1})
		r.Join("f", "a")
		ask(t, r, "a", -1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, ok := r.Ask(ctx, "f", "a", 1); !ok || time.Since(start) != time.Second {
			t.Errorf("answer after %v", time.Since(start))
		}
		r.Leave("f", "a")
	})
}

// TestSpread: whatever comes and goes, every partition has a live owner, nobody
// has two more than another, and no more move than have to.
func TestSpread(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		owners := make([]*instance, 1+rng.IntN(12))
		var live []*instance
		for step := range 20 {
			old := slices.Clone(live)
			if len(live) > 0 && rng.IntN(2) == 0 {
				i := rng.IntN(len(live))
				live[i].live = false
				live = slices.Delete(slices.Clone(live), i, i+1)
			} else {
				live = append(slices.Clone(live), &instance{id: fmt.Sprint(step), live: true})
			}
			next := spread(owners, live)
			if len(live) == 0 {
				owners = next
				continue
			}
			count := make(map[*instance]int)
			moved := 0
			for p, in := range next {
				if in == nil || !in.live {
					t.Fatalf("seed %d step %d: partition %d has no live owner", seed, step, p)
				}
				count[in]++
				if owners[p] != nil && owners[p].live && owners[p] != in {
					moved++
				}
			}
			least, most := len(owners), 0
			for _, in := range live {
				least, most = min(least, count[in]), max(most, count[in])
			}
			if most-least > 1 {
				t.Fatalf("seed %d step %d: between %d and %d partitions", seed, step, least, most)
			}
			// Only one that has come can take from those that stay, one share.
			if limit := (len(owners) + len(live) - 1) / len(live); moved > limit || len(live) < len(old) && moved > 0 {
				t.Fatalf("seed %d step %d: %d partitions moved between live instances", seed, step, moved)
			}
			owners = next
		}
	}
}

func TestServeHTTP(t *testing.T) {
	r := New(map[string]int{"f": 1})
	r.Join("f", "a")
	mux := http.NewServeMux()
	mux.Handle("GET /{function}/{instance}", r)
	for path, want := range map[string]int{"/f/a": 200, "/f/a?generation=7": 200, "/f/a?generation=x": 400, "/f/b": 404, "/g/a": 404} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("GET %s: %d, want %d", path, w.Code, want)
		}
		if want != 200 {
			continue
		}
		var a Assignment
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Generation != 1 || len(a.Partitions) != 1 {
			t.Errorf("GET %s: %s", path, w.Body)
		}
	}
}
