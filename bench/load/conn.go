package load

import "time"

// A conn is one connection of a Load.
type conn struct {
	fd             int
	awaitsWritable bool
	parser

	owed   int // messages to send
	frame  int // the one that is sent next, of the script
	offset int // in its stream

	// When the messages were sent that have had no answer, in a ring.
	times       []time.Duration
	first, used int
}

// owe has n more messages sent.
func (c *conn) owe(n int, now time.Duration) {
	c.owed += n
	for range n {
		if c.used == len(c.times) {
			c.growTimes()
		}
		c.times[(c.first+c.used)%len(c.times)] = now
		c.used++
	}
}

func (c *conn) growTimes() {
	times := make([]time.Duration, max(1, 2*len(c.times)))
	for i := range c.used {
		times[i] = c.times[(c.first+i)%len(c.times)]
	}
	c.times, c.first = times, 0
}

// answered returns when the message was sent whose answer has come.
func (c *conn) answered() (sent time.Duration, ok bool) {
	if c.used == 0 {
		return 0, false
	}
	sent = c.times[c.first]
	c.first = (c.first + 1) % len(c.times)
	c.used--
	return sent, true
}

// output returns what is to be written next.
func (c *conn) output(s *Script) []byte {
	last := min(c.frame+c.owed, len(s.ends)) - 1
	return s.stream[c.offset:s.ends[last]]
}

// sent notes that n bytes of it were.
func (c *conn) sent(n int, s *Script) {
	c.offset += n
	for c.frame < len(s.ends) && s.ends[c.frame] <= c.offset {
		c.frame++
		c.owed--
	}
	if c.frame == len(s.ends) {
		c.frame, c.offset = 0, 0
	}
}
