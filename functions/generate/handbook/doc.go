// Package handbook makes the simulated card transactions of the Fraud Detection
// Handbook (Le Borgne, Siblini, Lebichot, Bontempi, Université libre de Bruxelles,
// 2022), the same ones bit for bit: 1,754,155 transactions of 5,000 customers at
// 10,000 terminals in the 183 days from 2018-04-01, of which 14,681 are frauds.
//
// It is written from the description of the data set, not from the book's code.
//
//   - A customer has a place, x and y in U(0, 100), a mean amount in U(5, 100)
//     with half of it as the deviation, and a number of transactions a day in
//     U(0, 4). A terminal has a place. A customer uses the terminals that are
//     nearer than 5.
//   - Each day a customer makes Poisson(rate) attempts at a second of N(43200,
//     20000), which count if that is within the day, for an amount of N(mean,
//     deviation), or of U(0, 2 mean) if that is negative, at any of the terminals.
//   - Scenario 1: amounts above 220 are frauds. Scenario 2: each day two terminals
//     are compromised, and all that they take in the 28 days from then are frauds.
//     Scenario 3: each day three customers are robbed of their card's data, and a
//     third of their transactions in the 14 days from then get five times the
//     amount and are frauds. The later scenario names the fraud.
//
// The random numbers are those of the programs that the authors used: numpy's
// RandomState and CPython's random, which both draw from MT19937. Products are
// converted to float64 before they are added to something, because Go may fuse
// the two on some machines, and the result would be another.
package handbook
