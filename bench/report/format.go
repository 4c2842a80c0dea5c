package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// format returns a value of that unit with three digits, and a unit that one reads.
func format(value float64, unit string) string {
	switch {
	case value == 0:
		return "0"
	case strings.Contains(unit, "ns"):
		return scaled(value, 1000, "ns", "µs", "ms", "s")
	case strings.HasPrefix(unit, "msgs/s"):
		return scaled(value, 1000, "/s", "k/s", "M/s")
	case strings.Contains(unit, "B/"):
		return scaled(value, 1000, "B", "KB", "MB", "GB")
	case strings.HasPrefix(unit, "allocs"):
		// What a few of all messages allocate, or the question what the process has used.
		return strconv.FormatFloat(math.Round(value*10)/10, 'f', -1, 64)
	default:
		return strconv.FormatFloat(value, 'f', 2, 64)
	}
}

// scaled returns value in the largest of the units that is not larger.
func scaled(value, step float64, units ...string) string {
	for len(units) > 1 && math.Abs(value) >= step {
		value /= step
		units = units[1:]
	}
	digits := 2
	switch {
	case math.Abs(value) >= 100 || value == math.Trunc(value):
		digits = 0
	case math.Abs(value) >= 10:
		digits = 1
	}
	separator := " "
	if strings.HasSuffix(units[0], "/s") {
		separator = ""
	}
	return strconv.FormatFloat(value, 'f', digits, 64) + separator + units[0]
}

// ratio returns how many times b a is.
func ratio(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}
