package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"slices"
	"strconv"
	"strings"
	"time"

	"xvault/internal/secret"
)

// email is a mail server and who gets mail from it.
type email struct {
	Host     string      `json:"host"`
	Port     int         `json:"port"`
	TLS      string      `json:"tls"`
	Username string      `json:"username"`
	Password secret.Text `json:"password"`
	From     string      `json:"from"`
	To       []string    `json:"to"`
	out      outbound
}

// How a mail server is spoken to.
const (
	tlsExplicit = "explicit" // STARTTLS, which it must offer
	tlsImplicit = "implicit"
	tlsNone     = "none"
)

const maxRecipients = 20

func (e *email) check() []Fault {
	var faults []Fault
	if e.TLS == "" {
		e.TLS = tlsExplicit
	}
	if !slices.Contains([]string{tlsExplicit, tlsImplicit, tlsNone}, e.TLS) {
		faults = append(faults, Fault{"tls", "it must be explicit, implicit or none"})
	}
	if e.Port == 0 {
		e.Port = map[string]int{tlsExplicit: 587, tlsImplicit: 465, tlsNone: 25}[e.TLS]
	}
	if e.Host == "" || len(e.Host) > 253 || strings.ContainsFunc(e.Host, notPrintable) || strings.ContainsAny(e.Host, "/@[]") {
		faults = append(faults, Fault{"host", "it is required: the name or address of a mail server"})
	}
	if e.Port < 1 || e.Port > 65535 {
		faults = append(faults, Fault{"port", "it must be from 1 to 65535"})
	}
	if (e.Username == "") != e.Password.IsZero() {
		faults = append(faults, Fault{"password", "username and password go together"})
	}
	if len(e.Username) > 300 || len(e.Password.Reveal()) > 1000 || strings.ContainsAny(e.Username+e.Password.Reveal(), "\r\n\x00") {
		faults = append(faults, Fault{"username", "user name or password is too long, or holds a line end"})
	}
	return append(faults, e.checkAddresses()...)
}

func (e *email) checkAddresses() []Fault {
	var faults []Fault
	if _, err := address(e.From); err != nil {
		faults = append(faults, Fault{"from", "it is required: the address of the sender, as in xvault@example.com"})
	}
	if len(e.To) == 0 || len(e.To) > maxRecipients {
		faults = append(faults, Fault{"to", fmt.Sprintf("it is required: 1 to %d addresses", maxRecipients)})
	}
	for i, to := range e.To {
		if _, err := address(to); err != nil {
			faults = append(faults, Fault{fmt.Sprintf("to[%d]", i), "it is not the address of a mailbox"})
		}
	}
	return faults
}

// address reads a mailbox, "a@example.com" or "Name <a@example.com>".
func address(text string) (*mail.Address, error) {
	if len(text) > 400 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, errors.New("not an address")
	}
	a, err := mail.ParseAddress(text)
	if err != nil || strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }) {
		return nil, errors.New("not an address")
	}
	return a, nil
}

// domain is that of the sender: what this hub is called where mail is concerned.
func domain(a *mail.Address) string { return a.Address[strings.LastIndexByte(a.Address, '@')+1:] }

func (e *email) sender(o outbound) sender {
	e.out = o
	return e
}

func (e *email) send(ctx context.Context, m Message) error {
	body, err := e.message(m)
	if err != nil {
		return err
	}
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	// The whole conversation is bounded by the attempt's end.
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	c, err := smtp.NewClient(conn, e.Host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	err = e.converse(c, body)
	if err == nil {
		// Taken is taken, whatever the server says to the goodbye.
		_ = c.Quit()
	}
	_ = c.Close() // Quit may have closed it
	return err
}

func (e *email) connect(ctx context.Context) (net.Conn, error) {
	at := net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
	if e.TLS == tlsNone {
		return e.out.plain(ctx, "tcp", at)
	}
	conn, err := e.out.dial.DialContext(ctx, "tcp", at)
	if err != nil || e.TLS != tlsImplicit {
		return conn, err
	}
	secured := tls.Client(conn, e.out.tls(e.Host))
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

func (e *email) converse(c *smtp.Client, body []byte) error {
	from, err := address(e.From)
	if err != nil {
		return refusal("The sender's address is not valid.")
	}
	if err := c.Hello(domain(from)); err != nil {
		return err
	}
	if e.TLS == tlsExplicit {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return refusal("The mail server offers no STARTTLS there.")
		}
		if err := c.StartTLS(e.out.tls(e.Host)); err != nil {
			return err
		}
	}
	if e.Username != "" {
		if err := c.Auth(&login{e.Username, e.Password, e.TLS}); err != nil {
			return err
		}
	}
	if err := c.Mail(from.Address); err != nil {
		return err
	}
	for _, text := range e.To {
		to, err := address(text)
		if err != nil {
			return refusal("A recipient's address is not valid.")
		}
		if err := c.Rcpt(to.Address); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	return w.Close()
}

// message is the mail: plain text, and nothing in its headers as someone typed
// it, so that no line end gets there.
func (e *email) message(m Message) ([]byte, error) {
	from, err := address(e.From)
	if err != nil {
		return nil, refusal("The sender's address is not valid.")
	}
	recipients := make([]string, len(e.To))
	for i, text := range e.To {
		to, err := address(text)
		if err != nil {
			return nil, refusal("A recipient's address is not valid.")
		}
		recipients[i] = to.String()
	}
	var b bytes.Buffer
	header := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	header("From", from.String())
	header("To", strings.Join(recipients, ",\r\n "))
	header("Subject", mime.QEncoding.Encode("utf-8", "[xVault] "+m.Title))
	header("Date", m.Now.Format(time.RFC1123Z))
	// The same in every attempt, so that mail systems may drop a second copy.
	header("Message-ID", "<"+m.ID+"@"+domain(from)+">")
	header("Auto-Submitted", "auto-generated")
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	if _, err := q.Write([]byte(strings.ReplaceAll(m.Text(), "\n", "\r\n") + "\r\n")); err != nil {
		return nil, fmt.Errorf("encode mail: %w", err)
	}
	if err := q.Close(); err != nil {
		return nil, fmt.Errorf("encode mail: %w", err)
	}
	return b.Bytes(), nil
}

// login is PLAIN, or LOGIN for servers that know nothing better.
type login struct {
	username string
	password secret.Text
	tls      string
}

func (l *login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS && l.tls != tlsNone {
		return "", nil, refusal("The mail server would get the password in clear.")
	}
	if slices.Contains(server.Auth, "PLAIN") || !slices.Contains(server.Auth, "LOGIN") {
		return "PLAIN", []byte("\x00" + l.username + "\x00" + l.password.Reveal()), nil
	}
	return "LOGIN", nil, nil
}

func (l *login) Next(question []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	switch strings.ToLower(strings.TrimRight(string(question), ": \x00")) {
	case "username", "user name":
		return []byte(l.username), nil
	case "password":
		return []byte(l.password.Reveal()), nil
	}
	return nil, refusal("The mail server asks for something else than user name and password.")
}
