package worker

import (
	"crypto/tls"
	"net/http"
	"testing"
)

func TestDefaultPublicURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		listen, public, hub string
		secure, plain       bool
		want                string
	}{
		{listen: "127.0.0.1:81", hub: "http://127.0.0.1:80", want: "http://127.0.0.1:81"},
		{listen: ":81", hub: "http://localhost:80", want: "http://127.0.0.1:81"},
		{listen: "0.0.0.0:81", hub: "https://hub.example.net", want: ""},
		{listen: "127.0.0.1:81", hub: "https://hub.example.net", want: ""},
		{listen: "192.0.2.7:81", hub: "https://hub.example.net", want: ""}, // it would serve nobody there
		{listen: "192.0.2.7:81", hub: "https://hub.example.net", plain: true, want: "http://192.0.2.7:81"},
		{listen: "192.0.2.7:81", hub: "https://hub.example.net", secure: true, want: "https://192.0.2.7:81"},
		{listen: "[2001:db8::7]:81", hub: "https://hub.example.net", secure: true, want: "https://[2001:db8::7]:81"},
		{listen: ":81", public: "https://w.example.net", hub: "https://hub.example.net", want: "https://w.example.net"},
		{listen: "", public: "https://w.example.net", hub: "https://hub.example.net", want: ""},
	} {
		d := &downloads{cfg: Config{ListenAddr: c.listen, PublicURL: c.public, HubURL: c.hub, AllowPlainHTTP: c.plain}}
		if c.listen != "" {
			d.server = &http.Server{}
		}
		if c.secure {
			d.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if got := d.publicURL(); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
