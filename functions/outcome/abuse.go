package outcome

// What is taken for the abuse of a merchant, say by a device that copies cards: it
// begins at any time, lasts four weeks, and all payments are frauds meanwhile. A
// genuine one refutes that it had begun before. The priors were chosen on the
// Handbook's weeks before 2018-07-25.
const (
	// abuseRate is how often it begins at a merchant, per day.
	abuseRate = 2e-4
	// abuseDays is how long it lasts.
	abuseDays = 28
	// straySurprise is how much rarer a fraud of a usual amount is at a merchant that
	// is not abused than at one that is: how many of all payments are such.
	straySurprise = 1e-3
)

// abuse is the probability that a merchant is abused now, by Bayes, from what is
// known since its last genuine transaction. Abuse may have begun between any two of
// the frauds since; those before would then have another cause. It is computed from
// the newest outcome back.
type abuse struct {
	age float64 // days before now that was gone back to
	// begun and active are the days on which abuse may have begun, all and those since
	// which it still lasts, each as many times as the frauds since are more likely so.
	begun, active float64
	likelier      float64 // how many times
}

func newAbuse() abuse { return abuse{likelier: 1} }

// until goes back to an age in days, not below the last one.
func (a *abuse) until(age float64) {
	a.begun += float64(a.likelier * (age - a.age))
	a.active += float64(a.likelier * (min(age, abuseDays) - min(a.age, abuseDays)))
	a.age = age
}

// fraud notes a fraud at the age that was gone back to. One of an unusual amount
// says nothing: the card was abused. Nor does a genuine transaction, before which
// nothing counts any more.
func (a *abuse) fraud(k Kind) {
	if k == UsualFraud {
		a.likelier /= straySurprise
	}
}

func (a *abuse) probability() float64 {
	return float64(abuseRate*a.active) / (1 + float64(abuseRate*a.begun))
}
