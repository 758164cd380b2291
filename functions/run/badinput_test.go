package run

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/functions/metrics"
	"datasurge/functions/serve"
	"datasurge/functions/stream/kafkatest"
)

// badInput is what enrich must refuse, as the value of a plain record.
func badInput(now time.Time) map[string]string {
	good := goodInput("bad", now)
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			panic(old)
		}
		return strings.Replace(good, old, new, 1)
	}
	return map[string]string{
		"not JSON":            "transaction",
		"empty":               "",
		"cut short":           good[:len(good)-1],
		"an array":            "[" + good + "]",
		"missing field":       change(`"userId":"user_1",`, ""),
		"wrong type":          change(`"userId":"user_1"`, `"userId":1`),
		"negative amount":     change("1234.56", "-1234.56"),
		"zero amount":         change("1234.56", "0"),
		"absurd amount":       change("1234.56", "12345678901234567890"),
		"too many decimals":   change("1234.56", "1234.567"),
		"NaN":                 change("1234.56", "NaN"),
		"unknown currency":    change("USD", "XXQ"),
		"dead currency":       change("USD", "HRK"),
		"invalid UTF-8":       change("user_1", "user_\xff"),
		"deep nesting":        change(`{"trans`, `{"x":`+strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)+`,"trans`),
		"ancient":             change(fmt.Sprint(now.UnixMilli()), "1000"),
		"seconds, not ms":     change(fmt.Sprint(now.UnixMilli()), fmt.Sprint(now.Unix())),
		"a card number":       change("user_1", "4111 1111 1111 1111"),
		"unknown type":        change("purchase", "gift"),
		"unknown payment":     change("paypal", "gold"),
		"the same name twice": change(`"userId":"user_1"`, `"userId":"user_1","userId":"user_2"`),
	}
}

func goodInput(id string, at time.Time) string {
	return fmt.Sprintf(`{"transactionId":"%s","userId":"user_1","amount":1234.56,"transactionTime":%d,"merchantId":"m","transactionType":"purchase","location":"US","paymentMethod":"paypal","international":true,"currency":"USD"}`, id, at.UnixMilli())
}

func TestBadInputOverHTTP(t *testing.T) {
	t.Setenv("KAFKA_BROKERS", "") // without Kafka, whatever there is to test with
	config, err := ReadConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.Function = "enrich"
	log := slog.New(slog.DiscardHandler)
	observer := metrics.New("enrich", "test", log)
	definition, err := Definition(&config, observer)
	if err != nil {
		t.Fatal(err)
	}
	function, err := open(t.Context(), &config, definition, observer, log)
	if err != nil {
		t.Fatal(err)
	}
	handler := serve.NewHandler(function, function.ready, observer.Handler(), log)
	post := func(id, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		for name, value := range map[string]string{"specversion": "1.0", "id": id, "source": "/test", "type": events.TypeTransaction} {
			r.Header.Set("ce-"+name, value)
		}
		r.Header.Set("content-type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	for name, body := range badInput(time.Now()) {
		w := post(name, body)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400: %s", name, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "4111") {
			t.Errorf("%s: the answer shows the card number: %s", name, w.Body)
		}
		if w := post("after "+name, goodInput("after "+name, time.Now())); w.Code != http.StatusOK {
			t.Errorf("a good transaction after %s: status %d: %s", name, w.Code, w.Body)
		}
	}
}

// Ten thousand bad records between good ones: each is in dead_letters with its
// reason, place and bytes, and every good one arrives. What is ahead of the clock
// is in late_events.
func TestBadInputFromKafka(t *testing.T) {
	kafkatest.FakeTime(t, func(t *testing.T, b kafkatest.Backend) {
		p := newPipeline(t, b, nil)
		now := time.Now()
		var records []*kgo.Record
		add := func(value string) {
			records = append(records, &kgo.Record{Key: []byte("user_1"), Value: []byte(value)})
		}
		const bad, future = 10_000, 10
		good := 0
		kinds := badInput(now)
		want := map[string]int{}
		for n := 0; n < bad; {
			for _, value := range kinds {
				if n%100 == 0 {
					good++
					add(goodInput(fmt.Sprintf("good %d", n), now))
				}
				if n++; n > bad {
					break
				}
				add(value)
				want[value]++
			}
		}
		for i := range future {
			add(goodInput(fmt.Sprintf("future %d", i), now.Add(time.Hour)))
		}
		p.Produce(t, events.TopicTransactions, records...)
		p.start("enrich")
		p.AwaitCommitted(t, events.TopicEnriched, good)
		p.stop()
		if n := len(p.read(events.TopicEnriched)); n != good {
			t.Errorf("%d good transactions arrived, want %d", n, good)
		}
		if n := len(p.read(events.TopicLate)); n != future {
			t.Errorf("%d events from the future in late_events, want %d", n, future)
		}
		got := map[string]int{}
		for _, e := range p.read(events.TopicDeadLetters) {
			var letter events.DeadLetter
			if err := events.ParseDeadLetter(e.Data, &letter); err != nil {
				t.Fatal(err)
			}
			if letter.Reason == "" || letter.Topic != events.TopicTransactions || string(letter.Key) != "user_1" {
				t.Fatalf("dead letter %+v", letter)
			}
			got[string(letter.Value)]++
		}
		for name, value := range kinds {
			if got[value] != want[value] {
				t.Errorf("%s: %d dead letters, want %d", name, got[value], want[value])
			}
		}
	})
}
