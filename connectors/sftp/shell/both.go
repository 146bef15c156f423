package shell

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Started is what came of Start.
type Started struct {
	// Tar goes on where the listing ended. It is nil where there is none, for the
	// reason of TarErr, and where the listing broke: then TarErr is nil, and one may
	// be had by itself.
	Tar    *Tar
	TarErr error
	Listing
	ListErr error
}

// Start lists as Find does, and then is a tar, as of StartTar: in one command, since
// a server runs the user's start files for each, and those may take longer than the
// listing. The context and the watch are of the listing.
func Start(ctx context.Context, conn Opener, paths []string, all bool, each func(*Record) error, watch *Watch) Started {
	command := commandBothHere
	if all {
		command = commandBothAll
	}
	p, err := run(conn, command)
	if err != nil {
		return Started{TarErr: err}
	}
	defer context.AfterFunc(ctx, p.stop)()
	unwatch := watch.add(p.silent)
	t := newTar(p)
	said := p.said()
	complaints := make(chan complaints, 1)
	t.running.Go(func() { complaints <- p.complaints(said) })
	send := make(chan error, 1)
	t.running.Go(func() { send <- p.sendCounted(paths) })

	var s Started
	f := finder{in: t.in, p: p}
	shown := false
	if s.TarErr = t.find(); s.TarErr == nil {
		s.Listing, s.ListErr = f.read(func(r *Record) error {
			shown = true
			return each(r)
		})
	}
	if s.TarErr == nil && s.ListErr == nil {
		// What find complained of came before tar's own mark, which comes at once.
		mute := time.AfterFunc(muteAfter, p.mute)
		defer mute.Stop()
	} else {
		p.stop()
	}
	sendErr, words := <-send, <-complaints
	unwatch()
	switch {
	case s.TarErr != nil || s.ListErr != nil:
	case p.muted.Load():
		s.TarErr = fmt.Errorf("the error output does not come: %w", ErrUnfit)
	case sendErr != nil:
		s.ListErr = fmt.Errorf("send what to list: %w: %w", sendErr, ErrIncomplete)
	default:
		s.ListErr = f.judge(&s.Listing, words)
	}
	// Where nothing was shown, tar may have been given what was for find.
	if s.TarErr != nil || !shown || p.stopped.Load() || ctx.Err() != nil {
		p.stop()
		p.requests.Wait()
		return s
	}
	t.start(func() { t.listen(said) })
	s.Tar = t
	return s
}

// muteAfter is how long the error output may be behind the other.
const muteAfter = 5 * time.Second

// mute ends a process whose error output does not come.
func (p *process) mute() {
	p.muted.Store(true)
	p.stop()
}

// sendCounted sends what to start from, after the number of its bytes.
func (p *process) sendCounted(paths []string) error {
	b, err := ended(paths)
	if err != nil {
		p.stop()
		return err
	}
	_, err = p.Write(append(strconv.AppendInt(nil, int64(len(b)), 10), append([]byte{'\n'}, b...)...))
	return err
}
