package learn

import (
	"encoding/json"
	"fmt"
	"time"

	"datasurge/events"
	"datasurge/functions/outcome"
	"datasurge/functions/step"
)

// trainerKey is the key of all examples: one task trains.
const trainerKey = "model"

// source is the CloudEvents source of what learn emits.
const source = "/datasurge/" + Name

// outcomeEvent is the data of events.TypeOutcome. Both are between tasks of learn.
type outcomeEvent struct {
	MerchantID string `json:"merchantId"`
	Time       int64  `json:"time"`
	Known      int64  `json:"known"`
	Kind       int    `json:"kind"`
}

// exampleEvent is the data of events.TypeExample.
type exampleEvent struct {
	TransactionID string    `json:"transactionId"`
	Known         int64     `json:"known"`
	Fraud         bool      `json:"fraud"`
	Weight        int       `json:"weight"`
	Values        []float32 `json:"values"`
}

func parseOutcome(data []byte) (*outcomeEvent, error) {
	var o outcomeEvent
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, &events.InvalidError{Path: "$", Reason: "is no outcome: " + err.Error()}
	}
	if o.MerchantID == "" || o.Known < o.Time || o.Kind < int(outcome.Genuine) || o.Kind > int(outcome.UnusualFraud) {
		return nil, &events.InvalidError{Path: "$", Reason: "is no outcome of a transaction"}
	}
	return &o, nil
}

func parseExample(data []byte, features int) (*example, error) {
	var e exampleEvent
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, &events.InvalidError{Path: "$", Reason: "is no example: " + err.Error()}
	}
	if e.TransactionID == "" || e.Weight < 1 || len(e.Values) != features {
		return nil, &events.InvalidError{Path: "$.values", Reason: fmt.Sprintf("has %d values, models are learnt from %d", len(e.Values), features)}
	}
	return &example{id: e.TransactionID, known: e.Known, fraud: e.Fraud, weight: float32(e.Weight), values: e.Values}, nil
}

// emit emits an event between tasks.
func emit(tx step.Tx, eventType, id, key string, at int64, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		panic(fmt.Sprintf("learn: %v", err)) // of numbers that are none, which no event holds
	}
	emitData(tx, events.TopicLearning, eventType, id, key, at, text)
}

func emitData(tx step.Tx, topic, eventType, id, key string, at int64, data []byte) {
	tx.Emit(topic, &events.Event{
		ID: id, Source: source, Type: eventType, Subject: key, Key: key, Time: time.UnixMilli(at).UTC(),
		DataContentType: "application/json", Data: data,
	})
}
