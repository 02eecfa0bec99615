//go:build planted

package planted

// Bug is the mistake that is made. It is set while nothing runs.
var Bug Name
