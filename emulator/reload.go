package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"datasurge/emulator/service"
	"datasurge/emulator/sink"
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
	var found []string
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
		if name == manifestGroup || updated[name] {
			continue
		}
		if svc := e.routes.service(name); svc != nil {
			set, _, _ := e.running()
			i := slices.IndexFunc(set.Services, func(s *knative.Service) bool { return s.Name == name })
			e.log.Info("its files have changed, making a new revision", "service", name)
			svc.Update(e.serviceConfig(set.Services[i]))
		}
	}
}

// reload makes what runs be what next says: all of it, or nothing when a part is
// wrong or cannot be changed. It returns the names of the Services of which there
// is a new revision.
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
	if err := e.checkReload(present, next, list); err != nil {
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

	// Events flow from sources to services to sinks: what is new is made from the
	// end, what is gone ends from the beginning, so that none meets a hole.
	e.mu.Lock()
	e.set = next
	e.mu.Unlock()
	updated := make(map[string]bool)
	for _, c := range list {
		if s, ok := c.is.object.(*knative.KafkaSink); ok {
			e.routes.setSink(s, sink.New(s, e.sinks, e.log))
		}
	}
	for _, c := range list {
		if s, ok := c.is.object.(*knative.Service); ok {
			if svc := e.routes.service(s.Name); svc != nil {
				svc.Update(e.serviceConfig(s))
				updated[s.Name] = true
			} else {
				e.startService(s)
			}
		}
	}
	var errs []error
	for _, c := range list {
		if c.object().kind == "KafkaSource" {
			errs = append(errs, e.replaceSource(ctx, c))
		}
	}
	for _, c := range list {
		switch was := c.was.object.(type) {
		case *knative.Service:
			if c.removed() {
				e.stopService(ctx, was)
			}
		case *knative.KafkaSink:
			if c.removed() {
				e.routes.setSink(was, nil)
			}
		}
	}
	e.writeInfo()
	if err := errors.Join(errs...); err != nil {
		return updated, err
	}
	e.log.Info("the change of the manifests is in force", "changes", strings.Join(names, ", "))
	return updated, nil
}

// checkReload refuses what a cluster would not take, and what is not followed
// while the emulator runs.
func (e *emulator) checkReload(present, next *knative.Set, list []change) error {
	if err := next.CheckUpdate(present); err != nil {
		return err
	}
	if err := e.checkServices(next); err != nil {
		return err
	}
	var errs []error
	for _, c := range list {
		switch c.object().kind {
		case "Service", "KafkaSource", "KafkaSink", "KafkaTopic":
		default:
			errs = append(errs, fmt.Errorf("%v: this kind is not followed while the emulator runs; stop it and start it again", c))
		}
	}
	return errors.Join(errs...)
}

// replaceSource ends a source, begins one, or both. When the new one cannot begin
// the old one does so again.
func (e *emulator) replaceSource(ctx context.Context, c change) error {
	was, _ := c.was.object.(*knative.KafkaSource)
	is, _ := c.is.object.(*knative.KafkaSource)
	if was != nil {
		e.stopSource(ctx, was, is == nil)
	}
	if is == nil {
		return e.deleteGroup(ctx, was)
	}
	err := e.startSource(ctx, is)
	if err == nil || was == nil {
		return err
	}
	e.mu.Lock()
	e.set.Sources[slices.Index(e.set.Sources, is)] = was
	e.mu.Unlock()
	return errors.Join(err, e.startSource(ctx, was))
}

// deleteGroup deletes the consumer group of a KafkaSource that is gone, as a
// cluster does also with one that the manifest names.
func (e *emulator) deleteGroup(ctx context.Context, spec *knative.KafkaSource) error {
	if spec.ConsumerGroup == "" {
		return nil // it was invented, and nobody knows it
	}
	if _, err := e.admin.DeleteGroup(ctx, spec.ConsumerGroup); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("%s: delete its consumer group %s: %w", spec, spec.ConsumerGroup, err)
	}
	return nil
}

// stopSource lets a source end what is under way and commit its position. With one
// that is removed its consumer group goes.
func (e *emulator) stopSource(ctx context.Context, spec *knative.KafkaSource, removed bool) {
	e.mu.Lock()
	i := slices.IndexFunc(e.sources, func(d *delivery) bool { return d.spec == spec })
	if i < 0 {
		e.mu.Unlock()
		return
	}
	d := e.sources[i]
	e.sources = slices.Delete(slices.Clone(e.sources), i, i+1)
	e.mu.Unlock()
	if !removed {
		d.Close(ctx)
		return
	}
	if err := d.Remove(ctx); err != nil {
		e.log.Warn("the consumer group of a source that is gone is still there", "reason", err)
	}
}

// stopService ends a service that nothing delivers to any more.
func (e *emulator) stopService(ctx context.Context, spec *knative.Service) {
	svc := e.routes.service(spec.Name)
	if svc == nil {
		return
	}
	e.routes.setService(spec.Name, nil)
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
