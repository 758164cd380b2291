"""Plays the original system's producer, and checks what became of its records.

    original_producer.py produce --brokers HOST:PORT [--n N] [--seed S] > expected.json
    original_producer.py check --brokers HOST:PORT --expected expected.json [--within SECONDS]

produce writes N transactions to financial_transactions as the original producer
did: plain JSON with no CloudEvents headers, keyed by user, compressed with snappy
by librdkafka and partitioned by its default. When all are acknowledged it prints
the ids of those over 100000, a JSON array.

check reads transaction_anomalies as a consumer with read_committed and requires
each expected id exactly once with the reason large-transaction, and that reason
on no other transaction.

Needs confluent-kafka, which carries librdkafka.
"""

import argparse
import collections
import json
import random
import sys
import time
import uuid

import confluent_kafka

INPUT = "financial_transactions"
OUTPUT = "transaction_anomalies"
LIMIT_CENTS = 100_000_00
RULE = "large-transaction"


def transaction(rng, i):
    """Returns the i-th transaction and its amount in cents."""
    cents = rng.randint(50_000_00, 150_000_00)
    if i < 3:  # the limit itself and its neighbours
        cents = LIMIT_CENTS - 1 + i
    international = rng.choice([True, False])
    if i % 10 == 0:  # some of the original producers wrote Python's text
        international = str(international)
    return {
        "transactionId": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "userId": f"user_{rng.randint(1, 100)}",
        "amount": cents / 100,  # json writes the shortest text, at most two decimals here
        "transactionTime": int(time.time() * 1000),
        "merchantId": f"merchant_{rng.randint(1, 20)}",
        "transactionType": rng.choice(["purchase", "refund"]),
        "location": f"location_{rng.randint(1, 50)}",
        "paymentMethod": rng.choice(["credit_card", "debit_card", "paypal"]),
        "international": international,
        "currency": rng.choice(["USD", "EUR", "GBP"]),
    }, cents


def produce(args):
    failed = []

    def delivered(err, _):
        if err is not None:
            failed.append(str(err))

    producer = confluent_kafka.Producer({
        "bootstrap.servers": args.brokers,
        "compression.type": "snappy",
        "linger.ms": 5,
        "message.timeout.ms": 60_000,
    })
    rng = random.Random(args.seed)
    expected = []
    for i in range(args.n):
        record, cents = transaction(rng, i)
        if cents > LIMIT_CENTS:
            expected.append(record["transactionId"])
        while True:
            try:
                producer.produce(INPUT, key=record["userId"], value=json.dumps(record), on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if left := producer.flush(90):
        failed.append(f"{left} records were not acknowledged within 90 s")
    if failed:
        sys.exit(f"{len(failed)} records were not written, the first: {failed[0]}")
    json.dump(expected, sys.stdout)
    print(f"wrote {args.n} transactions, {len(expected)} of them over 100000", file=sys.stderr)


def flagged(consumer, missing, deadline, quiet):
    """Yields (transaction id, rules) of each anomaly, to the end of all partitions
    quiet seconds after nothing was missing any more, or until the deadline."""
    at_end = set()
    complete_since = None
    while time.monotonic() < deadline:
        if not missing:
            complete_since = complete_since or time.monotonic()
            if time.monotonic() - complete_since > quiet and len(at_end) == len(consumer.assignment()):
                return
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error() is not None:
            if message.error().code() != confluent_kafka.KafkaError._PARTITION_EOF:
                sys.exit(f"read {OUTPUT}: {message.error()}")
            at_end.add(message.partition())
            continue
        at_end.discard(message.partition())
        headers = dict(message.headers() or [])
        where = f"{OUTPUT}[{message.partition()}]@{message.offset()}"
        if headers.get("ce_type") != b"com.datasurge.anomaly.v1":
            sys.exit(f"{where} is not an anomaly: its headers are {headers}")
        anomaly = json.loads(message.value())
        yield anomaly["transactionId"], [reason["rule"] for reason in anomaly["reasons"]]


def check(args):
    with open(args.expected, encoding="utf-8") as f:
        expected = set(json.load(f))
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": args.brokers,
        "group.id": f"check-{uuid.uuid4()}",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    })
    partitions = consumer.list_topics(OUTPUT, 30).topics[OUTPUT].partitions
    consumer.assign([
        confluent_kafka.TopicPartition(OUTPUT, p, confluent_kafka.OFFSET_BEGINNING) for p in partitions
    ])
    seen = collections.Counter()
    missing = set(expected)
    for transaction_id, rules in flagged(consumer, missing, time.monotonic() + args.within, quiet=5):
        if RULE in rules:
            seen[transaction_id] += 1
            missing.discard(transaction_id)
    consumer.close()

    doubled = [i for i, n in seen.items() if n > 1]
    extra = [i for i in seen if i not in expected]
    print(f"{len(seen)} anomalies with {RULE}: {len(missing)} missing, {len(doubled)} doubled, {len(extra)} extra",
          file=sys.stderr)
    if not partitions or missing or doubled or extra:
        sys.exit(f"missing {sorted(missing)[:3]}, doubled {doubled[:3]}, extra {extra[:3]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    p = commands.add_parser("produce")
    p.add_argument("--brokers", required=True)
    p.add_argument("--n", type=int, default=5000)
    p.add_argument("--seed", type=int, default=1)
    p.set_defaults(run=produce)
    c = commands.add_parser("check")
    c.add_argument("--brokers", required=True)
    c.add_argument("--expected", required=True)
    c.add_argument("--within", type=float, default=120)
    c.set_defaults(run=check)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
