package backtest

import (
	"io"
	"strconv"
)

// WriteScores writes the score of every transaction as CSV: customer, terminal,
// second since the midnight before the first transaction, amount and score.
func (r *Result) WriteScores(w io.Writer) error {
	if _, err := io.WriteString(w, "customer,terminal,second,amount,score\n"); err != nil {
		return err
	}
	if len(r.Rows) == 0 {
		return nil
	}
	start := r.Rows[0].Time - r.Rows[0].Time%day
	var line []byte
	for i := range r.Rows {
		row := &r.Rows[i]
		line = appendField(line[:0], r.Customers[row.Customer])
		line = appendField(append(line, ','), r.Merchants[row.Merchant])
		line = strconv.AppendInt(append(line, ','), (row.Time-start)/1000, 10)
		line = append(line, ',')
		line = strconv.AppendFloat(line, float64(row.Amount)/100, 'f', 2, 64)
		line = append(line, ',')
		line = strconv.AppendFloat(line, row.Score, 'g', -1, 64)
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// appendField appends a field, quoted where CSV asks for it (RFC 4180).
func appendField(dst []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if s[i] == ',' || s[i] == '"' || s[i] == '\n' || s[i] == '\r' {
			plain = false
		}
	}
	if plain {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}
