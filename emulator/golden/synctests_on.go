//go:build synctests

package golden

const synctests = true
