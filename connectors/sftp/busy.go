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
	now := stat.CPUTotal
	idle := now.Idle + now.Iowait - p.last.Idle - p.last.Iowait
	all := sumOfTimes(now) - sumOfTimes(p.last)
	known := p.known
	p.known, p.last = true, now
	if !known || all <= 0 {
		return 0
	}
	return 1 - max(0, min(1, idle/all))
}

func sumOfTimes(c procfs.CPUStat) float64 {
	return c.User + c.Nice + c.System + c.Idle + c.Iowait + c.IRQ + c.SoftIRQ + c.Steal
}
