package connectors_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"xvault/connectors"
)

func TestDialerChecksWhatANameResolvesTo(t *testing.T) {
	t.Parallel()
	dialer := connectors.NewDialer(connectors.DialerConfig{RefusePrivate: true})
	_, err := dialer.DialContext(t.Context(), "tcp", "localhost:9")
	if _, ok := errors.AsType[*connectors.ForbiddenAddressError](err); !ok {
		t.Errorf("localhost: %v", err)
	}
}

func TestDialerConnects(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := connectors.NewDialer(connectors.DialerConfig{}).DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}
