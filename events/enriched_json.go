package events

// ParseEnriched reads the data of a TypeEnriched event into t, as
// [ParseTransaction] does.
func ParseEnriched(data []byte, t *Enriched) error {
	*t = Enriched{}
	var d decoder
	d.openTransaction(data)
	var amount, base string
	for {
		name, ok := d.next()
		if !ok {
			break
		}
		if !d.enriched(name, t, &amount, &base) {
			d.other(name)
		}
	}
	d.enrichedAmounts(t, amount, base)
	return d.close(enrichedFields)
}

func (d *decoder) enriched(name string, t *Enriched, amount, base *string) bool {
	switch name {
	case "merchantCategory":
		t.Category = d.text(fieldMerchantCategory, MaxTextBytes)
	case "country":
		t.Country = d.country(fieldCountry)
	case "baseAmount":
		*base = d.amount(fieldBaseAmount)
	case "baseCurrency":
		t.BaseCurrency = d.currency(fieldBaseCurrency)
	case "localHour":
		t.LocalHour = int(d.integerIn(fieldLocalHour, 0, 23))
	case "night":
		t.Night = d.boolean(fieldNight)
	case "weekend":
		t.Weekend = d.boolean(fieldWeekend)
	case "distanceKm":
		if t.DistanceKm = d.number(fieldDistanceKm); t.DistanceKm < 0 {
			d.wrong(fieldDistanceKm, "must not be negative")
		}
	case "merchantRisk":
		t.MerchantRisk = d.share(fieldMerchantRisk)
	default:
		return d.transaction(name, &t.Transaction, amount)
	}
	return true
}

// country reads an ISO 3166 alpha-2 code, or "" when the place is not known.
func (d *decoder) country(f field) string {
	s := d.text(f, MaxTextBytes)
	if d.problem == nil && s != "" && (len(s) != 2 || !isUpper(s[0]) || !isUpper(s[1])) {
		d.wrong(f, quote(s)+" is no country code of two capital letters, such as DE")
	}
	return s
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

func (d *decoder) enrichedAmounts(t *Enriched, amount, base string) {
	t.Amount = d.minor(fieldAmount, amount, t.Currency)
	t.BaseAmount = d.minor(fieldBaseAmount, base, t.BaseCurrency)
}

// AppendEnriched appends t as ParseEnriched reads it.
func AppendEnriched(dst []byte, t *Enriched) []byte {
	dst = append(dst, '{')
	dst = appendEnrichedFields(dst, t)
	return append(dst, '}')
}

func appendEnrichedFields(dst []byte, t *Enriched) []byte {
	dst = appendTransactionFields(dst, &t.Transaction)
	dst = appendStringField(dst, "merchantCategory", t.Category)
	dst = appendStringField(dst, "country", t.Country)
	dst = appendAmountField(dst, "baseAmount", t.BaseAmount, t.BaseCurrency)
	dst = appendStringField(dst, "baseCurrency", t.BaseCurrency)
	dst = appendIntField(dst, "localHour", int64(t.LocalHour))
	dst = appendBoolField(dst, "night", t.Night)
	dst = appendBoolField(dst, "weekend", t.Weekend)
	dst = appendFloatField(dst, "distanceKm", t.DistanceKm)
	return appendFloatField(dst, "merchantRisk", t.MerchantRisk)
}
