package worker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"xvault/internal/testenv"
)

// certificate writes a self-signed one with this name.
func certificate(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{keyFile: {Type: "EC PRIVATE KEY", Bytes: raw}, certFile: {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// servedAs asks the listener and gives the name in its certificate.
func servedAs(url string) (string, error) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
	}}
	resp, err := client.Get(url + "/healthz")
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.TLS == nil {
		return "", nil
	}
	return resp.TLS.PeerCertificates[0].Subject.CommonName, nil
}

func TestDownloadsOverTLS(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := t.TempDir()
	l.cfg.ListenAddr = "127.0.0.1:0"
	l.cfg.TLSCertFile, l.cfg.TLSKeyFile = certificate(t, dir, "first")
	l.start()
	l.waitCalls("heartbeat", 1)
	url := "https://" + l.worker.downloads.bound().Addr().String()
	if got := l.worker.downloads.publicURL(); got != url {
		t.Errorf("public URL %s, want %s", got, url)
	}
	for _, name := range []string{"first", "renewed"} {
		if name == "renewed" {
			certificate(t, dir, name)
		}
		testenv.Eventually(t, 2*time.Minute, func() bool {
			got, err := servedAs(url)
			return err == nil && got == name
		}, "it is not served with the certificate %s", name)
	}
}

// The address may be held by the process that this one takes over from.
func TestDownloadsWaitForTheirAddress(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.cfg.ListenAddr = taken.Addr().String()
	l.start()
	l.waitCalls("heartbeat", 1) // it works without
	if got := l.worker.downloads.publicURL(); got != "http://"+l.cfg.ListenAddr {
		t.Errorf("public URL %s", got)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 2*time.Minute, func() bool {
		_, err := servedAs("http://" + l.cfg.ListenAddr)
		return err == nil
	}, "it never takes its address")
}
