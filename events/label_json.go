package events

const (
	labelTransactionID field = iota
	labelUserID
	labelMerchantID
	labelTransactionTime
	labelLabelTime
	labelFraud

	labelScenario // optional
)

var labelPaths = [...]string{
	labelTransactionID:   "transactionId",
	labelUserID:          "userId",
	labelMerchantID:      "merchantId",
	labelTransactionTime: "transactionTime",
	labelLabelTime:       "labelTime",
	labelFraud:           "fraud",
	labelScenario:        "scenario",
}

// ParseLabel reads the data of a TypeLabel event into l, as [ParseTransaction]
// does. Only scenario may be missing. A label is never older than its
// transaction.
func ParseLabel(data []byte, l *Label) error {
	*l = Label{}
	var d decoder
	d.open(data, labelPaths[:])
	for name := range d.names {
		switch name {
		case "transactionId":
			l.TransactionID = d.id(labelTransactionID)
		case "userId":
			l.UserID = d.id(labelUserID)
		case "merchantId":
			l.MerchantID = d.id(labelMerchantID)
		case "transactionTime":
			l.TransactionTime = d.millis(labelTransactionTime)
		case "labelTime":
			l.LabelTime = d.millis(labelLabelTime)
		case "fraud":
			l.Fraud = d.boolean(labelFraud)
		case "scenario":
			l.Scenario = d.text(labelScenario, MaxTextBytes)
		default:
			d.other(name)
		}
	}
	const required = fieldSet(1)<<labelScenario - 1
	if d.seen&required == required && l.LabelTime < l.TransactionTime {
		d.wrong(labelLabelTime, "is before the transaction's time")
	}
	return d.close(required)
}

// AppendLabel appends l as ParseLabel reads it.
func AppendLabel(dst []byte, l *Label) []byte {
	dst = append(dst, '{')
	dst = appendStringField(dst, "transactionId", l.TransactionID)
	dst = appendStringField(dst, "userId", l.UserID)
	dst = appendStringField(dst, "merchantId", l.MerchantID)
	dst = appendIntField(dst, "transactionTime", l.TransactionTime)
	dst = appendIntField(dst, "labelTime", l.LabelTime)
	dst = appendBoolField(dst, "fraud", l.Fraud)
	if l.Scenario != "" {
		dst = appendStringField(dst, "scenario", l.Scenario)
	}
	return append(dst, '}')
}
