// Package reference holds the reference data that enrich and generate share:
// countries and large cities with their coordinates, embedded in the binary, and
// the records of the compacted topic merchants.
//
// The package is pure: no I/O, no clock, and no mutable state.
package reference
