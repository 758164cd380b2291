package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestConfigSaysWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		want []string // parts of the error; none: no error
	}{
		"defaults":          {nil, nil},
		"transport":         {map[string]string{"TRANSPORT": "smoke"}, []string{`TRANSPORT="smoke"`, "http", "kafka"}},
		"kafka, no brokers": {map[string]string{"TRANSPORT": "kafka"}, []string{"TRANSPORT=kafka needs KAFKA_BROKERS"}},
		"half a pair":       {map[string]string{"KAFKA_TLS_CERT_FILE": "c.pem"}, []string{"KAFKA_TLS_KEY_FILE"}},
		"no password":       {map[string]string{"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "u"}, []string{"KAFKA_SASL_PASSWORD"}},
		"mechanism":         {map[string]string{"KAFKA_SASL_MECHANISM": "GSSAPI"}, []string{"GSSAPI", "SCRAM-SHA-512"}},
		"negative":          {map[string]string{"LATENESS": "-1s"}, []string{"LATENESS", "-1s"}},
		"no duration":       {map[string]string{"COMMIT_INTERVAL": "soon"}, []string{"COMMIT_INTERVAL", "soon"}},
		"port":              {map[string]string{"PORT": "123456"}, []string{"PORT"}},
		"two at once":       {map[string]string{"LOG_LEVEL": "loud", "LOG_FORMAT": "xml"}, []string{"LOG_LEVEL", "LOG_FORMAT"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KAFKA_BROKERS", "") // whatever there is to test with
			for variable, value := range test.env {
				t.Setenv(variable, value)
			}
			_, err := ReadConfig()
			if (err != nil) != (test.want != nil) {
				t.Fatalf("error %v", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
		})
	}
}

func TestPasswordIsNotShown(t *testing.T) {
	const password = "correct horse"
	t.Setenv("KAFKA_SASL_PASSWORD", password)
	config, err := ReadConfig()
	if err != nil {
		t.Fatal(err)
	}
	if string(config.SASL.Password) != password {
		t.Fatal("the password was not read")
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("", slog.Any("config", config), slog.Any("password", config.SASL.Password))
	slog.New(slog.NewJSONHandler(&log, nil)).Info("", slog.Any("config", config))
	encoded, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{log.String(), string(encoded), fmt.Sprint(config), fmt.Sprintf("%+v %#v %q %s", config, config, config.SASL.Password, config.SASL.Password)} {
		if strings.Contains(text, password) {
			t.Errorf("the password is in %s", text)
		}
	}
}
