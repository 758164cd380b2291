//go:build !synctests

package golden

const synctests = false
