package report

// The words of the report, tested edge by edge.
var (
	Percent  = percent
	Duration = duration
	Bound    = bound
	Clean    = clean
	Shorten  = shorten
	Columns  = columns
	Ticks    = ticks
)
