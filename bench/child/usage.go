package child

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process has used of what there is no giving back.
type Usage struct {
	CPU    time.Duration // in the program and in the kernel
	Allocs uint64
}

// Sub returns what was used since before.
func (u Usage) Sub(before Usage) Usage {
	return Usage{u.CPU - before.CPU, u.Allocs - before.Allocs}
}

// CurrentUsage returns what this process has used.
func CurrentUsage() (Usage, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return Usage{}, os.NewSyscallError("getrusage", err)
	}
	return Usage{time.Duration(r.Utime.Nano() + r.Stime.Nano()), m.Mallocs}, nil
}

// A profile is written of what is done between two questions.
type profile struct {
	name string // "": none is
	file *os.File
}

// usage is CurrentUsage, and starts or ends the profile.
func (p *profile) usage() (any, error) {
	switch {
	case p.file != nil:
		pprof.StopCPUProfile()
		err := p.file.Close()
		p.name, p.file = "", nil
		if err != nil {
			return nil, err
		}
	case p.name != "":
		f, err := os.Create(p.name)
		if err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		p.file = f
	}
	return CurrentUsage()
}

// Memory is what a process has of it, in bytes. That of the kernel's sockets is not in it.
type Memory struct {
	Heap  int
	Stack int
	RSS   int // resident, all in all; known on Linux only
}

// Each returns how much more there is than before for each of n connections.
func (m Memory) Each(before Memory, n int) Memory {
	return Memory{(m.Heap - before.Heap) / n, (m.Stack - before.Stack) / n, (m.RSS - before.RSS) / n}
}

func currentMemory() (Memory, error) {
	for range 5 {
		runtime.GC()
		time.Sleep(20 * time.Millisecond) // what was freed is swept, and stacks shrink
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	memory := Memory{Heap: int(m.HeapAlloc), Stack: int(m.StackInuse)}
	statm, err := os.ReadFile("/proc/self/statm")
	if errors.Is(err, fs.ErrNotExist) {
		return memory, nil
	}
	if err != nil {
		return memory, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	memory.RSS = pages * os.Getpagesize()
	return memory, err
}
