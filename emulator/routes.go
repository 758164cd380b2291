package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"datasurge/emulator/ownership"
	"datasurge/emulator/service"
	"datasurge/emulator/sink"
	"datasurge/knative"
)

// routes serves the address --http-addr:
//
//	/                                what there is
//	/{function}[/...]                a ready instance of the function
//	/{namespace}/{sink}              a KafkaSink
//	/_assign/{function}/{instance}   which partitions an instance owns
//
// A function's name goes before a namespace of the same name.
type routes struct {
	services map[string]*service.Service
	sinks    map[string]*sink.Handler // by namespace/name
	owners   *ownership.Registry
	proxy    *httputil.ReverseProxy
	listing  string
	assign   *http.ServeMux
}

func newRoutes(set *knative.Set, owners *ownership.Registry, transport http.RoundTripper, log *slog.Logger) *routes {
	r := &routes{
		services: make(map[string]*service.Service),
		sinks:    make(map[string]*sink.Handler),
		owners:   owners,
		assign:   http.NewServeMux(),
	}
	r.assign.Handle("GET /_assign/{function}/{instance}", owners)
	r.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(p.In.Context().Value(instanceKey{}).(*url.URL))
		},
		Transport: transport,
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				return // the client has gone away
			}
			http.Error(w, "the function does not answer: "+err.Error(), http.StatusBadGateway)
		},
	}
	return r
}

// instanceKey is the context key of the instance that a request goes to.
type instanceKey struct{}

// ServeHTTP is called when all services and sinks are there.
func (r *routes) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/" {
		io.WriteString(w, r.listing)
		return
	}
	if strings.HasPrefix(req.URL.Path, "/_assign/") {
		r.assign.ServeHTTP(w, req)
		return
	}
	path := strings.Trim(req.URL.Path, "/")
	name, rest, _ := strings.Cut(path, "/")
	if s := r.services[name]; s != nil {
		r.forward(w, req, s, "/"+rest)
		return
	}
	if h := r.sinks[path]; h != nil {
		h.ServeHTTP(w, req)
		return
	}
	http.Error(w, fmt.Sprintf("there is nothing at %s; GET / lists what there is", req.URL.Path), http.StatusNotFound)
}

// maxColdStart bounds how long a request waits for an instance to be ready.
const maxColdStart = 30 * time.Second

func (r *routes) forward(w http.ResponseWriter, req *http.Request, s *service.Service, path string) {
	ctx, cancel := context.WithTimeout(req.Context(), maxColdStart)
	defer cancel()
	instance, err := s.Acquire(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	target, err := url.Parse(instance)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	out := req.Clone(context.WithValue(req.Context(), instanceKey{}, target))
	out.URL.Path, out.URL.RawPath = path, ""
	r.proxy.ServeHTTP(w, out)
}
