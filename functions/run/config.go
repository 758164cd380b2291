// Package run wires a function to its transport, from the environment. It is
// shared by the functions' own executable and by the emulator, which executes
// itself for each function.
package run

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// Config is everything that can be set, all by environment variables. The tag
// desc is the text of the README's table, which a test holds against this type.
type Config struct {
	Function string `envconfig:"FUNCTION" desc:"the function to run, when it is not named as an argument: generate, enrich, detect, aggregate or learn"`

	Port       int    `envconfig:"PORT" default:"8080" desc:"port of the HTTP server; Knative sets it"`
	Host       string `envconfig:"HOST" desc:"address that the HTTP server listens on; empty is every address"`
	PodIP      string `envconfig:"POD_IP" desc:"address at which other instances reach this one to forward events; empty: that of its first network interface"`
	InstanceID string `envconfig:"INSTANCE_ID" desc:"makes the instance a static member of its consumer group: the same partitions after a restart"`
	AssignURL  string `envconfig:"ASSIGN_URL" desc:"where to ask which partitions are this instance's, instead of joining a consumer group; the emulator sets it"`

	Transport string        `envconfig:"TRANSPORT" default:"http" desc:"how events come: http (from a KafkaSource) or kafka (the function consumes by itself)"`
	Brokers   []string      `envconfig:"KAFKA_BROKERS" desc:"seed brokers, host:port separated by commas; empty: no Kafka, the answer to a request is what the function emits"`
	TLS       TLSConfig     `envconfig:"KAFKA_TLS"`
	SASL      SASLConfig    `envconfig:"KAFKA_SASL"`
	Expected  int           `envconfig:"KAFKA_BROKERS_EXPECTED" default:"0" desc:"topics and kafka-health: how many brokers there should be; 0: as many as are registered"`
	Compress  string        `envconfig:"KAFKA_COMPRESSION" default:"none" desc:"compression of produced records: none, snappy, lz4 or zstd"`
	Commit    time.Duration `envconfig:"COMMIT_INTERVAL" default:"100ms" desc:"longest time that processed events wait for their commit under transport kafka"`
	Waiting   int           `envconfig:"MAX_WAITING" default:"1000" desc:"events that may wait at one partition under transport http; beyond, the answer is 503"`
	Truncated string        `envconfig:"INPUT_TRUNCATED" default:"fail" desc:"what to do when input was deleted before it was processed: fail, or resume without it"`

	OutOfOrderness time.Duration `envconfig:"OUT_OF_ORDERNESS" default:"2s" desc:"how far behind the latest event time an event of the first hop may be without being late"`
	MaxAhead       time.Duration `envconfig:"MAX_AHEAD" default:"1m" desc:"how far ahead of the clock an event may be; beyond, it goes to late_events. 0: any, for replays"`
	IdleAfter      time.Duration `envconfig:"IDLE_AFTER" default:"5s" desc:"how long a partition without events holds back the windows of the others"`

	BaseCurrency  string        `envconfig:"BASE_CURRENCY" default:"USD" desc:"enrich: currency of baseAmount"`
	DedupeHorizon time.Duration `envconfig:"DEDUPE_HORIZON" default:"10m" desc:"enrich: how long, in event time, a transactionId is remembered"`

	FlagScore    float64 `envconfig:"FLAG_SCORE" default:"0.9" desc:"detect: the model's score from which a transaction is flagged although no rule fired; above 1: never"`
	ReviewScore  float64 `envconfig:"REVIEW_SCORE" default:"0.5" desc:"detect: score from which the decision is review; a flagged transaction is reviewed at least"`
	DeclineScore float64 `envconfig:"DECLINE_SCORE" default:"0.95" desc:"detect: score from which the decision is decline"`

	Windows    string        `envconfig:"WINDOWS" default:"1m,5m/1m,1h" desc:"aggregate: windows as size or size/slide"`
	Lateness   time.Duration `envconfig:"LATENESS" default:"10s" desc:"aggregate: how long after its end a window takes late events"`
	LabelDelay time.Duration `envconfig:"LABEL_DELAY" default:"168h" desc:"generate and aggregate: how long after its transaction a label comes"`

	Profile   string `envconfig:"PROFILE" default:"live" desc:"generate: live (event time is now), or handbook (the data set of the Fraud Detection Handbook, in 2018)"`
	Speed     Speed  `envconfig:"SPEED" default:"1" desc:"generate: seconds of event time in a second under the profile handbook, or max"`
	Rate      int    `envconfig:"RATE" default:"1000" desc:"generate: transactions per second"`
	Seed      uint64 `envconfig:"SEED" default:"1" desc:"generate: seed of the random numbers"`
	Customers int    `envconfig:"CUSTOMERS" default:"0" desc:"generate: number of customers; 0: 80 for each transaction a second"`
	Merchants int    `envconfig:"MERCHANTS" default:"500" desc:"generate: number of merchants"`

	LogLevel  string `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error"`
	LogFormat string `envconfig:"LOG_FORMAT" default:"text" desc:"text or json"`
}

