// Package ownership tells the instances of a function which partitions are
// theirs, in place of a consumer group: a member of a group that is killed stays
// in it on the embedded broker.
//
// An instance asks, by a request that is answered when there is something new,
// and counts as live from its first question until it has left (its process has
// ended) or has not asked for ten seconds. Partitions are spread evenly over the
// live instances, and move only when they have to.
//
// Whom a partition is given to never decides what is right: the instance that
// took it over last has fenced the ones before.
package ownership

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Limits of a question.
const (
	// maxWait is how long a question without news is held.
	maxWait = 30 * time.Second
	// silence is how long an instance may not ask and still counts as live.
	silence = 10 * time.Second
)

// Assignment is the answer to an instance.
type Assignment struct {
	// Generation grows with every change of the function's assignment.
	Generation int64 `json:"generation"`
	// Partitions are those of the instance that asked.
	Partitions []int `json:"partitions"`
}

// Registry holds the assignments of all functions.
type Registry struct {
	mu        sync.Mutex
	functions map[string]*function
}

// function is one function's instances and who owns what. It is guarded by the
// registry's mutex.
type function struct {
	generation int64
	changed    chan struct{} // closed and replaced with every generation
	instances  []*instance   // in the order of joining
	owners     []*instance   // by partition; nil: none
}

type instance struct {
	id     string
	live   bool
	asking int         // questions that wait
	timer  *time.Timer // ends the life of one that does not ask
}

// New makes a registry for functions with the given numbers of partitions.
func New(partitions map[string]int) *Registry {
	r := &Registry{functions: make(map[string]*function)}
	r.Add(partitions)
	return r
}

// Add makes functions known with their numbers of partitions. Those that are
// known stay as they are.
func (r *Registry) Add(partitions map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, n := range partitions {
		if r.functions[name] == nil {
			r.functions[name] = &function{changed: make(chan struct{}), owners: make([]*instance, n)}
		}
	}
}

// Join adds an instance. It gets partitions when it first asks. A function that is
// not known is ignored.
func (r *Registry) Join(functionName, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.functions[functionName]; f != nil {
		f.instances = append(f.instances, &instance{id: id})
	}
}

// Leave removes an instance, whose partitions go to the others.
func (r *Registry) Leave(functionName, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.functions[functionName]
	if f == nil {
		return
	}
	i := slices.IndexFunc(f.instances, func(in *instance) bool { return in.id == id })
	if i < 0 {
		return
	}
	in := f.instances[i]
	f.instances = slices.Delete(f.instances, i, i+1)
	if in.timer != nil {
		in.timer.Stop()
	}
	if in.live {
		in.live = false
		f.assign()
	}
}

// Ask returns the assignment of an instance. When generation is the present one
// it waits for the next, at most 30 s or until ctx is done, and then returns the
// present one. ok is false when the instance is not known.
func (r *Registry) Ask(ctx context.Context, functionName, id string, generation int64) (a Assignment, ok bool) {
	timeout := time.NewTimer(maxWait)
	defer timeout.Stop()
	f, in, changed := r.begin(functionName, id, generation)
	if in == nil {
		return a, false
	}
	if changed != nil {
		select {
		case <-changed:
		case <-timeout.C:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	in.asking--
	if in.asking == 0 && in.live {
		in.timer = time.AfterFunc(silence, func() { r.silent(f, in) })
	}
	a.Generation, a.Partitions = f.generation, []int{}
	for p, owner := range f.owners {
		if owner == in {
			a.Partitions = append(a.Partitions, p)
		}
	}
	return a, true
}

// begin notes that an instance asks. changed is nil when the answer need not
// wait.
func (r *Registry) begin(functionName, id string, generation int64) (f *function, in *instance, changed chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f = r.functions[functionName]; f == nil {
		return nil, nil, nil
	}
	i := slices.IndexFunc(f.instances, func(in *instance) bool { return in.id == id })
	if i < 0 {
		return f, nil, nil
	}
	in = f.instances[i]
	in.asking++
	if in.timer != nil {
		in.timer.Stop()
		in.timer = nil
	}
	if !in.live {
		in.live = true
		f.assign()
	}
	if f.generation == generation {
		changed = f.changed
	}
	return f, in, changed
}

// silent ends the life of an instance that has not asked for too long.
func (r *Registry) silent(f *function, in *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in.asking > 0 || !in.live {
		return // it asked, or left, while the timer fired
	}
	in.live = false
	f.assign()
}

// assign spreads the partitions over the live instances and starts a new
// generation.
func (f *function) assign() {
	var live []*instance
	for _, in := range f.instances {
		if in.live {
			live = append(live, in)
		}
	}
	f.owners = spread(f.owners, live)
	f.generation++
	close(f.changed)
	f.changed = make(chan struct{})
}

// spread gives each partition an owner among live, so that the numbers of
// partitions differ by one at most, and keeps the owner where that allows it.
func spread(owners []*instance, live []*instance) []*instance {
	next := make([]*instance, len(owners))
	if len(live) == 0 {
		return next
	}
	quota, more := len(owners)/len(live), len(owners)%len(live)
	count := make(map[*instance]int)
	for p, in := range owners {
		if in == nil || !in.live {
			continue
		}
		if count[in] == quota {
			if more == 0 {
				continue
			}
			more-- // one of those that get one more
		} else if count[in] > quota {
			continue
		}
		count[in]++
		next[p] = in
	}
	for p := range next {
		if next[p] == nil {
			in := slices.MinFunc(live, func(a, b *instance) int { return count[a] - count[b] })
			count[in]++
			next[p] = in
		}
	}
	return next
}

// ServeHTTP answers GET /{function}/{instance}?generation=N with an
// [Assignment] in JSON: at once when N is not the present generation or absent.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	generation := int64(-1)
	if text := req.URL.Query().Get("generation"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			http.Error(w, "generation: want a whole number", http.StatusBadRequest)
			return
		}
		generation = n
	}
	a, ok := r.Ask(req.Context(), req.PathValue("function"), req.PathValue("instance"), generation)
	if !ok {
		http.Error(w, "no such instance", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// An error means that the instance has gone away.
	_ = json.NewEncoder(w).Encode(a)
}
