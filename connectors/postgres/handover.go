package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"xvault/connectors/dumptool"
)

// handover gives a program connections that are logged in: it talks to the program
// as a server that asks for no password, makes the connection itself, and then joins
// the two. So the program, which may be any version of libpq, needs neither the
// password nor TLS, and each way to log in that this worker knows works with each of
// them.
type handover struct {
	server *server

	mu   sync.Mutex
	said []*pgconn.PgError // the first and the last of maxSaid errors
	all  int               // how many there were
}

// maxSaid bounds how many errors of a server are kept.
const maxSaid = 100

// socketPort is part of a socket's name, and nothing else.
const socketPort = "5432"

// relay starts to listen for a program, which is to connect with connString.
func (h *handover) relay(ctx context.Context, dir string) (*dumptool.Relay, error) {
	return dumptool.NewRelay(ctx, dumptool.RelayConfig{Dir: dir, Name: ".s.PGSQL." + socketPort, Open: h.open})
}

// connString is for a program's command line. It holds no secret.
func (s *server) connString(r *dumptool.Relay, database string) string {
	return strings.Join([]string{
		"host=" + quoteValue(r.Folder()), "port=" + socketPort, "dbname=" + quoteValue(database), "user=" + quoteValue(s.config.Username),
		"sslmode=disable", "gssencmode=disable", "passfile=/dev/null", "application_name=xvault",
	}, " ")
}

// last is the last error that the server told the program; nil where there is none.
func (h *handover) last() *pgconn.PgError {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.said) == 0 {
		return nil
	}
	return h.said[len(h.said)-1]
}

// errors are those that the server told the program; all says that there were no more.
func (h *handover) errors() (said []*pgconn.PgError, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.said), h.all == len(h.said)
}

func (h *handover) hear(e *pgconn.PgError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all++
	if len(h.said) == maxSaid {
		h.said = h.said[:maxSaid-1]
	}
	h.said = append(h.said, e)
}

// open implements dumptool.Open.
func (h *handover) open(ctx context.Context, local net.Conn) (net.Conn, error) {
	startup, err := greet(local)
	if err != nil || startup == nil {
		return nil, err
	}
	l := login{database: startup.Parameters["database"], params: map[string]string{}}
	for name, value := range startup.Parameters {
		if !slices.Contains([]string{"user", "database", "replication"}, name) && !strings.HasPrefix(name, "_pq_.") {
			l.params[name] = value
		}
	}
	found, err := h.server.connect(ctx, l)
	if err != nil {
		// So that the program ends with it; why is told by the relay.
		refusal := &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "08001", Message: "the worker could not connect"}
		return nil, errors.Join(err, send(local, refusal))
	}
	conn, err := h.join(ctx, local, startup, found)
	if err != nil {
		return nil, errors.Join(err, found.raw.Close())
	}
	return conn, nil
}

// greet reads how the program introduces itself; nil where it has nothing to say. It
// is told that there is no encryption, which a socket does not need.
func greet(local net.Conn) (*pgproto3.StartupMessage, error) {
	backend := pgproto3.NewBackend(local, local)
	for range 4 {
		m, err := backend.ReceiveStartupMessage()
		if err != nil {
			return nil, nil //nolint:nilerr,nilnil // it hung up, and says why itself
		}
		switch m := m.(type) {
		case *pgproto3.StartupMessage:
			return m, nil
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			if _, err := local.Write([]byte{'N'}); err != nil {
				return nil, nil //nolint:nilerr,nilnil // as above
			}
		default:
			return nil, nil //nolint:nilnil // a request to cancel: the program ends anyway
		}
	}
	return nil, errors.New("the dump program does not introduce itself")
}

// join tells the program that it is logged in, with all that the server said of
// itself, and gives the connection as it is from now on.
func (h *handover) join(ctx context.Context, local net.Conn, startup *pgproto3.StartupMessage, s *session) (net.Conn, error) {
	taken, err := h.takeOver(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	messages := []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}
	if older := olderProtocol(startup); older != nil {
		messages = append([]pgproto3.BackendMessage{older}, messages...)
	}
	for name, value := range taken.ParameterStatuses {
		messages = append(messages, &pgproto3.ParameterStatus{Name: name, Value: value})
	}
	messages = append(messages, &pgproto3.ReadyForQuery{TxStatus: taken.TxStatus})
	if err := send(local, messages...); err != nil {
		return nil, err
	}
	return &overheard{Conn: taken.Conn, raw: s.raw, hear: h.hear}, nil
}

// takeOver gets the connection back from the library, which may have begun to read
// ahead while it logged in: what it read, and what it is about to read, would be missing.
func (h *handover) takeOver(ctx context.Context, s *session) (*pgconn.HijackedConn, error) {
	ctx, cancel := context.WithTimeout(ctx, h.server.timeout)
	defer cancel()
	stop := s.raw.closeWith(ctx)
	defer stop()
	if err := s.SyncConn(ctx); err != nil {
		return nil, err
	}
	return s.Hijack()
}

// olderProtocol answers a program that asks for a later version of the protocol, or
// for extensions of it.
func olderProtocol(startup *pgproto3.StartupMessage) pgproto3.BackendMessage {
	var options []string
	for name := range startup.Parameters {
		if strings.HasPrefix(name, "_pq_.") {
			options = append(options, name)
		}
	}
	if startup.ProtocolVersion == pgproto3.ProtocolVersion30 && options == nil {
		return nil
	}
	return &pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 0, UnrecognizedOptions: options}
}

func send(to net.Conn, messages ...pgproto3.BackendMessage) error {
	var buf []byte
	for _, m := range messages {
		var err error
		if buf, err = m.Encode(buf); err != nil {
			return fmt.Errorf("answer the dump program: %w", err)
		}
	}
	if _, err := to.Write(buf); err != nil {
		return fmt.Errorf("answer the dump program: %w", err)
	}
	return nil
}
