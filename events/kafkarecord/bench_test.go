package kafkarecord

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"datasurge/events"
)

func benchmarkEvent() events.Event {
	t := events.Transaction{
		TransactionID: "3f2b8c1e-9a4d-4c67-8f21-0b5e7d9c1a34", UserID: "user_48213",
		Amount: 9973125, Currency: "USD", Time: 1767323045678, MerchantID: "merchant_12",
		Type: "purchase", Location: "location_17", PaymentMethod: "credit_card",
	}
	e := events.NewTransaction(&t)
	e.Extensions = []events.Extension{{Name: events.ExtTask, Value: "generate/3"}, {Name: events.ExtWatermark, Value: "1767323045000"}}
	return e
}

func BenchmarkRead(b *testing.B) {
	e := benchmarkEvent()
	var binary, structured kgo.Record
	Write(&e, &binary)
	WriteStructured(&e, &structured)
	plain := kgo.Record{
		Topic: events.TopicTransactions, Partition: 3, Offset: 123_456, Timestamp: time.UnixMilli(1767323045678),
		Key: []byte("user_48213"), Value: e.Data,
	}
	for name, rec := range map[string]*kgo.Record{"binary": &binary, "plain": &plain, "structured": &structured} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var e events.Event
			for b.Loop() {
				if err := Read(rec, &e, Mapping{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	e := benchmarkEvent()
	for name, write := range map[string]func(*events.Event, *kgo.Record){"binary": Write, "structured": WriteStructured} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var rec kgo.Record
			for b.Loop() {
				write(&e, &rec)
			}
		})
	}
	b.Run("binary into a new record", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var rec kgo.Record
			Write(&e, &rec)
		}
	})
}
