package kafkatest

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// EnvLibs is the environment variable with the folder of Apache Kafka's jar
// files. [SingleNode] and [Start3x3] need it.
const EnvLibs = "KAFKA_LIBS"

// startWithin is how long a node may take to answer: eight times what three
// controllers and three brokers need on two cores when nothing else runs.
const startWithin = 4 * time.Minute

var (
	//go:embed server.properties
	commonProperties string
	//go:embed log4j2.properties
	logProperties []byte
)

// Cluster is Apache Kafka in processes of this test's own. Nodes keep their
// address and their data when they are killed and started again. All end with the
// test. If that failed, the last lines of each log are printed; the whole logs
// and the configuration are among the test's artifacts (go test -artifacts).
//
// Its methods fail the test when they cannot do what they say. They must not be
// called at the same time for the same node.
type Cluster struct {
	Backend
	nodes   map[int32]*node // all
	brokers map[int32]*node
}

// SingleNode starts one process that is broker and controller, with the id 1.
func SingleNode(t testing.TB) *Cluster {
	t.Helper()
	ports := FreePorts(t, 2)
	return start(t, `
		default.replication.factor=1
	`, nodeSpec{id: 1, broker: ports[0], controller: ports[1]})
}

// Start3x3 starts brokers with the ids 1, 2 and 3, and three controllers, each a
// process of its own. Topics have three replicas, of which two must be in sync
// for a write with acks=all, so that any one broker may be killed.
func Start3x3(t testing.TB) *Cluster {
	t.Helper()
	ports := FreePorts(t, 6)
	return start(t, `
		default.replication.factor=3
		min.insync.replicas=2
		offsets.topic.replication.factor=3
		transaction.state.log.replication.factor=3
		transaction.state.log.min.isr=2
		share.coordinator.state.topic.replication.factor=3
		share.coordinator.state.topic.min.isr=2
		broker.session.timeout.ms=6000
		replica.lag.time.max.ms=6000
	`,
		nodeSpec{id: 101, controller: ports[3]},
		nodeSpec{id: 102, controller: ports[4]},
		nodeSpec{id: 103, controller: ports[5]},
		nodeSpec{id: 1, broker: ports[0]},
		nodeSpec{id: 2, broker: ports[1]},
		nodeSpec{id: 3, broker: ports[2]},
	)
}

// nodeSpec says what a node is: a broker, a controller or both, each at a
// loopback port; 0 for what it is not.
type nodeSpec struct {
	id                 int32
	broker, controller int
}

// Node is a process of a cluster that a test configures by itself.
type Node struct {
	ID int32
	// Addr is where clients reach it, host:port, if it is a broker; "" for a
	// controller.
	Addr string
	// Config is the path of its properties file. The storage that it names must
	// have been formatted.
	Config string
	// JVM are options for its virtual machine, such as -Xmx512m.
	JVM []string
}

