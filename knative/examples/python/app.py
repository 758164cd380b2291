"""A function in Python: it opens a case for each anomaly.

Each request is one CloudEvent from a KafkaSource. The case goes to the address in
K_SINK, which a SinkBinding gives, and only when it has been taken is the event
answered with 204. Anything but 2xx makes the source send the event again, so that
none is lost; it can also come twice, and then the case has the same id, since that
is made from the event's.
"""

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent


def case_of(anomaly: CloudEvent) -> CloudEvent:
    transaction = anomaly.get_data()
    return CloudEvent(
        {
            "type": "com.example.case.v1",
            "source": "/examples/cases",
            "id": anomaly.get_id() + "/case",
            "time": anomaly.get_time(),
            "datacontenttype": "application/json",
            # The record's key in Kafka: the cases of a user stay in order.
            "partitionkey": transaction["userId"],
            **OVERRIDES.get("extensions", {}),
        },
        {
            "transactionId": transaction["transactionId"],
            "userId": transaction["userId"],
            "because": [reason["text"] for reason in transaction["reasons"]],
        },
    )


def send(event: CloudEvent) -> None:
    message = http.to_binary_event(event)
    request = urllib.request.Request(os.environ["K_SINK"], message.body, message.headers, method="POST")
    with urllib.request.urlopen(request, timeout=10):
        pass


# What the SinkBinding asks senders to add to their events.
OVERRIDES = json.loads(os.environ.get("K_CE_OVERRIDES") or "{}")


class Counter:
    """Counts what is under way, so that it can be waited for."""

    def __init__(self):
        self.count, self.changed = 0, threading.Condition()

    def __enter__(self):
        with self.changed:
            self.count += 1

    def __exit__(self, *_):
        with self.changed:
            self.count -= 1
            self.changed.notify_all()

    def wait(self):
        with self.changed:
            self.changed.wait_for(lambda: self.count == 0)


UNDER_WAY = Counter()


class Function(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self):
        with UNDER_WAY:
            self.handle_event()

    def handle_event(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            case = case_of(http.from_http_event(http.HTTPMessage(dict(self.headers), body)))
        except Exception as e:  # wrong for ever: sending it again would not help
            return self.answer(400, f"this is no anomaly: {e}")
        try:
            send(case)
        except (urllib.error.URLError, TimeoutError) as e:
            return self.answer(503, f"the sink did not take the case: {e}")
        print(f"case {case.get_id()} of {case.get_data()['userId']}", flush=True)
        self.answer(204)

    def answer(self, status: int, text: str = ""):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):  # no line for each request
        pass


def main():
    server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Function)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"{os.environ.get('K_REVISION', 'cases')} listens on {server.server_port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    UNDER_WAY.wait()  # requests, not connections, which are kept for the next


if __name__ == "__main__":
    main()
