package compose

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"software.sslmate.com/src/go-pkcs12"

	"datasurge/events"
	"datasurge/functions/stream/kafkatest"
)

// TestTLS runs Kafka, its users, the creation of topics and two functions with the
// values of docker-compose.yml and tls.yml: what they say is enough to connect, and
// nothing less is.
func TestTLS(t *testing.T) {
	m := newMachine(t, load(t, passwords, base, tls))
	script(t, m, "certificates", nil)
	nodes := m.kafka(t, "INTERNAL")
	cluster := kafkatest.StartNodes(t, nodes, kgo.DialTLSConfig(adminTLS(t, m)))

	// Kafka's tools are scripts beside its jars, which are all that there is here.
	bin := filepath.Join(m.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	tool := fmt.Sprintf("#!/bin/bash\nexec java $KAFKA_HEAP_OPTS -cp '%s/*' kafka.admin.ConfigCommand \"$@\"\n", os.Getenv(kafkatest.EnvLibs))
	if err := os.WriteFile(filepath.Join(bin, "kafka-configs.sh"), []byte(tool), 0o755); err != nil {
		t.Fatal(err)
	}
	script(t, m, "users", map[string]string{"KAFKA_BIN": bin, "KAFKA_SECRETS": m.here("", "/etc/kafka/secrets")})
	if out, err := m.once(t, "topics"); err != nil {
		t.Fatalf("topics: %v\n%s", err, out)
	}
	checkTopics(t, cluster)
	for _, name := range []string{"generate", "enrich"} {
		m.start(t, name, 0).awaitHealthy(t)
	}
	eventually(t, "transactions are enriched", func() error {
		if len(transactions(t, cluster, "enriched_transactions", events.TypeEnriched)) < 100 {
			return fmt.Errorf("there are not 100")
		}
		return nil
	})

	for _, listener := range []string{"CLIENT", "EXTERNAL", "INTERNAL"} {
		refused(t, listener+" in the clear", m.listener(t, "broker-1", listener))
		// The certificate of nobody: INTERNAL knows its clients by theirs.
		anonymous := adminTLS(t, m)
		anonymous.Certificates = nil
		refused(t, listener+" with TLS alone", m.listener(t, "broker-1", listener), kgo.DialTLSConfig(anonymous))
	}
	// It is refused at once, not when the time for everything to come up is over.
	if out, err := m.once(t, "topics", "KAFKA_SASL_PASSWORD=wrong"); err == nil || !strings.Contains(out, `log in as "datasurge"`) || strings.Contains(out, "wrong") {
		t.Errorf("with a wrong password: %v\n%s", err, out)
	}
}

// refused checks that a client cannot list brokers.
func refused(t *testing.T, how, address string, opts ...kgo.Opt) {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(address), kgo.RequestRetries(1))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if brokers, err := kadm.NewClient(client).ListBrokers(ctx); err == nil {
		t.Errorf("%s lists brokers: %v", how, brokers)
	}
}

// script runs the script of a service that is nothing but one.
func script(t *testing.T, m *machine, name string, more map[string]string) {
	t.Helper()
	s := m.project.Services[name]
	if len(s.Entrypoint) < 2 || s.Entrypoint[0] != "/bin/bash" {
		t.Fatalf("%s runs %v, no script", name, s.Entrypoint)
	}
	arguments := []string{filepath.Base(s.Entrypoint[1])}
	for _, a := range s.Entrypoint[2:] {
		arguments = append(arguments, m.here(name, a))
	}
	var env []string
	for name, value := range more {
		env = append(env, name+"="+value)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", arguments...)
	cmd.Env = m.environment(name, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// adminTLS is what connects the admin of Kafka: the certificate of admin.p12.
func adminTLS(t *testing.T, m *machine) *cryptotls.Config {
	t.Helper()
	store, err := os.ReadFile(filepath.Join(m.here("", "/etc/kafka/secrets"), "admin.p12"))
	if err != nil {
		t.Fatal(err)
	}
	key, certificate, authorities, err := pkcs12.DecodeChain(store, passwords["KAFKA_KEYSTORE_PASSWORD"])
	if err != nil {
		t.Fatal(err)
	}
	config := &cryptotls.Config{
		RootCAs:      x509.NewCertPool(),
		Certificates: []cryptotls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}},
	}
	for _, authority := range authorities {
		config.RootCAs.AddCert(authority)
	}
	return config
}
