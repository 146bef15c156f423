package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// certificate is one of a test.
type certificate struct {
	pem, key []byte
	cert     *x509.Certificate
	private  *ecdsa.PrivateKey
}

func newCertificate(t *testing.T, template x509.Certificate, by *certificate) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := &template, key
	if by != nil {
		parent, signer = by.cert, by.private
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &certificate{
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), cert: cert, private: key,
	}
}

func newAuthority(t *testing.T) *certificate {
	t.Helper()
	return newCertificate(t, x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
}

// TestOwnServer has what changes a whole server: TLS, and what "*" means.
func TestOwnServer(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	named := newCertificate(t, x509.Certificate{Subject: pkix.Name{CommonName: "db"}, DNSNames: []string{"localhost"}}, authority)
	dir := testenv.Dir(t)
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			if out, err := exec.CommandContext(t.Context(), "chown", "postgres", path).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		return path
	}
	server := testenv.NewPostgres(t, testenv.PostgresOptions{Extra: []string{
		"ssl=on", "ssl_cert_file=" + write("server.crt", named.pem), "ssl_key_file=" + write("server.key", named.key),
	}})
	d := at(t, server.Database("shop"))
	d.exec("CREATE TABLE t AS SELECT generate_series(1, 100) AS a")

	testSSLModes(t, d, authority)
	testClearPassword(t, d)
	testStar(t, d, server)
}

func testSSLModes(t *testing.T, d *database, authority *certificate) {
	t.Helper()
	other := newAuthority(t)
	for _, tt := range []struct {
		mode, host, ca string
		code           job.Code // empty: it works
		secured        bool
	}{
		{"disable", "127.0.0.1", "", "", false},
		{"allow", "127.0.0.1", "", "", false},
		{"prefer", "127.0.0.1", "", "", true},
		{"require", "127.0.0.1", "", "", true},
		{"require", "127.0.0.1", string(authority.pem), "", true},
		{"require", "127.0.0.1", string(other.pem), job.ConfigInvalid, false},
		{"verify-ca", "127.0.0.1", string(authority.pem), "", true},
		{"verify-ca", "localhost", string(other.pem), job.ConfigInvalid, false},
		{"verify-ca", "localhost", "", job.ConfigInvalid, false}, // the system knows no such authority
		{"verify-full", "localhost", string(authority.pem), "", true},
		{"verify-full", "127.0.0.1", string(authority.pem), job.ConfigInvalid, false}, // not in the certificate
		{"verify-full", "localhost", string(other.pem), job.ConfigInvalid, false},
	} {
		config := d.config(map[string]any{"sslmode": tt.mode, "host": tt.host})
		if tt.ca != "" {
			config["ca_pem"] = tt.ca
		}
		found, err := probe(t, config, d.env())
		if tt.code != "" {
			wantCode(t, err, tt.code, "certificate", "ca_pem")
			continue
		}
		if err != nil || strings.Contains(found.Transport, "TLS 1.") != tt.secured {
			t.Errorf("%s to %s: %q, %v", tt.mode, tt.host, found.Transport, err)
		}
		if checked := !warned(found, "not checked") && !warned(found, "not encrypted"); checked != (tt.mode == "verify-full") {
			t.Errorf("%s warns of %q", tt.mode, found.Warnings)
		}
		if tt.mode == "verify-full" {
			got := mustCollect(t, open(t, postgres.Options{}, config, d.env()))
			d.wantRestored(got.content["postgres/shop.dump"])
		}
	}
}

// A server that asks for the password as it is gets it over TLS only, unless there is
// to be no TLS.
func testClearPassword(t *testing.T, d *database) {
	t.Helper()
	hba := testenv.QueryPostgres(t, d.url.String(), "SHOW hba_file")[0]
	before, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	set := func(rules string) {
		t.Helper()
		if err := os.WriteFile(hba, append([]byte(rules), before...), 0o600); err != nil {
			t.Fatal(err)
		}
		d.exec("SELECT pg_reload_conf()", "SELECT pg_sleep(0.2)")
	}
	role := d.role("secret", "")
	config := func(mode string) map[string]any { return d.config(map[string]any{"username": role, "sslmode": mode}) }
	set("hostnossl all \"" + strings.ReplaceAll(role, `"`, `""`) + "\" all password\nhostssl all \"" + strings.ReplaceAll(role, `"`, `""`) + "\" all reject\n")
	for mode, works := range map[string]bool{"disable": true, "prefer": false, "allow": false} {
		_, err := probe(t, config(mode), newEnv(t, "secret"))
		if works != (err == nil || job.CodeOf(err) == job.PermissionDenied) {
			t.Errorf("clear password without TLS, %s: %v", mode, err)
		}
		if !works {
			wantCode(t, err, job.AuthFailed)
		}
	}
	set("hostssl all \"" + strings.ReplaceAll(role, `"`, `""`) + "\" all password\n")
	if _, err := probe(t, config("prefer"), newEnv(t, "secret")); err != nil && job.CodeOf(err) != job.PermissionDenied {
		t.Errorf("clear password over TLS: %v", err)
	}
	set("")
}

