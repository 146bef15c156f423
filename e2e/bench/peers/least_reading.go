package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/connectors/sftp/wire"
	"xvault/connectors/sshconn"
	"xvault/internal/heap"
	"xvault/internal/job"
	"xvault/internal/secret"
)

const (
	// filesAtOnce is how many files are being opened, and as many are being read.
	filesAtOnce = 400
	// readLength is the longest read that OpenSSH serves.
	readLength = 255 << 10
)

func readyToRead(ctx context.Context, o order, files []knownFile) (do, end func() error, err error) {
	heap.ForArchives()
	pin, err := sshconn.ParsePin(o.HostKey)
	if err != nil {
		return nil, nil, err
	}
	conn, _, err := sshconn.Connect(ctx, sshconn.Config{
		Host: o.Host, Port: o.Port, Username: o.User, Pins: []sshconn.Pin{pin},
		Env: connectors.Env{Credential: job.Credential{Type: "private_key", PrivateKey: secret.New(o.Key)}},
	})
	if err != nil {
		return nil, nil, err
	}
	client, err := startSFTP(conn)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	end = func() error { return errors.Join(client.Close(), conn.Close()) }
	return func() error { return readAll(client, files) }, end, nil
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
	open  *wire.Call
	reads []*wire.Call
}

// readAll reads files in order.
func readAll(client *wire.Client, files []knownFile) error {
	// All content goes to the same place: one goroutine puts it there, nobody looks.
	waste := make([]byte, readLength)
	var opening, reading []coming
	for len(files) > 0 || len(opening) > 0 || len(reading) > 0 {
		for ; len(files) > 0 && len(opening) < filesAtOnce; files = files[1:] {
			opening = append(opening, coming{knownFile: files[0], open: client.Open(files[0].path)})
		}
		if len(opening) > 0 {
			next := opening[0]
			opening = opening[1:]
			handle, err := next.open.Handle()
			if err != nil {
				return fmt.Errorf("open %s: %w", next.path, err)
			}
			for at := int64(0); at < next.size; at += readLength {
				next.reads = append(next.reads, client.Read(handle, at, waste[:min(next.size-at, readLength)]))
			}
			client.CloseHandle(handle)
			reading = append(reading, next)
		}
		if len(reading) > filesAtOnce || len(opening) == 0 && len(reading) > 0 {
			if err := reading[0].arrive(); err != nil {
				return err
			}
			reading = reading[1:]
		}
	}
	return nil
}

func (c *coming) arrive() error {
	var got int64
	for _, call := range c.reads {
		n, err := call.Data()
		if err != nil {
			return fmt.Errorf("read %s: %w", c.path, err)
		}
		got += int64(n)
	}
	if got != c.size {
		return fmt.Errorf("read %s: %d bytes came of %d", c.path, got, c.size)
	}
	return nil
}
