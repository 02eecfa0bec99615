package backup

// ReadRows reads a block's events.
var ReadRows = readRows
