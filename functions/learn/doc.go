// Package learn is the function learn: it learns from labels what frauds look
// like, and publishes what it has learnt for every instance of detect to follow.
//
// It works in three phases, all in every task, connected by the topic
// learning_examples:
//
//	scored_transactions ──▶ join ──▶ learning_examples ──▶ merchants ──▶ merchant_outcomes
//	transaction_labels  ──▶   "       (by merchant, or          "
//	                                   all under one key) ──▶ train ──▶ detection_models
//
// Joining is by customer, as both inputs are keyed: the features of a transaction
// are kept until its label comes, six weeks at most; when more than 200,000 wait in
// one task, only a half of all transactions is learnt from, or a quarter, and so on.
// What a label says goes to the owner of the merchant, who keeps the merchant's
// history (package outcome), and, for all frauds and one in twenty of the others,
// to the one task that trains.
//
// # When a model is trained
//
// At midnight (UTC, event time) plus an hour, if the number of frauds known before
// midnight is at least 20, and a tenth above that of the last training: often at
// first, less often later. The examples are sorted by when they became known, so
// that the model depends on what was known and neither on the order in which it
// came, nor on the number of tasks or on restarts. The model names the time from
// which it may be used; what became known after the midnight before that is not in
// it.
//
// # Labels
//
// The first label of a transaction counts. A label that comes before its
// transaction waits for it. One of a transaction that is older than six weeks is
// refused.
package learn
