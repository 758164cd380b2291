package tracing

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// uploader sends spans to a collector by OTLP over HTTP, as protobuf. It implements
// otlptrace.Client.
//
// OpenTelemetry's own, otlptracehttp, takes gRPC into every program that it is in
// (opentelemetry-go issue 2579), and with it the linker's knowledge of which methods
// nobody calls: 8 MB of each of the emulator's processes.
type uploader struct {
	client   http.Client
	endpoint string
	header   http.Header
	gzip     bool
	backoff  time.Duration // before the first repetition
}

// firstBackoff is the pause before the first repetition; each further one is twice
// as long.
const firstBackoff = time.Second

// variable returns what the environment says of an option for traces, or for all
// that is exported.
func variable(option string) string {
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_"+option), os.Getenv("OTEL_EXPORTER_OTLP_"+option))
}

// newUploader reads the environment.
//
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/
func newUploader() (*uploader, error) {
	u := &uploader{header: http.Header{"Content-Type": {"application/x-protobuf"}}, backoff: firstBackoff}
	u.endpoint = os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if u.endpoint == "" {
		u.endpoint = strings.TrimSuffix(cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), "http://localhost:4318"), "/") + "/v1/traces"
	}
	if to, err := url.Parse(u.endpoint); err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %q: want a URL such as http://collector:4318", u.endpoint)
	}
	if protocol := variable("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: %q: only http/protobuf is spoken", protocol)
	}
	switch compression := variable("COMPRESSION"); compression {
	case "", "none":
	case "gzip":
		u.gzip = true
		u.header.Set("Content-Encoding", "gzip")
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_COMPRESSION: %q: want gzip or none", compression)
	}
	for pair := range strings.SplitSeq(variable("HEADERS"), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || err != nil { // which may be a secret
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS: want name=value, separated by commas, with percent-encoded values")
		}
		u.header.Set(strings.TrimSpace(name), value)
	}
	u.client.Timeout = 10 * time.Second
	if text := variable("TIMEOUT"); text != "" {
		ms, err := strconv.Atoi(text)
		if err != nil || ms <= 0 {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT: %q: want milliseconds above 0", text)
		}
		u.client.Timeout = time.Duration(ms) * time.Millisecond
	}
	trust, err := readTLS()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = trust
	u.client.Transport = transport
	return u, nil
}

// readTLS reads whom to trust and who we are; nil when the environment says nothing.
func readTLS() (*tls.Config, error) {
	authority, certificate, key := variable("CERTIFICATE"), variable("CLIENT_CERTIFICATE"), variable("CLIENT_KEY")
	if authority == "" && certificate == "" && key == "" {
		return nil, nil
	}
	c := &tls.Config{}
	if authority != "" {
		text, err := os.ReadFile(authority)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %s has no certificate in PEM", authority)
		}
	}
	if certificate != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _CLIENT_KEY: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Start implements otlptrace.Client.
func (u *uploader) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (u *uploader) Stop(context.Context) error {
	u.client.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. It tries until ctx is done, or the
// collector refuses.
func (u *uploader) UploadTraces(ctx context.Context, list []*spans.ResourceSpans) error {
	// On the wire that is the collector's ExportTraceServiceRequest.
	body, err := proto.Marshal(&spans.TracesData{ResourceSpans: list})
	if err != nil {
		return err
	}
	if u.gzip {
		var small bytes.Buffer
		w := gzip.NewWriter(&small)
		w.Write(body)
		w.Close()
		body = small.Bytes()
	}
	for pause := u.backoff; ; pause *= 2 {
		after, err := u.post(ctx, body)
		if err == nil || after < 0 {
			return err
		}
		wait := time.NewTimer(max(after, pause/2+rand.N(pause/2)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
}

// post sends body once. After an error, after is how long to wait at least before it
// is sent again; below 0, never.
func (u *uploader) post(ctx context.Context, body []byte) (after time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.endpoint, bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	request.Header = u.header
	response, err := u.client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("export of spans: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		after = time.Duration(max(0, seconds)) * time.Second
	default:
		if after = -1; response.StatusCode/100 == 2 {
			return 0, err
		}
	}
	return after, fmt.Errorf("export of spans: %s answered %s: %q", request.URL.Redacted(), response.Status, text)
}