// "*" is all databases that take connections and are no templates.
func testStar(t *testing.T, d *database, server *testenv.PostgresServer) {
	t.Helper()
	odd := "Ödd \"näme\"/..\n$(x)'\\"
	server.Database(quoted("globals"))
	server.Database(quoted(odd))
	d.exec("CREATE DATABASE closed ALLOW_CONNECTIONS false", "CREATE DATABASE shape IS_TEMPLATE true", "CREATE DATABASE zgone", "CREATE DATABASE rdsadmin", "REVOKE CONNECT ON DATABASE rdsadmin FROM public")
	at(t, server.URL(odd)).exec(`CREATE SCHEMA app`, `CREATE TABLE app."t x" AS SELECT 1 AS a`)
	star := map[string]any{"databases": []string{"*"}}
	plain := map[string]any{"databases": []string{"*"}, "format": "plain"}

	want := []string{"postgres/globals.dump", "postgres/globals.sql", "postgres/postgres.dump", "postgres/rdsadmin.dump", "postgres/shop.dump", "postgres/zgone.dump", "postgres/%C3%96dd%20%22n%C3%A4me%22%2F..%0A%24%28x%29%27%5C.dump"}
	for i, name := range want {
		if strings.Contains(name, "dd%20") {
			want[i] = "postgres/Ödd%20%22näme%22%2F..%0A%24%28x%29%27%5C.dump"
		}
	}
	slices.Sort(want)
	got := mustCollect(t, open(t, postgres.Options{}, d.config(star), d.env()))
	if !slices.Equal(got.names, want) {
		t.Errorf("custom: %q\nwant %q", got.names, want)
	}
	(&database{t, at(t, server.URL(odd)).url, odd}).wantRestored(got.content["postgres/Ödd%20%22näme%22%2F..%0A%24%28x%29%27%5C.dump"])
	got = mustCollect(t, open(t, postgres.Options{}, d.config(plain), d.env()))
	for i := range want {
		if want[i] == "postgres/globals.dump" {
			want[i] = "postgres/%67lobals.sql"
		}
		want[i] = strings.Replace(want[i], ".dump", ".sql", 1)
	}
	slices.Sort(want)
	if !slices.Equal(got.names, want) {
		t.Errorf("plain: %q\nwant %q", got.names, want)
	}

	// Of schemas, those databases that have none of them are no part.
	got = mustCollect(t, open(t, postgres.Options{}, d.config(map[string]any{"databases": []string{"*"}, "schemas": []string{"app"}}), d.env()))
	if len(got.names) != 2 {
		t.Errorf("of one schema: %q", got.names)
	}
	_, err := collect(open(t, postgres.Options{}, d.config(map[string]any{"databases": []string{"*"}, "schemas": []string{"nope"}}), d.env()))
	wantCode(t, err, job.PathNotFound, "nope")
	_, err = probe(t, d.config(map[string]any{"databases": []string{"*"}, "schemas": []string{"app", "nope"}}), d.env())
	wantCode(t, err, job.PathNotFound, "nope")

	testVanished(t, d, star)
	testVanished(t, d, map[string]any{"databases": []string{"*"}, "schemas": []string{"public"}})

	// What cannot be connected to is not left out in silence, but for what only a
	// provider can.
	role := d.role("secret", "")
	d.exec("GRANT pg_read_all_data TO "+quoted(role), "REVOKE CONNECT ON DATABASE shop FROM public")
	config := d.config(map[string]any{"databases": []string{"*"}, "username": role})
	_, err = collect(open(t, postgres.Options{}, config, newEnv(t, "secret")))
	wantCode(t, err, job.PermissionDenied, `GRANT CONNECT ON DATABASE "shop"`, "1 databases")
	d.exec("GRANT CONNECT ON DATABASE shop TO " + quoted(role))
	got = mustCollect(t, open(t, postgres.Options{}, config, newEnv(t, "secret")))
	if slices.Contains(got.names, "postgres/rdsadmin.dump") || !slices.Contains(got.names, "postgres/shop.dump") {
		t.Errorf("with the GRANT: %q", got.names)
	}
}

// A database that is dropped before its turn is no part of the backup any more, and
// is told of.
func testVanished(t *testing.T, d *database, config map[string]any) {
	t.Helper()
	d.exec("DROP DATABASE IF EXISTS zgone", "CREATE DATABASE zgone")
	source := open(t, postgres.Options{}, d.config(config), d.env())
	var vanished []string
	err := source.Read(t.Context(), func(item connectors.Item) error {
		if item.Vanished {
			vanished = append(vanished, item.Path)
		}
		if item.Path == "postgres/shop.dump" {
			d.exec("DROP DATABASE zgone")
		}
		return nil
	})
	if err != nil || !slices.Equal(vanished, []string{"postgres/zgone.dump"}) {
		t.Errorf("vanished %q, %v", vanished, err)
	}
}
