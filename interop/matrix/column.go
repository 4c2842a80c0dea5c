package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/interop/internal/program"
)

// A column is what becomes of the script with one peer, in one role.
type column struct {
	peer  peer
	role  string // the peer's: "client" or "server"
	cells []cell // one for each exchange
	seen  seen
}

// A cell is what became of an exchange.
type cell struct {
	done  bool     // some connection was tried
	notes []string // what the peer's library can't do
	err   error
}

// seen is what differs between libraries that are all right.
type seen struct {
	frames  int    // in which 1 MiB comes back
	close   string // what a Close is answered with
	windows string // what a client offers, or a server accepts, if both want windows of 9 bits
}

func newColumn(p peer, role string, script []exchange) *column {
	return &column{peer: p, role: role, cells: make([]cell, len(script))}
}

func (c *column) title() string {
	if c.role == "client" {
		return c.peer.name + " → us"
	}
	return "us → " + c.peer.name
}

func (c *column) failures() int {
	n := 0
	for _, cell := range c.cells {
		if cell.err != nil {
			n++
		}
	}
	return n
}

// can reports whether the peer's library can do that. If it can't, that is noted in the cell.
func (c *column) can(what string, cell *cell) bool {
	reason, cannot := c.peer.cannot[what]
	if cannot && !slices.Contains(cell.notes, reason) {
		cell.notes = append(cell.notes, reason)
	}
	return !cannot
}

// A job is a connection to be made.
type job struct {
	connection
	cell *cell
}

func (j job) fail(err error) { j.cell.err = errors.Join(j.cell.err, err) }

// run carries out the script. Connections for which the peer has to be told the same are made
// by one process.
func (c *column) run(ctx context.Context, script []exchange) {
	groups := make(map[string][]job)
	var order []string
	for i, e := range script {
		for _, conn := range e.connections {
			able := true
			for _, what := range conn.needs {
				able = c.can(what, &c.cells[i]) && able
			}
			if !able {
				continue
			}
			c.cells[i].done = true
			key := conn.key()
			if groups[key] == nil {
				order = append(order, key)
			}
			groups[key] = append(groups[key], job{conn, &c.cells[i]})
		}
	}
	for _, key := range order {
		c.runGroup(ctx, groups[key])
	}
}

// key is equal for connections for which the peer is told the same.
func (c connection) key() string {
	key, _ := json.Marshal(program.Config{Deflate: c.theirs, Subprotocols: c.subprotocols})
	return string(key)
}

// runGroup has one process make the connections. After a failure, another makes the others.
func (c *column) runGroup(ctx context.Context, jobs []job) {
	for len(jobs) > 0 && ctx.Err() == nil {
		s, err := c.start(ctx, jobs)
		if err != nil {
			for _, j := range jobs {
				j.fail(err)
			}
			return
		}
		n := s.runJobs(ctx)
		s.stop()
		jobs = jobs[n:]
	}
}

// A session is a process of the peer's that makes connections for some jobs.
type session struct {
	column *column
	jobs   []job
	peer   running
	links  []*link // one for each job
	cancel context.CancelFunc
}

// What a connection may take, and the start of a process.
const (
	connectionTimeout = 10 * time.Second
	startTimeout      = 20 * time.Second
)

func (c *column) start(ctx context.Context, jobs []job) (_ *session, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout+time.Duration(len(jobs))*connectionTimeout)
	s := &session{column: c, jobs: jobs, cancel: cancel}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	config := program.Config{Role: c.role, Deflate: jobs[0].theirs, Subprotocols: jobs[0].subprotocols}
	for _, j := range jobs {
		l := &link{connection: j.connection, record: new(record)}
		s.links = append(s.links, l)
		if c.role == "client" {
			if err := l.listen(); err != nil {
				return nil, err
			}
			config.URLs = append(config.URLs, l.url)
		}
	}
	if s.peer, err = c.peer.launcher.launch(ctx, config); err != nil || c.role == "client" {
		return s, err
	}
	address, err := s.peer.Address()
	for _, l := range s.links {
		l.url = "ws://" + address + "/" + l.does
	}
	return s, err
}

// runJobs makes the connections, up to one that fails, and returns how many that were.
func (s *session) runJobs(ctx context.Context) int {
	for i, j := range s.jobs {
		if err := s.runJob(ctx, j, s.links[i]); err != nil {
			s.peer.Kill()
			if stderr := s.peer.Stderr(); stderr != "" {
				err = fmt.Errorf("%w\nThe peer says: %s", err, stderr)
			}
			j.fail(err)
			return i + 1
		}
	}
	if err := s.peer.Wait(); err != nil {
		s.jobs[len(s.jobs)-1].fail(fmt.Errorf("at the end: %w", err))
	}
	return len(s.jobs)
}

func (s *session) runJob(ctx context.Context, j job, l *link) error {
	ctx, cancel := context.WithTimeout(ctx, connectionTimeout)
	defer cancel()
	if err := l.connect(ctx, s.peer.Lines()); err != nil {
		return err
	}
	defer l.conn.CloseNow()
	t := &talk{link: l, ctx: ctx, column: s.column, cell: j.cell}
	if err := j.talk(t); err != nil {
		return err
	}
	if t.want == "" {
		if err := t.close(websocket.StatusNormalClosure, "bye"); err != nil {
			return err
		}
	}
	return s.checkEnd(ctx, t)
}

// checkEnd reads what the peer says of the end of the connection.
func (s *session) checkEnd(ctx context.Context, t *talk) error {
	var got string
	select {
	case got = <-s.peer.Lines():
	case <-ctx.Done():
	}
	want, isPrefix := strings.CutSuffix(t.want, "…")
	switch {
	case got == t.want, isPrefix && strings.HasPrefix(got, want):
		return nil
	case got == "closed" && s.column.peer.cannot["closed"] != "":
		return nil
	}
	return fmt.Errorf("the peer says %q, want %q", got, t.want)
}

func (s *session) stop() {
	s.cancel()
	if s.peer != nil {
		s.peer.Kill()
	}
	for _, l := range s.links {
		l.close()
	}
}
