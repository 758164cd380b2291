package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"

	"datasurge/emulator/ownership"
	"datasurge/emulator/service"
	"datasurge/emulator/sink"
	"datasurge/knative"
)

// routes serves the address --http-addr:
//
//	/                                what there is
//	/metrics                         the health of Kafka, as Prometheus reads it
//	/{function}[/...]                a ready instance of the function, if its name is in one namespace only
//	/{namespace}/{function}[/...]    the same, always
//	/{namespace}/{sink}              a KafkaSink
//	/_channel/{namespace}/{channel}  a KafkaChannel
//	/_broker/{namespace}/{broker}    a Broker
//	/_assign/{function}/{instance}   which partitions an instance owns
//	/prometheus/targets              what Prometheus is to scrape
//
// A function's name goes before a namespace of the same name, and a KafkaSink
// before a function of the same name in the same namespace.
type routes struct {
	owners  *ownership.Registry
	proxy   *httputil.ReverseProxy
	listing func() string
	targets http.Handler
	assign  *http.ServeMux
	kafka   http.Handler // metrics

	mu       sync.RWMutex
	services map[string]*service.Service // by namespace/name
	// receivers are those of KafkaSinks, KafkaChannels and Brokers, by their path
	// without the first slash.
	receivers map[string]*sink.Handler
}

func newRoutes(set *knative.Set, owners *ownership.Registry, transport http.RoundTripper, log *slog.Logger) *routes {
	r := &routes{
		services:  make(map[string]*service.Service),
		receivers: make(map[string]*sink.Handler),
		owners:    owners,
		assign:    http.NewServeMux(),
	}
	r.assign.Handle("GET /_assign/{function}/{instance}", owners)
	r.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: p.In.Host}) // the service chooses the instance
		},
		Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			return req.Context().Value(serviceKey{}).(*service.Service).RoundTrip(transport, req, req.URL.Path)
		}),
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				return // the client has gone away
			}
			http.Error(w, "the function does not answer: "+err.Error(), http.StatusBadGateway)
		},
	}
	return r
}

// serviceKey is the context key of the service that a request goes to.
type serviceKey struct{}

// roundTripper is a function that sends requests.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// setService makes a service known; nil forgets it.
func (r *routes) setService(of *knative.Service, s *service.Service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := full(of.Namespace, of.Name); s == nil {
		delete(r.services, key)
	} else {
		r.services[key] = s
	}
}

// full is the name by which an object of its kind is known everywhere.
func full(namespace, name string) string { return namespace + "/" + name }

// service returns a service, nil when there is none.
func (r *routes) service(namespace, name string) *service.Service {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.services[full(namespace, name)]
}

// named returns the service of that name in any namespace, nil when there is none
// or more than one: then all of them are in several, by their full names.
func (r *routes) named(name string) (one *service.Service, several []string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for key, s := range r.services {
		if strings.HasSuffix(key, "/"+name) {
			one = s
			several = append(several, key)
		}
	}
	if len(several) > 1 {
		slices.Sort(several)
		return nil, several
	}
	return one, nil
}

// setSink makes a KafkaSink known; nil forgets it.
func (r *routes) setSink(s *knative.KafkaSink, h *sink.Handler) {
	r.setReceiver(full(s.Namespace, s.Name), h)
}

// setReceiver makes what takes events at a path known; nil forgets it.
func (r *routes) setReceiver(path string, h *sink.Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.receivers[path] = h; h == nil {
		delete(r.receivers, path)
	}
}

// receiver returns what takes events at /path, nil when nothing does.
func (r *routes) receiver(path string) *sink.Handler {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.receivers[strings.TrimPrefix(path, "/")]
}

func (r *routes) receiverPaths() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.receivers))
}

// ServeHTTP implements http.Handler.
func (r *routes) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/" {
		io.WriteString(w, r.listing())
		return
	}
	if req.URL.Path == "/metrics" {
		r.kafka.ServeHTTP(w, req)
		return
	}
	if strings.HasPrefix(req.URL.Path, "/_assign/") {
		r.assign.ServeHTTP(w, req)
		return
	}
	if req.URL.Path == targetsPath {
		r.targets.ServeHTTP(w, req)
		return
	}
	path := strings.Trim(req.URL.Path, "/")
	name, rest, _ := strings.Cut(path, "/")
	s, several := r.named(name)
	if s != nil {
		r.forward(w, req, s, "/"+rest)
		return
	}
	second, further, _ := strings.Cut(rest, "/")
	if s := r.service(name, second); s != nil && r.receiver(path) == nil {
		r.forward(w, req, s, "/"+further)
		return
	}
	if several != nil {
		http.Error(w, fmt.Sprintf("there are several functions %s: /%s", name, strings.Join(several, ", /")), http.StatusNotFound)
		return
	}
	if rest == "" && (req.Method == http.MethodPost || req.Method == http.MethodGet && name != "healthz" && name != "readyz") {
		// Somebody who looks around, or an event for a function that is not there.
		http.Error(w, fmt.Sprintf("there is nothing at %s; GET / lists what there is", req.URL.Path), http.StatusNotFound)
		return
	}
	sink.Receiver{Find: r.receiver}.ServeHTTP(w, req)
}

func (r *routes) forward(w http.ResponseWriter, req *http.Request, s *service.Service, path string) {
	out := req.Clone(context.WithValue(req.Context(), serviceKey{}, s))
	out.URL.Path, out.URL.RawPath = path, ""
	r.proxy.ServeHTTP(w, out)
}

// clusterDomain ends the host names by which Services are reached on a cluster:
// name.namespace.svc.cluster.local.
const clusterDomain = ".svc.cluster.local"

// clusterURL is the address of a Service on a cluster.
func clusterURL(namespace, name string) string {
	return "http://" + name + "." + namespace + clusterDomain
}

// mesh returns what sends requests from component to component: those to the
// address of a Service go to one of its instances, all others over base.
func (r *routes) mesh(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if s := r.serviceAt(req.URL); s != nil {
			return s.RoundTrip(base, req, cmp.Or(req.URL.Path, "/"))
		}
		return base.RoundTrip(req)
	})
}

// serviceAt returns the Service that has the address u on a cluster, nil when
// none has.
func (r *routes) serviceAt(u *url.URL) *service.Service {
	host, ok := strings.CutSuffix(u.Hostname(), clusterDomain)
	if !ok {
		return nil
	}
	name, namespace, _ := strings.Cut(host, ".")
	return r.service(namespace, name)
}
