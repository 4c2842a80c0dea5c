package brokertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
)

// A task is what a process is to do.
type task struct {
	Engine    string // its address
	Processes int    // how many there are
	Process   int    // which of them it is
	Members   int    // of this process
	Messages  int    // that it sends to each topic
}

// A report is what the members of a process have received.
type report struct {
	Received   int
	Disordered int
	Errors     []string
}

// taskVariable is the variable of the environment that has a task, as JSON.
const taskVariable = "BROKERTEST_TASK"

// TestProcesses tests hubs of two and of three processes, with 10,000 members on loopback
// connections: what each of the processes sends to all, and to a room, reaches each member once,
// and in order. The processes are this program, whose TestMain calls Child.
func TestProcesses(t *testing.T, engine string, subscribers func(t *testing.T, topic string) int) {
	for _, processes := range []int{2, 3} {
		t.Run(fmt.Sprint(processes), func(t *testing.T) { testProcesses(t, engine, subscribers, processes) })
	}
}

func testProcesses(t *testing.T, engine string, subscribers func(t *testing.T, topic string) int, processes int) {
	const members, messages = 10_000, 5
	var children []*child
	for i := range processes {
		share := members / processes
		if i == 0 {
			share += members % processes
		}
		children = append(children, startChild(t, task{engine, processes, i, share, messages}))
	}
	for _, c := range children {
		c.await(t, "ready")
	}
	for _, topic := range []string{"all", "room:everybody"} {
		Await(t, "subscribers", func() bool { return subscribers(t, topic) == processes })
	}
	began := time.Now()
	for _, step := range []string{"sent", "received"} {
		for _, c := range children {
			c.proceed(t)
		}
		for _, c := range children {
			c.await(t, step)
		}
	}
	t.Logf("%d messages to %d members of %d processes: %v", 2*processes*messages, members, processes, time.Since(began))
	received := 0
	for _, c := range children {
		c.proceed(t)
		var r report
		if err := json.Unmarshal([]byte(c.line(t)), &r); err != nil {
			t.Fatal(err)
		}
		if r.Disordered > 0 || len(r.Errors) > 0 {
			t.Errorf("%d out of order, %q", r.Disordered, r.Errors)
		}
		received += r.Received
	}
	if want := members * 2 * processes * messages; received != want {
		t.Errorf("%d messages were received, want %d", received, want)
	}
}

// A child is a process of the test.
type child struct {
	stdin  io.Writer
	stdout *bufio.Reader
}

func startChild(t *testing.T, job task) *child {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	cmd := exec.CommandContext(ctx, executable)
	cmd.Env = append(os.Environ(), taskVariable+"="+string(p))
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close() // which ends it
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		cancel()
	})
	return &child{stdin, bufio.NewReader(stdout)}
}

// proceed has the child take the next step.
func (c *child) proceed(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(c.stdin, "\n"); err != nil {
		t.Fatal(err)
	}
}

// line returns the next line of what the child says.
func (c *child) line(t *testing.T) string {
	t.Helper()
	line, err := c.stdout.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func (c *child) await(t *testing.T, want string) {
	t.Helper()
	if got := strings.TrimSpace(c.line(t)); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// Child does the task of a process of TestProcesses, and returns false in a program that is none.
func Child(stdin io.Reader, stdout io.Writer, open func(engine string) hub.Broker) bool {
	p, ok := os.LookupEnv(taskVariable)
	if !ok {
		return false
	}
	var job task
	err := json.Unmarshal([]byte(p), &job)
	if err == nil {
		err = job.do(bufio.NewReader(stdin), stdout, open(job.Engine))
	}
	if err != nil {
		fmt.Fprintln(stdout, err)
	}
	return true
}

// do does the task: it says each step on stdout when it is done, and waits for a line on stdin
// before the next.
func (job task) do(stdin *bufio.Reader, stdout io.Writer, b hub.Broker) error {
	say := func(what string) error {
		fmt.Fprintln(stdout, what)
		_, err := stdin.ReadString('\n')
		return err
	}
	c := &crowd{job: job}
	h := hub.New[none](hub.Options{Broker: b})
	server := httptest.NewServer(new(websocket.Upgrader).Handler(
		func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
			return func(ctx context.Context, c *websocket.Conn) {
				h.Serve(ctx, c, hub.Identity[none]{Rooms: []string{"everybody"}}, nil)
			}, nil
		}))
	defer server.Close()
	if err := c.enter(server.URL, h); err != nil {
		return err
	}
	if err := say("ready"); err != nil {
		return err
	}
	if err := job.send(h); err != nil {
		return err
	}
	if err := say("sent"); err != nil {
		return err
	}
	c.awaitAll()
	if err := say("received"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Shutdown(ctx, websocket.StatusGoingAway, 0); err != nil { // members get what is left
		return err
	}
	return json.NewEncoder(stdout).Encode(c.report())
}

// send sends to all, and to a room with the same members.
func (job task) send(h *hub.Hub[none]) error {
	for i := range job.Messages {
		for topic, target := range []hub.Target[none]{h.All(), h.Room("everybody")} {
			p := fmt.Sprintf("%d %d %d", job.Process, topic, i)
			r, err := target.Send(context.Background(), websocket.MessageText, []byte(p))
			if err != nil || r.Queued != job.Members {
				return fmt.Errorf("sending: %+v, %w", r, err)
			}
		}
	}
	return nil
}

// A crowd is the members of a process.
type crowd struct {
	job                  task
	work                 sync.WaitGroup
	received, disordered atomic.Int64

	mu     sync.Mutex
	errors []string
}

// enter connects the members.
func (c *crowd) enter(url string, h *hub.Hub[none]) error {
	for range c.job.Members {
		conn, _, err := websocket.Dial(context.Background(), url)
		if err != nil {
			return err
		}
		c.work.Go(func() { c.read(conn) })
	}
	for h.Count().Connections < c.job.Members {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// read counts what a member receives, until the hub closes the connection.
func (c *crowd) read(conn *websocket.Conn) {
	next := make([][2]int, c.job.Processes)
	for m, err := range conn.Messages(context.Background()) {
		if err != nil {
			if websocket.CloseStatus(err) != websocket.StatusGoingAway {
				c.fail(err)
			}
			return
		}
		var process, topic, i int
		if _, err := fmt.Sscan(string(m.Data), &process, &topic, &i); err != nil {
			c.fail(err)
			return
		}
		if next[process][topic] != i {
			c.disordered.Add(1)
		}
		next[process][topic] = i + 1
		c.received.Add(1)
	}
}

func (c *crowd) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.errors, err.Error()) {
		c.errors = append(c.errors, err.Error())
	}
}

// awaitAll waits until as much has been received as there is to come, or long enough.
func (c *crowd) awaitAll() {
	want := int64(c.job.Members * c.job.Processes * 2 * c.job.Messages)
	for deadline := time.Now().Add(2 * patience); c.received.Load() < want && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *crowd) report() report {
	c.work.Wait()
	return report{int(c.received.Load()), int(c.disordered.Load()), c.errors}
}
