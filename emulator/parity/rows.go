package parity

// behaviours returns the rows without their proofs. Where Knative was recorded
// to do something else than its documentation and sources suggest, the row says
// what was recorded.
func behaviours() []Row {
	rows := []Row{
		{Section: "Mapping", Behaviour: "A plain record becomes an event: id, type, source, subject and time are made of its place and timestamp"},
		{Section: "Mapping", Behaviour: "Its key becomes partitionkey and key, none when it is null or empty; four key types, and text for a key of another length"},
		{Section: "Mapping", Behaviour: "Its headers become kafkaheader<name>; one header with a null value loses the plain records of the whole poll"},
		{Section: "Mapping", Behaviour: "A CloudEvent in binary mode passes through; the record's key does not show"},
		{Section: "Mapping", Behaviour: "A CloudEvent in structured mode arrives in binary mode, its JSON data written anew"},
		{Section: "Mapping", Behaviour: "A broken CloudEvent is plain to a KafkaSource; a channel or broker discards and commits it"},
		{Section: "Mapping", Behaviour: "A null value is an event without data"},
		{Section: "Mapping", Behaviour: "Every event has knativekafkapartition and knativekafkaoffset, then ceOverrides; an override called like an attribute is sent beside it"},

		{Section: "Request", Behaviour: "POST in binary mode with Prefer and Kn-Namespace, header values in Latin-1; a trace is continued, none is begun"},
		{Section: "Request", Behaviour: "A KafkaSource discards what its sink replies, whatever it is"},
		{Section: "Request", Behaviour: "The reply to a Subscription is POSTed on, that to a Trigger is written to the broker's topic; a malformed one is a failure; a Trigger's filters choose events"},

		{Section: "Delivery", Behaviour: "2xx is done; 303 is followed with a GET, and that one's redirects; other 3xx and most 4xx fail at once; 404, 408, 409, 429, 5xx and above, refusals and timeouts are tried again"},
		{Section: "Delivery", Behaviour: "Exponential pauses d*2^n and linear d*n, n from 1, no jitter, Retry-After ignored"},
		{Section: "Delivery", Behaviour: "One attempt more than retries, each with its timeout, 600 s by default"},
		{Section: "Delivery", Behaviour: "Defaults of delivery are not merged: a dead letter sink alone means no retries"},
		{Section: "Delivery", Behaviour: "retryAfterMax and malformed durations are refused; backoffDelay PT0S means no retries"},
		{Section: "Delivery", Behaviour: "Dead letters have knativeerrordest, knativeerrorcode, knativeerrordata and kne- headers; a kne- header that is no name stops the partition"},
		{Section: "Delivery", Behaviour: "The dead letter sink has the same retries; when they end the event is lost, and the log says so"},
		{Section: "Delivery", Behaviour: "Without a dead letter sink the event is lost, and the log says so"},

		{Section: "Order and offsets", Behaviour: "Ordered: one event of a partition under way, 250 events/s for all of them; polls wait while all partitions are busy (--pace multiplies the rate and says so)"},
		{Section: "Order and offsets", Behaviour: "Unordered: at most 99 under way, commits contiguous (--pace multiplies the number and says so)"},
		{Section: "Order and offsets", Behaviour: "The finished prefix is committed every 5 s; after a kill what came since comes again"},
		{Section: "Order and offsets", Behaviour: "SIGTERM, the emulator's own too, cuts requests and commits nothing; a source that is removed or changed ends what is under way and commits it (--pace graceful does so at a stop too, and says so)"},
		{Section: "Order and offsets", Behaviour: "A rebalance waits for a poll, commits the finished prefix, and events under way come again"},
		{Section: "Order and offsets", Behaviour: "latest: the ends are committed before the source is ready, so nothing after that is missed"},
		{Section: "Order and offsets", Behaviour: "A change of consumerGroup is refused, a missing one is invented; deleting a source deletes its group; stopping everything does not"},
		{Section: "Order and offsets", Behaviour: "KafkaSource reads committed records only; channels and brokers read all"},
		{Section: "Order and offsets", Behaviour: "Any number of consumers on one dispatcher is one member of the group"},

		{Section: "KafkaSink", Behaviour: "202 when the brokers have it, 400, 404, 405, 431, 503; answers are empty"},
		{Section: "KafkaSink", Behaviour: "The key is partitionkey, else null; both content modes, both request modes"},
		{Section: "KafkaSink", Behaviour: "Path /<namespace>/<name>; topics are created only with partitions and replicas; a record that is too large is 503"},

		{Section: "Serving", Behaviour: "PORT and K_SERVICE, K_REVISION, K_CONFIGURATION; K_SINK and K_CE_OVERRIDES with a SinkBinding",
			Approximated: "PORT is a free port and not containerPort, since all instances share the addresses of one machine: a program that listens on containerPort without asking PORT gets no requests, and is told so; POD_IP and INSTANCE_ID are set too"},
		{Section: "Serving", Behaviour: "timeoutSeconds is 504; containerConcurrency queues requests in the activator, 10,000 for all instances, or without it ten times as many at each instance, then 503; an application that refuses is 502"},
		{Section: "Serving", Behaviour: "Ready by TCP on PORT before any event; a cold start delays"},
		{Section: "Serving", Behaviour: "SIGTERM after 30 s of draining, SIGKILL after timeoutSeconds; a new revision overlaps the old one (--pace drain=D shortens the 30 s and says so)",
			Approximated: "when the emulator itself is stopped, functions get SIGTERM at once and have 2.5 s; those of a Service that is removed get it at once and have timeoutSeconds"},
		{Section: "Serving", Behaviour: "Requests are spread over instances with no regard to keys: by the activator, when it is in the path, as containerConcurrency decides; their number follows the load",
			Approximated: "without max-scale there are at most 110 instances, what one node of Kubernetes takes, where a cluster has no bound; without the activator an instance is drawn, as kube-proxy does, where an ingress may go by its own rule"},
		{Section: "Serving", Behaviour: "Scale to zero after an idle time, when it is asked for"},

		{Section: "Honesty", Behaviour: "What is not supported is refused by file, line and field"},
		{Section: "Honesty", Behaviour: "All timers are of one clock that a test advances"},
		{Section: "Honesty", Behaviour: "Recordings of the real data plane back rows 1 to 31; a row without one says that it is from source reading"},
	}
	for i := range rows {
		rows[i].Number = i + 1
	}
	return rows
}

// NotEmulated are the parts of Knative that the emulator does not have at all.
func NotEmulated() []string {
	return []string{
		"TLS, SASL and OIDC between the components",
		"autoscaling of a KafkaSource by KEDA",
		"the scheduler that places consumers on dispatchers",
		"the activator as a process of its own: requests wait where they are sent",
		"tracing that begins in Knative",
	}
}
