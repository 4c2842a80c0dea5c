//go:build external

package redisbroker_test

import (
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidewire/websocket/adapters/internal/brokertest"
	"github.com/tidewire/websocket/adapters/redisbroker"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/hub/hubtest"
)

// newCluster starts a cluster of that many masters.
func newCluster(t *testing.T, masters int) (addrs []string) {
	t.Helper()
	var nodes []*redis.Client
	for i := range masters {
		bus, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(bus)
		s := newServer(t, "--dir", t.TempDir(), "--cluster-enabled", "yes", "--cluster-port", port, "--cluster-node-timeout", "2000")
		node := s.client(t)
		first, last := i*16384/masters, (i+1)*16384/masters-1
		if err := node.Do(t.Context(), "cluster", "set-config-epoch", i+1).Err(); err != nil {
			t.Fatal(err)
		}
		if err := node.ClusterAddSlotsRange(t.Context(), first, last).Err(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			_, main, _ := net.SplitHostPort(s.addr)
			if err := nodes[0].Do(t.Context(), "cluster", "meet", "127.0.0.1", main, port).Err(); err != nil {
				t.Fatal(err)
			}
		}
		nodes, addrs = append(nodes, node), append(addrs, s.addr)
	}
	for _, node := range nodes {
		awaitInfo(t, node, "cluster_state:ok", fmt.Sprint("cluster_known_nodes:", masters), fmt.Sprint("cluster_size:", masters))
	}
	return addrs
}

// awaitInfo waits until CLUSTER INFO says all that.
func awaitInfo(t *testing.T, node *redis.Client, want ...string) {
	t.Helper()
	var info string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		info = node.ClusterInfo(t.Context()).Val()
		missing := false
		for _, line := range want {
			missing = missing || !strings.Contains(info, line)
		}
		if !missing {
			return
		}
	}
	t.Fatalf("there is no cluster: %s", info)
}

func clusterClient(t *testing.T, addrs []string) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	t.Cleanup(func() { client.Close() })
	return client
}

func TestCluster(t *testing.T) {
	for _, masters := range []int{1, 3} {
		addrs := newCluster(t, masters)
		for _, sharded := range []bool{false, true} {
			t.Run(fmt.Sprintf("masters=%d/sharded=%t", masters, sharded), func(t *testing.T) {
				hubtest.TestBroker(t, func(t *testing.T) (a, b hub.Broker) {
					o := redisbroker.Options{Prefix: rand.Text(), Sharded: sharded}
					return redisbroker.New(clusterClient(t, addrs), o), redisbroker.New(clusterClient(t, addrs), o)
				}, nil, nil)
			})
		}
	}
}

// When the slot of the Prefix moves to another node, so does the Broker.
func TestSlotMoves(t *testing.T) {
	addrs := newCluster(t, 3)
	o := redisbroker.Options{Prefix: rand.Text(), Sharded: true}
	a := brokertest.Start(t, redisbroker.New(clusterClient(t, addrs), o))
	b := brokertest.Start(t, redisbroker.New(clusterClient(t, addrs), o))
	b.Subscribe(t, "all")
	if err := a.Publish(t, "before"); err != nil {
		t.Fatal(err)
	}
	brokertest.Want(t, b.Heard, "before")

	moveSlot(t, addrs, "{"+o.Prefix+"}")
	brokertest.Want(t, b.Gaps, "")
	if err := a.Publish(t, "after"); err != nil {
		t.Fatal(err)
	}
	brokertest.Want(t, b.Heard, "after")
}

// moveSlot moves the slot of a key to another node.
func moveSlot(t *testing.T, addrs []string, key string) {
	t.Helper()
	client := clusterClient(t, addrs)
	slot := client.ClusterKeySlot(t.Context(), key).Val()
	from, err := client.MasterForKey(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	to := clientOf(t, &redis.Options{Addr: addrs[0]})
	if from.Options().Addr == addrs[0] {
		to = clientOf(t, &redis.Options{Addr: addrs[1]})
	}
	fromID, toID := from.ClusterMyID(t.Context()).Val(), to.ClusterMyID(t.Context()).Val()
	for _, step := range []struct {
		node      *redis.Client
		state, id string
	}{{to, "importing", fromID}, {from, "migrating", toID}, {to, "node", toID}, {from, "node", toID}} {
		if err := step.node.Do(t.Context(), "cluster", "setslot", slot, step.state, step.id).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
