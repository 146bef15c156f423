package sftp

import "github.com/prometheus/procfs"

// processors tells how busy those of this machine are, whoever keeps them so.
type processors struct {
	known bool
	last  procfs.CPUStat
}

// busy is the share of their time in which they had something to do since the call
// before; 0 at the first one, and where the machine does not tell.
func (p *processors) busy() float64 {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0
	}
	stat, err := fs.Stat()
	if err != nil {
		return 0
	}
	before, known := p.last, p.known
	p.last, p.known = stat.CPUTotal, true
	if !known {
		return 0
	}
	return busyShare(before, stat.CPUTotal)
}

// busyShare is that of the time between two looks; 0 where none has passed.
func busyShare(before, after procfs.CPUStat) float64 {
	all := allTimes(after) - allTimes(before)
	if all <= 0 {
		return 0
	}
	idle := after.Idle + after.Iowait - before.Idle - before.Iowait
	return 1 - max(0, min(1, idle/all))
}

func allTimes(c procfs.CPUStat) float64 {
	return c.User + c.Nice + c.System + c.Idle + c.Iowait + c.IRQ + c.SoftIRQ + c.Steal
}
