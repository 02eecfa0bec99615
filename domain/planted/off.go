//go:build !planted

package planted

// Bug is the mistake that is made: none.
const Bug Name = ""
