package dumptool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"xvault/connectors"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// Open makes the connection with the server for one that a program made. It may
// talk with both sides before it returns; what it returns is closed by the relay. A
// nil connection without an error means that there is nothing more to be done. If it
// has a method Held() time.Duration, see connectors.Dialer, that is heeded.
type Open func(ctx context.Context, local net.Conn) (net.Conn, error)

// Dialing makes an Open that connects with an address and nothing more.
func Dialing(dialer connectors.Dialer, address string) Open {
	return func(ctx context.Context, _ net.Conn) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, ExplainDial(address, err)
		}
		return conn, nil
	}
}

// ExplainDial says why there is no connection with an address.
func ExplainDial(address string, err error) error {
	var done *job.Error
	var forbidden *connectors.ForbiddenAddressError
	var name *net.DNSError
	switch {
	case errors.As(err, &done):
		return done
	case errors.As(err, &forbidden):
		return job.Errorf(job.ConfigInvalid, "%s: %w", address, forbidden)
	case errors.As(err, &name):
		return job.Errorf(job.ConnectFailed, "the name in %q cannot be resolved; check the host's spelling and the worker's DNS: %w", address, sshconn.Quoted(name))
	default:
		return job.Errorf(job.ConnectFailed, "%s cannot be reached; check the address and the port, that the server listens there, and any firewall in between: %w", address, sshconn.Quoted(err))
	}
}

// RelayConfig says how a program reaches its server.
type RelayConfig struct {
	// Dir is a folder that nobody else can enter, for a socket. Empty means a port
	// of 127.0.0.1 in its place, for programs that need one; only processes of this
	// one's user are let in.
	Dir string
	// Name is the socket's name in a folder of its own below Dir. Default "socket".
	Name string
	// Open connects with the server. Required.
	Open Open
}

// Relay passes a program's connections on to its server. It is gone with Close,
// which has to be called.
type Relay struct {
	open     Open
	listener net.Listener
	folder   string   // of the socket; empty for a port
	name     string   // of the socket
	dir      *os.File // the folder, open; nil for a port
	clock    time.Time
	ctx      context.Context //nolint:containedctx // the relay's own lifetime
	cancel   context.CancelFunc
	running  sync.WaitGroup
	close    func() error // once

	mu    sync.Mutex
	links map[*link]bool
	ended time.Duration // when the last link did, by clock
	err   *job.Error
}

// maxLinks bounds how many connections a program has at one time.
const maxLinks = 32

// NewRelay starts to listen. The context's end is that of the relay.
func NewRelay(ctx context.Context, c RelayConfig) (*Relay, error) {
	r := &Relay{open: c.Open, links: map[*link]bool{}}
	r.clock = time.Now() //nolint:forbidigo // measures silence, decides nothing else
	if err := r.listen(ctx, c); err != nil {
		return nil, &job.Error{Code: job.Internal, Err: err, Message: fmt.Sprintf("The worker could not open a socket for the dump program: %v. Check WORKER_TEMP_DIR.", err)}
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	unhook := context.AfterFunc(r.ctx, r.hangUp)
	r.close = sync.OnceValue(func() error { defer unhook(); return r.end() })
	r.running.Go(r.accept)
	return r, nil
}

func (r *Relay) listen(ctx context.Context, c RelayConfig) error {
	config := &net.ListenConfig{}
	var err error
	if c.Dir == "" {
		r.listener, err = config.Listen(ctx, "tcp4", "127.0.0.1:0")
		return err
	}
	if r.folder, err = os.MkdirTemp(c.Dir, "s"); err != nil {
		return err
	}
	if r.dir, err = os.Open(r.folder); err == nil {
		if r.name = c.Name; r.name == "" {
			r.name = "socket"
		}
		r.listener, err = config.Listen(ctx, "unix", r.localAddr())
	}
	if err != nil {
		return errors.Join(err, r.removeFolder())
	}
	return nil
}

// localAddr is the socket as this process names it. The path of a socket may have no
// more than 107 bytes; that of an open folder is short wherever it is.
func (r *Relay) localAddr() string {
	return filepath.Join(descriptorPath(int(r.dir.Fd())), r.name)
}

func (r *Relay) removeFolder() error {
	if r.folder == "" {
		return nil
	}
	var err error
	if r.dir != nil {
		err = r.dir.Close()
	}
	return errors.Join(err, os.RemoveAll(r.folder))
}

// Folder is where the program finds its socket, Addr that socket. Both mean something
// to a program that is started with Command.Relay, and to nobody else. For a port Folder
// is empty, and Addr is host and port.
func (r *Relay) Folder() string {
	if r.folder == "" {
		return ""
	}
	return descriptorPath(relayFile)
}

// Addr is what the program connects to.
func (r *Relay) Addr() string {
	if r.folder == "" {
		return r.listener.Addr().String()
	}
	return filepath.Join(r.Folder(), r.name)
}

// Port is the number of the port of 127.0.0.1; 0 for a socket.
func (r *Relay) Port() int {
	if a, ok := r.listener.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// Err is why a connection could not be made or broke, the first time that one did:
// nil where they all ended in order, which a server may do too.
func (r *Relay) Err() *job.Error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *Relay) fail(err error) {
	e, ok := errors.AsType[*job.Error](err)
	if !ok {
		e = job.Errorf(job.ConnectFailed, "the connection with the server broke: %w", sshconn.Quoted(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && r.ctx.Err() == nil {
		r.err = e
	}
}

// silent is for how long nothing has come from the server.
func (r *Relay) silent() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	silent := time.Since(r.clock) - r.ended
	for l := range r.links {
		silent = min(silent, l.silent())
	}
	return silent
}

// Close ends all connections and waits for that.
func (r *Relay) Close() error { return r.close() }

func (r *Relay) end() error {
	r.cancel()
	r.hangUp()
	r.running.Wait()
	if err := r.removeFolder(); err != nil {
		return fmt.Errorf("remove the dump program's socket: %w", err)
	}
	return nil
}

// hangUp ends what listens and what is open.
func (r *Relay) hangUp() {
	_ = r.listener.Close() // nothing is lost
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.links {
		l.close()
	}
}

func (r *Relay) accept() {
	for {
		local, err := r.listener.Accept()
		if err != nil {
			if r.ctx.Err() == nil {
				r.fail(fmt.Errorf("accept: %w", err))
			}
			return
		}
		if !ownProcess(local) {
			_ = local.Close() // somebody else's
			continue
		}
		l := &link{relay: r, local: local}
		if !r.add(l) {
			_ = local.Close()
			continue
		}
		r.running.Go(l.run)
	}
}

func (r *Relay) add(l *link) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.links) >= maxLinks || r.ctx.Err() != nil {
		return false
	}
	r.links[l] = true
	return true
}

func (r *Relay) remove(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.links, l)
	r.ended = time.Since(r.clock)
}
