package shell

import (
	"context"
	"fmt"
	"strconv"
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
// listing. The context is of the listing.
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
	t := newTar(p, watch)
	said := p.said()
	complaints := make(chan complaints, 1)
	t.running.Go(func() { complaints <- p.complaints(said) })
	send := make(chan error, 1)
	t.running.Go(func() { send <- p.sendCounted(paths) })

	var s Started
	f := finder{in: t.in, p: p}
	if s.TarErr = t.find(); s.TarErr == nil {
		s.Listing, s.ListErr = f.read(each)
	}
	usable := s.TarErr == nil && s.ListErr == nil
	if !usable {
		p.stop()
	}
	sendErr, words := <-send, <-complaints
	unwatch()
	switch {
	case !usable:
		p.requests.Wait()
		return s
	case sendErr != nil:
		s.ListErr = fmt.Errorf("send what to list: %w: %w", sendErr, ErrIncomplete)
	default:
		s.ListErr = f.judge(&s.Listing, words)
	}
	t.start(func() { t.listen(said) })
	s.Tar = t
	return s
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
