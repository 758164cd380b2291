package kafkarecord_test

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
	"datasurge/events/kafkarecord"
)

// A plain record becomes the event that a KafkaSource makes of it.
func ExampleRead() {
	rec := &kgo.Record{
		Topic: "financial_transactions", Partition: 3, Offset: 17, Timestamp: time.UnixMilli(1767323045678),
		Key: []byte("user_48213"), Value: []byte(`{"transactionId": "..."}`),
	}
	var e events.Event
	if err := kafkarecord.Read(rec, &e, kafkarecord.Mapping{Namespace: "default", Name: "enrich"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Type)
	fmt.Println(e.ID)
	fmt.Println(e.Source)
	fmt.Println(e.Key)
	// Output:
	// dev.knative.kafka.event
	// partition:3/offset:17
	// /apis/v1/namespaces/default/kafkasources/enrich#financial_transactions
	// user_48213
}

func ExampleWrite() {
	e := events.Event{
		ID: "3f2b8c1e", Source: "/datasurge/enrich", Type: events.TypeEnriched, Subject: "user_48213", Key: "user_48213",
		Time: time.UnixMilli(1767323045678).UTC(), DataContentType: "application/json", Data: []byte(`{}`),
	}
	var rec kgo.Record
	kafkarecord.Write(&e, &rec)
	fmt.Printf("key %s, value %s\n", rec.Key, rec.Value)
	for _, h := range rec.Headers {
		fmt.Printf("%s: %s\n", h.Key, h.Value)
	}
	// Output:
	// key user_48213, value {}
	// ce_specversion: 1.0
	// ce_id: 3f2b8c1e
	// ce_source: /datasurge/enrich
	// ce_type: com.datasurge.enriched.v1
	// content-type: application/json
	// ce_subject: user_48213
	// ce_time: 2026-01-02T03:04:05.678Z
	// ce_partitionkey: user_48213
}
