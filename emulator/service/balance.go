package service

import "math/rand/v2"

// proxied reports whether the activator is in the path: when no instance is ready,
// or there is not enough room for a burst. s.mu is held.
func (r *revision) proxied() bool { return len(r.ready) == 0 || r.scaler.excess < 0 }

// fewSlots is the containerConcurrency up to which the activator fills one
// instance after the other.
const fewSlots = 3

// pick returns the instance that gets the next request, nil when it has to wait in
// the activator. One without room stands for its queue. Without the activator the
// network of the cluster draws an instance. s.mu is held.
func (r *revision) pick() *instance {
	if r.proxied() {
		return r.choose()
	}
	return r.ready[rand.IntN(len(r.ready))]
}

// choose returns the instance that the activator takes, nil when none has room. It
// takes the less busy of two that it draws when there is no containerConcurrency,
// the first with room when that is small, else the next with room (serving
// pkg/activator/net). s.mu is held.
func (r *revision) choose() *instance {
	limit := r.cfg.Service.Concurrency
	switch {
	case len(r.ready) == 0:
		return nil
	case limit == 0:
		return r.lessBusy()
	case limit <= fewSlots:
		in, _ := r.withRoom(0)
		return in
	}
	in, at := r.withRoom(r.next)
	if in != nil {
		r.next = at + 1
	}
	return in
}

// lessBusy draws two instances and returns the one with fewer requests.
func (r *revision) lessBusy() *instance {
	n := len(r.ready)
	if n == 1 {
		return r.ready[0]
	}
	i, j := rand.IntN(n), rand.IntN(n-1)
	if j >= i {
		j++
	}
	a, b := r.ready[i], r.ready[j]
	if b.active < a.active {
		return b
	}
	return a // which of two that are equally busy is chance already
}

// withRoom returns the first instance that has room, looking from the i-th on, and
// which it is; nil when none has.
func (r *revision) withRoom(i int) (in *instance, at int) {
	for k := range r.ready {
		at = (i + k) % len(r.ready)
		if in = r.ready[at]; in.active < r.cfg.Service.Concurrency {
			return in, at
		}
	}
	return nil, i
}
