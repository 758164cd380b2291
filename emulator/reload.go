package main

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"datasurge/emulator/service"
	"datasurge/emulator/watch"
	"datasurge/knative"
)

// manifestGroup is the name of the watched files that are manifests; those of a
// program have the name of its Service, which is not empty.
const manifestGroup = ""

// watchFiles sends the names of the groups of files that have changed, until ctx
// is done.
func (e *emulator) watchFiles(ctx context.Context) <-chan []string {
	changed := make(chan []string)
	w := watch.New(e.watched)
	e.serving.Go(func() {
		for {
			groups, err := w.Next(ctx)
			if err != nil {
				return
			}
			select {
			case changed <- groups:
			case <-ctx.Done():
				return
			}
		}
	})
	return changed
}

// watched are the files to watch, by group.
func (e *emulator) watched() map[string][]string {
	groups := map[string][]string{manifestGroup: e.manifestFiles()}
	for name, command := range e.config.programs {
		groups[name] = files(command)
	}
	return groups
}

// manifestFiles are the files that were given, those in directories that were
// given, and those from which something was read.
func (e *emulator) manifestFiles() []string {
	set, _, _ := e.running()
	found := slices.Clone(set.Files)
	for _, path := range e.config.manifests {
		found = append(found, path)
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			// The pattern is right, and a directory that cannot be read has no files.
			inside, _ := filepath.Glob(filepath.Join(path, pattern))
			found = append(found, inside...)
		}
	}
	return found
}

// reloadWithin bounds a change of what runs.
const reloadWithin = 60 * time.Second

// follow makes what runs be what the files of the given groups say now. Whatever
// is wrong with them is said, and what runs stays.
func (e *emulator) follow(ctx context.Context, groups []string) {
	ctx, cancel := context.WithTimeout(ctx, reloadWithin)
	defer cancel()
	updated := make(map[string]bool)
	if slices.Contains(groups, manifestGroup) && len(e.config.manifests) > 0 {
		set, err := e.config.read()
		if err == nil {
			updated, err = e.reload(ctx, set)
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				e.log.Error("the change is not taken, what runs stays", "reason", strings.TrimSpace(line))
			}
		}
	}
	for _, name := range groups {
		if name == manifestGroup {
			continue
		}
		set, _, _ := e.running()
		for _, s := range set.Services {
			svc := e.routes.service(s.Namespace, s.Name)
			if svc == nil || name != s.Name && name != full(s.Namespace, s.Name) || updated[full(s.Namespace, s.Name)] {
				continue
			}
			e.log.Info("its files have changed, making a new revision", "service", svc.Label())
			svc.Update(e.serviceConfig(s))
		}
	}
}

// reload makes what runs be what next says: all of it, or nothing when a part is
// wrong or cannot be changed. It returns the full names of the Services of which
// there is a new revision.
//
// As kubectl apply with --prune: what is gone from the manifests ends. Topics stay,
// with what is in them.
func (e *emulator) reload(ctx context.Context, next *knative.Set) (map[string]bool, error) {
	present, _, _ := e.running()
	list := changes(present, next)
	if len(list) == 0 {
		e.log.Info("the manifests mean what they meant")
		return nil, nil
	}
	if err := e.checkReload(present, next); err != nil {
		return nil, err
	}
	partitions, err := e.makeTopics(ctx, next)
	if err != nil {
		return nil, err
	}
	e.owners.Add(partitions)
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.String()
	}

	bound := make(map[string]map[string]string)
	for _, svc := range present.Services {
		bound[full(svc.Namespace, svc.Name)] = e.binding(svc)
	}

	// Events flow from sources to services to sinks: what is new is made from the
	// end, what is gone ends from the beginning, so that none meets a hole.
	e.mu.Lock()
	e.set = next
	e.mu.Unlock()
	for _, c := range list {
		if !c.removed() {
			e.startReceiver(c.is.object)
		}
	}
	updated := make(map[string]bool)
	for _, s := range next.Services {
		svc := e.routes.service(s.Namespace, s.Name)
		key := full(s.Namespace, s.Name)
		i := slices.IndexFunc(list, func(c change) bool { return c.is.object == s })
		switch {
		case i >= 0 && svc == nil:
			e.startService(s)
		case svc != nil && (i >= 0 || !maps.Equal(bound[key], e.binding(s))):
			svc.Update(e.serviceConfig(s))
			updated[key] = true
		}
	}
	var errs []error
	for _, c := range list {
		errs = append(errs, e.replaceSource(ctx, c))
	}
	for _, c := range list {
		if !c.removed() {
			continue
		}
		if s, ok := c.was.object.(*knative.Service); ok {
			e.stopService(ctx, s)
		}
		e.stopReceiver(c.was.object)
	}
	e.writeInfo()
	if err := errors.Join(errs...); err != nil {
		return updated, err
	}
	e.log.Info("the change of the manifests is in force", "changes", strings.Join(names, ", "))
	return updated, nil
}

// checkReload refuses what a cluster would not take, and what cannot be run.
func (e *emulator) checkReload(present, next *knative.Set) error {
	if err := next.CheckUpdate(present); err != nil {
		return err
	}
	return errors.Join(e.checkServices(next), checkFilters(next))
}

// replaceSource ends what delivers events for an object, begins it, or both. When
// the new one cannot begin the old one does so again. Objects that deliver nothing
// are passed over.
func (e *emulator) replaceSource(ctx context.Context, c change) error {
	if !c.added() {
		if err := e.stopSource(ctx, c.was, c.removed()); err != nil {
			return err
		}
	}
	if c.removed() {
		return nil
	}
	err := e.startDelivering(ctx, c.is.object)
	if err == nil || c.added() {
		return err
	}
	return errors.Join(err, e.startDelivering(ctx, c.was.object))
}

// stopSource lets what delivers for an object end what is under way and commit its
// position. With one that is removed its consumer group goes, as on a cluster.
func (e *emulator) stopSource(ctx context.Context, of declared, removed bool) error {
	if p, ok := of.object.(*knative.PingSource); ok {
		e.stopPing(p)
		return nil
	}
	e.mu.Lock()
	i := slices.IndexFunc(e.sources, func(d *delivery) bool {
		return d.spec.Kind == of.kind && d.spec.Namespace == of.namespace && d.spec.Name == of.name
	})
	if i < 0 {
		e.mu.Unlock()
		return nil
	}
	d := e.sources[i]
	e.sources = slices.Delete(slices.Clone(e.sources), i, i+1)
	e.mu.Unlock()
	if removed {
		return d.Remove(ctx)
	}
	d.Close(ctx)
	return nil
}

// stopService ends a service that nothing delivers to any more.
func (e *emulator) stopService(ctx context.Context, spec *knative.Service) {
	svc := e.routes.service(spec.Namespace, spec.Name)
	if svc == nil {
		return
	}
	e.routes.setService(spec, nil)
	e.mu.Lock()
	e.services = slices.DeleteFunc(slices.Clone(e.services), func(s *service.Service) bool { return s == svc })
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, spec.Timeout)
	defer cancel()
	svc.Close(ctx)
}

// read reads the manifests that were given, or else those that are built in.
func (c *runConfig) read() (*knative.Set, error) {
	if len(c.manifests) == 0 {
		return knative.Default()
	}
	return knative.ReadPaths(c.manifests...)
}
