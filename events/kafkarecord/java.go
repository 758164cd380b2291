package kafkarecord

import (
	"bytes"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// appendJavaFloat appends f as Double.toString, or with 32 bits
// Float.toString, of Java 19 and later writes it: plain from 0.001 up to ten
// million, else with an exponent, and always with a decimal.
func appendJavaFloat(dst []byte, f float64, bits int) []byte {
	abs := math.Abs(f)
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 0):
		if f < 0 {
			dst = append(dst, '-')
		}
		return append(dst, "Infinity"...)
	case abs == 0 || 1e-3 <= abs && abs < 1e7:
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
		if bytes.IndexByte(dst[start:], '.') < 0 {
			dst = append(dst, ".0"...)
		}
		return dst
	}
	text := strconv.AppendFloat(nil, f, 'e', -1, bits) // 1.5e+07
	mantissa, exponent, _ := bytes.Cut(text, []byte("e"))
	dst = append(dst, mantissa...)
	if bytes.IndexByte(mantissa, '.') < 0 {
		dst = append(dst, ".0"...)
	}
	// The exponent is at most three digits with its sign.
	n, _ := strconv.Atoi(string(exponent))
	return strconv.AppendInt(append(dst, 'E'), int64(n), 10)
}

// Reserialize writes the JSON value data as Jackson writes it after reading it
// into a tree: no spaces, and numbers with a fraction or an exponent as doubles.
// data that is no JSON is returned as it is.
func Reserialize(data []byte) []byte {
	var out bytes.Buffer
	in := jsontext.NewDecoder(bytes.NewReader(data))
	enc := jsontext.NewEncoder(&out)
	for {
		token, err := in.ReadToken()
		if err != nil {
			break // io.EOF; the data was found valid before
		}
		if token.Kind() != '0' {
			err = enc.WriteToken(token)
		} else {
			err = enc.WriteValue(javaNumber(token.String()))
		}
		if err != nil {
			return data
		}
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

func javaNumber(text string) jsontext.Value {
	for i := range len(text) {
		switch text[i] {
		case '.', 'e', 'E':
			f, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return jsontext.Value(text)
			}
			return appendJavaFloat(nil, f, 64)
		}
	}
	return jsontext.Value(text)
}
