package mysql

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"

	"xvault/connectors/dumptool"
	"xvault/connectors/sshconn"
	"xvault/connectors/sshexec"
	"xvault/connectors/sshtunnel"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// # The ssh host's own programs
//
// Where the SSH server forwards nothing, or it was asked for, the client and the dump
// program of that machine connect with the server. The option file that holds the
// password is what they read from their standard input: see package sshexec.

// remote implements asker with the client program of the ssh host.
type remote struct {
	*reach
	conn   *sshconn.Conn
	client tool
}

// optionInput is the option file's name over there.
const optionInput = "/dev/stdin"

// shutOut reports whether the SSH server let nothing through, and there is another way.
func (r *reach) shutOut() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.config.SSH != nil && r.config.SSH.Dump == sshtunnel.DumpAuto && r.tunnel != nil && r.tunnel.Refused()
}

// fallBack takes the ssh host's programs, as the tunnel leads nowhere.
func (r *reach) fallBack(ctx context.Context, why error) (*server, error) {
	if r.config.TLS.verifies() {
		return nil, sshtunnel.NoOther(why, errors.New("they are not told which certificates to trust (tls "+string(r.config.TLS)+")"))
	}
	s, err := r.connectRemote(ctx)
	switch {
	case err == nil:
		r.env.Log.Info("the ssh server forwards no connection to the database, so the ssh host's own programs dump it", slog.String("client", s.remote.client.String()))
	case errors.Is(err, sshexec.ErrNoPrograms):
		err = sshtunnel.NoOther(why, err)
	}
	return s, err
}

// connectRemote finds the client over there, and asks whose server it is.
func (r *reach) connectRemote(ctx context.Context) (*server, error) {
	tunnel, err := r.tunneled(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.options.ConnectTimeout,
		job.Errorf(job.ConnectFailed, "the ssh host's programs did not reach the database within %v", r.options.ConnectTimeout))
	defer cancel()
	m := &remote{reach: r, conn: tunnel.Conn}
	clients, err := m.find(ctx, clientPrograms)
	if err != nil {
		return nil, err
	}
	if len(clients) == 0 {
		return nil, job.Errorf(job.ConfigInvalid, "the ssh host has no client program for the database (mariadb or mysql), with which the database is asked what there is: install mariadb-client, or MySQL's own client, there")
	}
	m.client = clients[0]
	s := &server{asker: m, remote: m}
	if err := s.greet(ctx); err != nil {
		return nil, err
	}
	if r.config.TLS.must() && !s.secure {
		return nil, job.Errorf(job.ConnectFailed, "the connection between the ssh host and the database is not encrypted, which tls %q asks for; turn TLS on at the server, or set tls to preferred or disabled", r.config.TLS)
	}
	return s, nil
}

// find lists programs of some names.
func (m *remote) find(ctx context.Context, names []string) (found []tool, err error) {
	for _, name := range names {
		programs, err := sshexec.Find(ctx, m.conn, name, m.options.Folders...)
		if err != nil {
			return nil, err
		}
		found = append(found, toolsOf(programs)...)
	}
	return found, nil
}

func (m *remote) dumpTools(ctx context.Context) ([]tool, error) { return m.find(ctx, dumpPrograms) }

// close implements asker: each question has a connection of its own.
func (*remote) close() {}

// ask implements asker.
func (m *remote) ask(ctx context.Context, statement string, limit int) ([][]string, error) {
	input, err := m.input(m.client.flavor, func(o *optionFile) {
		o.set("local-infile", "0")
		o.set("loose-binary-mode", "1") // no commands of the client
	})
	if err != nil {
		return nil, err
	}
	answer, err := sshexec.Ask(ctx, m.conn, sshexec.Command{
		Program: m.client.path, Args: []string{
			"--defaults-file=" + optionInput, // has to be the first
			"--batch", "--skip-column-names", "--no-auto-rehash", "--default-character-set=utf8mb4", "--execute=" + statement,
		},
		What: "asking the database about itself", Input: input, Secrets: []secret.Text{m.env.Credential.Password}, Patience: m.options.Patience, Explain: explain,
	})
	if err != nil {
		return nil, err
	}
	return batch(string(answer), limit)
}

// dump starts the dump program.
func (m *remote) dump(ctx context.Context, t tool, d *database) (*sshexec.Output, error) {
	input, err := m.input(t.flavor, func(o *optionFile) { dumpOptions(o, d) })
	if err != nil {
		return nil, err
	}
	return sshexec.Start(ctx, m.conn, sshexec.Command{
		Program: t.path, Args: m.dumpArgs(optionInput, t.flavor, d), What: whatDump(d), Input: input,
		Secrets: []secret.Text{m.env.Credential.Password}, Check: dumptool.Trailer(trailerBytes, wholeDump),
		Patience: m.options.Patience, Explain: explain,
	})
}

// input is the option file for a program over there.
func (m *remote) input(of flavor, more func(*optionFile)) ([]byte, error) {
	return m.optionText(func(o *optionFile) {
		if m.config.Socket != "" {
			o.set("protocol", "SOCKET")
			o.set("socket", m.config.Socket)
		} else {
			o.set("protocol", "TCP")
			o.set("host", m.config.Host)
			o.set("port", strconv.Itoa(m.config.Port))
		}
		m.encryption(o, of)
		more(o)
	})
}

// encryption asks for TLS as the configuration has it; whether it is in use is asked
// afterwards.
func (m *remote) encryption(o *optionFile, of flavor) {
	if of == oracle {
		mode := map[TLSMode]string{TLSDisabled: "DISABLED", TLSPreferred: "PREFERRED"}[m.config.TLS]
		if mode == "" {
			mode = "REQUIRED"
		}
		o.set("ssl-mode", mode)
		o.set("loose-enable-cleartext-plugin", "0")
		return
	}
	o.set("loose-ssl-verify-server-cert", "0")
	switch m.config.TLS {
	case TLSDisabled:
		o.set("ssl", "0")
	case TLSPreferred: // what the client does by itself
	default:
		o.set("ssl", "1")
	}
}

// batch reads what the client prints: a line for each row, with tabs between, and these
// and backslashes escaped within.
func batch(text string, limit int) ([][]string, error) {
	if text == "" {
		return nil, nil
	}
	text, ended := strings.CutSuffix(text, "\n")
	if !ended {
		return nil, job.Errorf(job.DumpFailed, "the answer of the ssh host's client program is cut off")
	}
	unescape := strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\0`, "\x00")
	var rows [][]string
	for line := range strings.SplitSeq(text, "\n") {
		if len(rows) >= limit {
			return nil, tooMany(limit)
		}
		row := strings.Split(line, "\t")
		for i := range row {
			row[i] = unescape.Replace(row[i])
		}
		rows = append(rows, row)
	}
	return rows, nil
}
