package main

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"datasurge/events"
)

// pythonEnv names the Python to use; default is python3.
const pythonEnv = "PYTHON"

// TestPython: the example in Python, with the SDK of CloudEvents, beside the
// pipeline. An anomaly becomes a case.
func TestPython(t *testing.T) {
	t.Parallel()
	python := cmp.Or(os.Getenv(pythonEnv), "python3")
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import cloudevents.core.bindings.http").CombinedOutput(); err != nil {
		t.Skipf("LEFT OUT: %s has not what knative/examples/python/requirements.txt names; %s names another: %v %s", python, pythonEnv, err, out)
	}
	r := launchWith(t, 4, t.TempDir(), "-f", "../knative", "-f", "../knative/examples/python", "--profile", "none",
		"--exec", "cases="+python+" ../knative/examples/python/app.py")
	defer func() {
		r.close()
		if r.has("service=cases", "killed") {
			t.Error("it did not end by itself")
		}
	}()
	event := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/test", "Ce-Type": events.TypeTransaction, "Content-Type": "application/json"}
	r.post("enrich", event, fmt.Sprintf(`{"transactionId":"large","userId":"user-1","amount":150000,"transactionTime":%d,"merchantId":"m",`+
		`"transactionType":"purchase","location":"Berlin, DE","paymentMethod":"credit_card","international":false,"currency":"EUR"}`, time.Now().UnixMilli()), http.StatusAccepted)
	r.said("cases", "case large/anomaly/case of user-1")
	r.await("the case in its topic", func() bool { return ids(t, r.info.Kafka, "cases")["large/anomaly/case"] == 1 })

	// What is wrong for ever is refused, and the function goes on.
	event["Ce-Type"] = events.TypeAnomaly
	r.post("cases", event, `{"no": "anomaly"}`, http.StatusBadRequest)
}