// StartNodes starts a cluster as it is configured and waits until all brokers
// answer. Its Backend connects with opts, to which the addresses are added.
func StartNodes(t testing.TB, nodes []Node, opts ...kgo.Opt) *Cluster {
	t.Helper()
	libs, logConfig := needLibs(t)
	c := &Cluster{Backend: Backend{Real: true, opts: opts}, nodes: map[int32]*node{}, brokers: map[int32]*node{}}
	var all []*node
	for _, n := range nodes {
		all = append(all, c.add(&node{
			id:      n.ID,
			addr:    n.Addr,
			java:    javaCommand(libs, logConfig, n.JVM...),
			config:  n.Config,
			logPath: filepath.Join(filepath.Dir(logConfig), fmt.Sprintf("node-%d.log", n.ID)),
		}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	c.startAll(t, ctx, all)
	return c
}

// needLibs returns the folder of Kafka's jar files, without which the test is
// left out, and the path of the configuration of Kafka's log.
func needLibs(t testing.TB) (libs, logConfig string) {
	t.Helper()
	libs = os.Getenv(EnvLibs)
	if libs == "" {
		t.Skip("kafkatest: LEFT OUT: this test kills Apache Kafka and starts it again, and needs its jar files: " +
			`run .ci/run, or eval "$(.ci/kafka.sh fetch)" before go test`)
	}
	logConfig = filepath.Join(t.ArtifactDir(), "log4j2.properties")
	if err := os.WriteFile(logConfig, logProperties, 0o644); err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	return libs, logConfig
}

// start formats and starts nodes of our own configuration.
func start(t testing.TB, properties string, specs ...nodeSpec) *Cluster {
	t.Helper()
	libs, logConfig := needLibs(t)
	dir := filepath.Dir(logConfig)
	var voters []string
	for _, s := range specs {
		if s.controller != 0 {
			voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", s.id, s.controller))
		}
	}
	c := &Cluster{Backend: Backend{Real: true}, nodes: map[int32]*node{}, brokers: map[int32]*node{}}
	data := t.TempDir()
	var nodes []*node
	for _, s := range specs {
		n := &node{
			id:      s.id,
			java:    javaCommand(libs, logConfig),
			config:  filepath.Join(dir, fmt.Sprintf("node-%d.properties", s.id)),
			logPath: filepath.Join(dir, fmt.Sprintf("node-%d.log", s.id)),
		}
		if s.broker != 0 {
			n.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.broker))
		}
		if err := os.WriteFile(n.config, []byte(s.properties(voters, data, properties)), 0o644); err != nil {
			t.Fatalf("kafkatest: %v", err)
		}
		nodes = append(nodes, c.add(n))
	}
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	var id [16]byte
	_, _ = rand.Read(id[:])
	if err := formatAll(ctx, nodes, base64.RawURLEncoding.EncodeToString(id[:])); err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	c.startAll(t, ctx, nodes)
	return c
}

// add makes n one of the cluster's nodes.
func (c *Cluster) add(n *node) *node {
	c.nodes[n.id] = n
	if n.addr != "" {
		c.brokers[n.id] = n
		c.Addrs = append(c.Addrs, n.addr)
	}
	return n
}

// startAll starts the nodes, which end with the test, and waits until all brokers
// answer as one cluster.
func (c *Cluster) startAll(t testing.TB, ctx context.Context, nodes []*node) {
	t.Helper()
	t.Cleanup(func() {
		for _, n := range nodes {
			n.kill()
		}
		if t.Failed() {
			for _, n := range nodes {
				t.Logf("the end of node %d's log, %s:\n%s", n.id, n.logPath, n.logTail())
			}
		}
	})
	for _, n := range nodes {
		if err := n.start(); err != nil {
			t.Fatalf("kafkatest: %v", err)
		}
	}
	c.awaitBrokers(t, ctx, nodes)
}

// properties is the configuration of the node: what all tests have in common,
// what this cluster adds, and what the node is.
func (s nodeSpec) properties(voters []string, data, cluster string) string {
	var roles, listeners []string
	own := ""
	if s.broker != 0 {
		roles = append(roles, "broker")
		listeners = append(listeners, fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", s.broker))
		own = "advertised.listeners=" + listeners[0] + "\n"
	}
	if s.controller != 0 {
		roles = append(roles, "controller")
		listeners = append(listeners, fmt.Sprintf("CONTROLLER://127.0.0.1:%d", s.controller))
	}
	return commonProperties + cluster + "\n" + own +
		"process.roles=" + strings.Join(roles, ",") + "\n" +
		"node.id=" + strconv.Itoa(int(s.id)) + "\n" +
		"listeners=" + strings.Join(listeners, ",") + "\n" +
		"controller.quorum.voters=" + strings.Join(voters, ",") + "\n" +
		"log.dirs=" + filepath.Join(data, strconv.Itoa(int(s.id))) + "\n"
}

// IDs returns the ids of the brokers, smallest first.
func (c *Cluster) IDs() []int32 { return slices.Sorted(maps.Keys(c.brokers)) }

// PID returns the id of the process of a node, broker or controller, that runs.
func (c *Cluster) PID(t testing.TB, id int32) int {
	t.Helper()
	n := c.nodes[id]
	if n == nil || !n.running() {
		t.Fatalf("kafkatest: node %d is not running", id)
	}
	return n.cmd.Process.Pid
}

// Kill ends a broker as kill -9 does, and returns when it is gone.
func (c *Cluster) Kill(t testing.TB, broker int32) {
	t.Helper()
	n := c.broker(t, broker)
	if !n.running() {
		t.Fatalf("kafkatest: kill broker %d: it is not running", broker)
	}
	n.kill()
}

// Stop ends a broker as an operator would, and returns when it is gone.
func (c *Cluster) Stop(t testing.TB, broker int32) {
	t.Helper()
	if err := c.broker(t, broker).stop(); err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
}

// Start starts a broker that was killed or stopped, with the data and at the
// address that it had. It returns when the broker answers and the cluster counts
// it in; its replicas may still have to catch up.
func (c *Cluster) Start(t testing.TB, broker int32) {
	t.Helper()
	n := c.broker(t, broker)
	if err := n.start(); err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	c.awaitBrokers(t, ctx, []*node{n})
}

// Leader returns the broker that leads a partition. It waits while there is none.
func (c *Cluster) Leader(t testing.TB, topic string, partition int32) int32 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	adm, done := c.admin(t)
	defer done()
	for {
		topics, err := adm.ListTopics(ctx, topic)
		if err = errors.Join(err, topics.Error()); err == nil {
			p := topics[topic].Partitions[partition]
			if err = p.Err; err == nil && p.Leader >= 0 {
				return p.Leader
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("kafkatest: find the leader of %s, partition %d: %v", topic, partition, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *Cluster) broker(t testing.TB, id int32) *node {
	t.Helper()
	n := c.brokers[id]
	if n == nil {
		t.Fatalf("kafkatest: there is no broker %d, only %v", id, c.IDs())
	}
	return n
}

// awaitBrokers waits until each of nodes that is a broker, asked by itself,
// names all running brokers of the cluster.
func (c *Cluster) awaitBrokers(t testing.TB, ctx context.Context, nodes []*node) {
	t.Helper()
	var want []int32
	for _, id := range c.IDs() {
		if c.brokers[id].running() {
			want = append(want, id)
		}
	}
	for _, n := range nodes {
		for n.addr != "" {
			got, err := c.askForBrokers(ctx, n.addr)
			if err == nil && slices.Equal(got, want) {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("kafkatest: node %d sees brokers %v, not %v, after %v: %v", n.id, got, want, startWithin, err)
			case <-n.exited:
				t.Fatalf("kafkatest: node %d has ended (%v) before it answered; %s says:\n%s", n.id, n.exit, n.logPath, n.logTail())
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// askForBrokers returns the ids of the brokers that the one at addr knows.
func (c *Cluster) askForBrokers(ctx context.Context, addr string) ([]int32, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(c.Opts(kgo.SeedBrokers(addr))...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	metadata, err := kadm.NewClient(cl).BrokerMetadata(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(slices.Values(metadata.Brokers.NodeIDs())), nil
}
