package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/connectors/sftp/wire"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
	"xvault/internal/secret"
)

const (
	// filesAtOnce is how many files are being opened at most, and as many may be being read.
	// When half of them are open, others follow in one go, so that requests and answers
	// share packets. It is the cheapest of 32, 64, 128 and 400, by 15 % of the last.
	filesAtOnce = 64
	// readLength is the longest read that OpenSSH serves.
	readLength = 255 << 10
)

func readyToRead(ctx context.Context, o order, files []knownFile) (readyWork, error) {
	pin, err := sshconn.ParsePin(o.HostKey)
	if err != nil {
		return readyWork{}, err
	}
	conn, _, err := sshconn.Connect(ctx, sshconn.Config{
		Host: o.Host, Port: o.Port, Username: o.User, Pins: []sshconn.Pin{pin},
		Env: connectors.Env{Credential: job.Credential{Type: "private_key", PrivateKey: secret.New(o.Key)}},
	})
	if err != nil {
		return readyWork{}, err
	}
	stop := conn.EndWith(ctx)
	client, err := startSFTP(conn)
	if err != nil {
		stop()
		return readyWork{}, errors.Join(err, conn.Close())
	}
	return readyWork{
		do: func() (bytes, _ int64, err error) {
			bytes, err = readAll(client, files)
			return bytes, 0, err
		},
		end: func() error {
			stop()
			return errors.Join(client.Close(), conn.Close())
		},
	}, nil
}

func startSFTP(conn *sshconn.Conn) (*wire.Client, error) {
	channel, requests, err := conn.OpenChannel("session", nil)
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests) // ends with the channel
	if ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); err != nil || !ok {
		return nil, errors.Join(err, errors.New("there is no SFTP"), channel.Close())
	}
	client := wire.Start(channel, nil)
	return client, client.Greeted()
}

// coming is a file on its way.
type coming struct {
	knownFile
	open, end *wire.Call
	reads     []*wire.Call
}

// readAll reads files in order, but for empty ones, of which there is nothing to be read.
func readAll(client *wire.Client, files []knownFile) (bytes int64, err error) {
	// All content goes to the same place, although a buffer belongs to its call: the one
	// goroutine that receives puts it there, and nobody looks.
	waste := make([]byte, readLength)
	var opening, reading []coming
	for len(files) > 0 || len(opening) > 0 || len(reading) > 0 {
		if len(opening) <= filesAtOnce/2 {
			for ; len(files) > 0 && len(opening) < filesAtOnce; files = files[1:] {
				if files[0].size > 0 {
					opening = append(opening, coming{knownFile: files[0], open: client.Open(files[0].path)})
				}
			}
		}
		if len(opening) > 0 {
			next := opening[0]
			opening = opening[1:]
			if err := next.read(client, waste); err != nil {
				return bytes, err
			}
			reading = append(reading, next)
		}
		if len(reading) > filesAtOnce || len(opening) == 0 && len(reading) > 0 {
			n, err := reading[0].arrive()
			if err != nil {
				return bytes, err
			}
			bytes, reading = bytes+n, reading[1:]
		}
	}
	return bytes, nil
}

// read waits until the file is open and asks for all of it.
func (c *coming) read(client *wire.Client, into []byte) error {
	handle, err := c.open.Handle()
	if err != nil {
		return fmt.Errorf("open %s: %w", c.path, err)
	}
	for at := int64(0); at < c.size; at += readLength {
		c.reads = append(c.reads, client.Read(handle, at, into[:min(c.size-at, readLength)]))
	}
	c.end = client.CloseHandle(handle)
	return nil
}

func (c *coming) arrive() (bytes int64, err error) {
	for _, call := range c.reads {
		n, err := call.Data()
		if err != nil {
			return bytes, fmt.Errorf("read %s: %w", c.path, err)
		}
		bytes += int64(n)
	}
	if bytes != c.size {
		return bytes, fmt.Errorf("read %s: %d bytes came of %d", c.path, bytes, c.size)
	}
	if err := c.end.Status(); err != nil {
		return bytes, fmt.Errorf("close %s: %w", c.path, err)
	}
	return bytes, nil
}
