package handbook

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"testing"
)

// published is the SHA-256 over the published files of the data set: a line
// second,customer,terminal,cents,fraud,scenario for each transaction, sorted by
// these numbers.
const published = "3b14a0dbc8a3a7fdccc2e5e528df29a5bb9c1422231faf42a7a700c53e2c6c73"

// The data set is the published one, in every row.
func TestDataSetIsThePublishedOne(t *testing.T) {
	hash := sha256.New()
	out := bufio.NewWriterSize(hash, 1<<16)
	var line []byte
	var scenarios [4]int
	days := 0
	for s := New(); ; days++ {
		day := s.Next()
		if day == nil {
			break
		}
		for i := range day {
			x := &day[i]
			if int(x.Second)/daySeconds != days {
				t.Fatalf("second %d is not of day %d", x.Second, days)
			}
			fraud := int64(0)
			if x.Fraud() {
				fraud = 1
			}
			line = line[:0]
			for _, v := range [...]int64{int64(x.Second), int64(x.Customer), int64(x.Terminal), x.Cents, fraud, int64(x.Scenario)} {
				line = append(strconv.AppendInt(line, v, 10), ',')
			}
			line[len(line)-1] = '\n'
			out.Write(line)
			scenarios[x.Scenario]++
		}
	}
	out.Flush()
	if want := [...]int{Transactions - Frauds, 973, 9_077, 4_631}; days != Days || scenarios != want {
		t.Errorf("%d days and by scenario %d, want %d and %d", days, scenarios, Days, want)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != published {
		t.Errorf("SHA-256 %s, want %s", got, published)
	}
}

func BenchmarkDataSet(b *testing.B) {
	for b.Loop() {
		for s := New(); s.Next() != nil; {
		}
	}
	b.ReportMetric(float64(Transactions)*float64(b.N)/b.Elapsed().Seconds(), "transactions/s")
}
