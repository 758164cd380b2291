// Package detect decides about transactions: it keeps a profile of each
// customer, evaluates the rules and a score, and says in words why a transaction
// was flagged.
//
// Input is enriched_transactions, keyed by user id. Every transaction goes to
// scored_transactions, and a flagged one also, once, to transaction_anomalies.
// A transaction is flagged when an active rule fires, when the model's score
// reaches [Config].FlagScore, or when a list denies it. A transaction is never refused because of its
// time: an old one is decided by what is still known of its time.
//
// # Features
//
// In the order in which decisions carry them; rules use the same names. Amounts
// are in major units of the base currency. Weekend, night, international and
// newCountry1h are booleans in rules, 0 or 1 in decisions.
//
//	name           meaning                                             when unknown
//	baseAmount     the amount in base currency
//	weekend        local Saturday or Sunday
//	night          local hour 0 to 6
//	international  as the transaction says
//	count1m        transactions in the last minute (1)
//	count10m       transactions in the last ten minutes (1)
//	count1d        purchases in the last day (1, 2)
//	mean1d         their mean amount (1, 2)                            0
//	count7d        purchases in the last 7 days (1, 2)
//	mean7d         their mean amount (1, 2)                            0
//	count30d       purchases in the last 30 days (1, 2)
//	mean30d        their mean amount (1, 2)                            0
//	amountRatio    baseAmount / mean30d                                1
//	amountZ        (baseAmount - mean) / deviation, over all earlier   0 before 5 purchases
//	               purchases; the deviation is at least a tenth of the
//	               mean, the result is between -100 and 100
//	usual10m       usual number of purchases in ten minutes (3)        0
//	sinceLast      seconds since the latest transaction before,        2592000
//	               at most 30 days
//	lastAmount     amount of the purchase before                       0
//	distanceKm     distance from the customer's home                   0
//	countries1h    countries of the purchases of the last hour (1, 4)  0
//	newCountry1h   no purchase in this country in the last hour, but   false
//	               one in another (4)
//	merchantRisk   share of frauds at the merchant                     0
//	usualRatio     baseAmount / mean of all earlier purchases, those   1
//	               over 2.7 times that mean (from the fourth on) as
//	               2.7 times
//	unusual14d     earlier purchases over that limit, of the day       0
//	               (UTC) and the 14 days before
//	merchantFraudShare  frauds of usual amount / (outcomes + 2) (5)     0
//	merchantFraudRun    frauds of usual amount since the last genuine   0
//	                    transaction (5)
//	merchantFraudDays   days since the first of them (5)                35
//	merchantCleanDays   days since the last genuine transaction (5)     35
//	merchantAbuse       probability that payments at the merchant are   0.005561
//	                    frauds now (5)
//
// (1) The transaction itself included. (2) A refund is not counted: it sees the
// purchases before it. (3) Of the last day without the last ten minutes, over
// the time the customer has been known, at most a day, plus an hour; so a burst
// of a new customer is unusual. (4) Of the four countries used last. (5) Of the
// merchant's transactions of the 35 days before, at most 48, of which a label was
// known by the time of the transaction; see package outcome.
//
// Means, ratios, distances and risks have four decimals, merchantAbuse six; rules and score see
// what the decision carries.
//
// # What the windows cost in exactness
//
// A window is kept in panes aligned to the epoch (UTC). All that is within the
// window is counted, and of what is older up to one pane's width:
//
//	window   pane   counts at most
//	1 min    5 s    65 s
//	10 min   1 min  11 min
//	1 day    2 h    26 h
//	7 days   1 day  8 days
//	30 days  3 days 33 days
//
// A transaction out of order counts in the pane of its own time and sees no
// newer pane; purchases that were in the oldest panes when newer transactions
// came are missing in its windows, and in a window that it is too old for it
// counts itself alone. Within its own pane it also sees later transactions that
// came before it.
//
// A profile takes 80 bytes for a customer who pays less than once a month, 130 for
// one who pays daily, and under 400 for one who pays once a second for a month.
//
// # Rules
//
// Package rules describes rule documents. Beside the features, conditions see
// the original fields transactionId, userId, amount (a double in major units of
// currency), currency, transactionTime (int, ms since the epoch), merchantId,
// transactionType, location, paymentMethod, and merchantCategory, country,
// previousCountry (the other country used last within the hour, or ""),
// baseCurrency, localHour (int) and modelScore (the model's score). All of them
// always have a value; text that is not known is "".
//
// Rules come from the table detection_rules, where the key is the rule's id;
// until it is read, and for ids that are not in it, the built-in rules of
// rules.yaml are in force. A record that is not a good rule is refused and the
// rule that was in force for its id stays. An instance that starts later, when the
// topic is compacted, finds that rule under id@version, where those who apply
// rules leave each version; of a rule that was written without that, it goes on
// with the built-in one, if there is one.
//
// Each decision is made by one rule set, of which all is fixed for a commit, and
// carries its version, a hash. It names the active rules that fired, the
// suppressed and the shadow ones, each with its version.
//
// # Windows that rules ask for
//
// A rule may ask for windows of its own (package rules). They are kept in twelve
// panes of a twelfth of the duration and what the window begins in, with the
// exactness of the windows above; their values follow the features in decisions,
// named by the rule and its name for the window. Those of one customer are one
// record of at most 300 bytes for each window, which is written again, without
// windows that no rule asks for any more, when the customer's next transaction
// comes. Refunds count like all else, unless a filter leaves them out.
//
// Of a merchant each task counts what its own customers bought there, and
// publishes it on Tick to the table detection_windows, from where the others add
// it to their own: what is a second old counts everywhere. A merchant's records
// stay as long as rules ask for such windows.
//
// A window misses what came before a rule asked for it. It is exact for a
// transaction when the begin of its oldest pane is later than all that the task
// had seen by then; until that time the decision gives it as exactFrom of the
// rule, and the reason says so. The table has it too, for each task.
//
// # Lists and suppression
//
// The table detection_lists has the lists allow, deny and watch, under
// list/value, and suppressions, under suppress/rule/value. Entries can end, in
// event time. A transaction whose customer or merchant is on deny is flagged and
// declined; of one on allow and not on deny nothing is flagged and the decision is
// approve. A rule that is suppressed for the customer or the merchant neither
// flags nor weighs.
//
// # Labels
//
// Labels are joined with what was decided: of each rule it is counted how often
// it was right, wrong, and missed a fraud. For this the latest decisions about a
// customer in which a rule fired are remembered, in at most 400 bytes.
//
// # Score, severity and decision
//
// The model is the latest one of the table detection_models whose time has come
// by that of the transaction: it has learnt from no label that was known later.
// Until there is one, a baseline set by hand scores. A record that is no good
// model is refused, and the last good one stays in force.
//
// The score is the model's score, raised by the active rules that fired: a rule
// of weight w leaves 1-w of the doubt. The severity is the highest among the
// rules that fired and what [Config] says for the score.
//
// The decision is decline from [Config].DeclineScore, review from
// [Config].ReviewScore or when the transaction is flagged, and else approve.
package detect