// TLSConfig connects to Kafka over TLS.
type TLSConfig struct {
	Enabled    bool   `envconfig:"ENABLED" default:"false" desc:"connect to Kafka over TLS"`
	CAFile     string `envconfig:"CA_FILE" desc:"PEM file with the certificates to trust; empty: the system's"`
	CertFile   string `envconfig:"CERT_FILE" desc:"PEM file with the client certificate"`
	KeyFile    string `envconfig:"KEY_FILE" desc:"PEM file with the client certificate's key"`
	ServerName string `envconfig:"SERVER_NAME" desc:"name to expect in the brokers' certificates; empty: their host names"`
}

// SASLConfig authenticates to Kafka.
type SASLConfig struct {
	Mechanism string `envconfig:"MECHANISM" desc:"PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: none"`
	Username  string `envconfig:"USERNAME" desc:"user name for SASL"`
	Password  Secret `envconfig:"PASSWORD" desc:"password for SASL; never logged"`
}

// Speed is how many seconds of event time pass in a second; 0, written max, is as
// fast as it goes.
type Speed float64

// UnmarshalText reads a number above 0, or max.
func (s *Speed) UnmarshalText(text []byte) error {
	if string(text) == "max" {
		*s = 0
		return nil
	}
	x, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(x > 0 && x <= 1e9) {
		return fmt.Errorf("%q is no speed: want a number above 0, or max", text)
	}
	*s = Speed(x)
	return nil
}

// Secret is a string that no formatting shows.
type Secret string

// String returns stars.
func (Secret) String() string { return "***" }

// GoString returns stars.
func (Secret) GoString() string { return "***" }

// MarshalText returns stars, for encoders and loggers.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Functions that a process can run.
var names = [...]string{"generate", "enrich", "detect", "aggregate", "learn"}

// DefaultOf returns the default of an environment variable of [Config], "" when
// it has none.
func DefaultOf(variable string) string {
	t := reflect.TypeFor[Config]()
	for field := range t.Fields() {
		if tag := field.Tag; tag.Get("envconfig") == variable {
			return tag.Get("default")
		}
	}
	return ""
}

// ReadConfig reads the environment. All that is wrong is reported at once.
func ReadConfig() (Config, error) {
	var c Config
	if err := envconfig.Process("", &c); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	return c, c.check()
}

func (c *Config) check() error {
	var problems []error
	wrong := func(name, value, want string) {
		problems = append(problems, fmt.Errorf("%s=%q is not %s", name, value, want))
	}
	oneOf := func(name, value string, allowed ...string) {
		if slices.Contains(allowed, value) {
			return
		}
		wrong(name, value, fmt.Sprintf("one of %q", allowed))
	}
	oneOf("TRANSPORT", c.Transport, "http", "kafka")
	oneOf("INPUT_TRUNCATED", c.Truncated, "fail", "resume")
	oneOf("KAFKA_COMPRESSION", c.Compress, "none", "snappy", "lz4", "zstd")
	oneOf("KAFKA_SASL_MECHANISM", c.SASL.Mechanism, "", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
	oneOf("LOG_LEVEL", c.LogLevel, "debug", "info", "warn", "error")
	oneOf("LOG_FORMAT", c.LogFormat, "text", "json")
	if c.Transport == "kafka" && len(c.Brokers) == 0 {
		problems = append(problems, errors.New("TRANSPORT=kafka needs KAFKA_BROKERS"))
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		problems = append(problems, errors.New("KAFKA_TLS_CERT_FILE and KAFKA_TLS_KEY_FILE go together"))
	}
	if c.SASL.Mechanism != "" && (c.SASL.Username == "" || c.SASL.Password == "") {
		problems = append(problems, errors.New("KAFKA_SASL_MECHANISM needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"COMMIT_INTERVAL", c.Commit},
		{"OUT_OF_ORDERNESS", c.OutOfOrderness},
		{"MAX_AHEAD", c.MaxAhead},
		{"IDLE_AFTER", c.IdleAfter},
		{"DEDUPE_HORIZON", c.DedupeHorizon},
		{"LATENESS", c.Lateness},
		{"LABEL_DELAY", c.LabelDelay},
	} {
		if d.value < 0 {
			wrong(d.name, d.value.String(), "zero or more")
		}
	}
	if c.Port < 0 || c.Port > 65535 {
		wrong("PORT", fmt.Sprint(c.Port), "a port")
	}
	if c.Expected < 0 {
		wrong("KAFKA_BROKERS_EXPECTED", fmt.Sprint(c.Expected), "zero or more")
	}
	if c.Waiting < 1 {
		wrong("MAX_WAITING", fmt.Sprint(c.Waiting), "at least 1")
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}
