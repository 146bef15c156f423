package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"xvault/hub/notify"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

// Each mail arrives as plain text, over either kind of TLS and with a login,
// also where the server first says no; what people typed acts nowhere.
func TestEmail(t *testing.T) {
	t.Parallel()
	for name, implicit := range map[string]bool{"explicit": false, "implicit": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			busy := &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "canary-answer"}
			server := newMailServer(t, implicit, func(n int) error {
				if n < 2 {
					return busy
				}
				return nil
			})
			d.exec("UPDATE sources SET name = $1", "web\r\nBcc: evil@example.com\r\n\r\n<b>\u202eboo")
			d.channel("email", map[string]any{
				"host": "127.0.0.1", "port": server.port, "tls": name, "username": mailUser, "password": mailPassword,
				"from": "xVault Ärger <xvault@example.com>", "to": []string{"ops@example.com", "Boss <boss@example.com>"},
			})
			d.notifier(func(c *notify.Config) { c.RootCAs = server.roots })
			d.fail("It broke:\r\n.\r\nMAIL FROM:<evil@example.com>")
			d.retryUntil(t, func() bool { return len(server.taken()) == 1 })
			got := server.taken()[0]
			if got.from != "xvault@example.com" || !slices.Equal(got.to, []string{"ops@example.com", "boss@example.com"}) {
				t.Errorf("from %s to %v", got.from, got.to)
			}
			m, err := mail.ReadMessage(strings.NewReader(got.data))
			d.must(err)
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			d.must(err)
			body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
			d.must(err)
			if !strings.HasPrefix(subject, `[xVault] The backup of "web`) || strings.ContainsAny(subject, "\r\n\u202e") {
				t.Errorf("subject %q", subject)
			}
			if m.Header.Get("Bcc") != "" || m.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("header %v", m.Header)
			}
			for _, want := range []string{"It broke:", "Tenant: Acme & Sons", "Job: ", "auth_failed"} {
				if !strings.Contains(string(body), want) {
					t.Errorf("%q is not in %q", want, body)
				}
			}
			if n := d.count("SELECT count(*) FROM notifications WHERE status = 'sent' AND attempts = 3"); n != 1 {
				t.Errorf("%d mails were sent at the third attempt", n)
			}
			if strings.Contains(d.log.String(), "canary") {
				t.Errorf("the log holds what the server said: %s", d.log)
			}
		})
	}
}

// retryUntil lets pauses pass at once.
func (d *desk) retryUntil(t *testing.T, state func() bool) {
	t.Helper()
	testenv.Eventually(t, 2*time.Minute, func() bool {
		d.exec("UPDATE notifications SET next_try_at = xvault_now() WHERE status = 'pending' AND last_error <> ''")
		d.exec("UPDATE notification_channels SET due_at = xvault_now() WHERE failures > 0 AND due_at > xvault_now()")
		return state()
	}, "not sent\n%s", d.log)
	d.settled()
}

// A webhook is signed as Standard Webhooks has it, with one id in all attempts.
func TestWebhook(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	h := newHook(t, func(n int) int {
		return []int{http.StatusInternalServerError, http.StatusFound, http.StatusTooManyRequests, http.StatusNoContent}[min(n, 3)]
	})
	d.channel("webhook", webhookTo(h))
	d.notifier()
	id := d.fail("It broke.")
	d.retryUntil(t, func() bool { return len(h.seen()) == 4 })
	calls := h.seen()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(signingSecret, "whsec_"))
	d.must(err)
	for _, c := range calls {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(c.header.Get("Webhook-Id") + "." + c.header.Get("Webhook-Timestamp") + "." + c.body))
		if got := c.header.Get("Webhook-Signature"); got != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %q", got)
		}
		if c.header.Get("Webhook-Id") != calls[0].header.Get("Webhook-Id") || c.path != "/in?token=canary-url-token" || c.method != "POST" {
			t.Errorf("call %+v", c)
		}
	}
	var event struct {
		Type string
		Data struct {
			Severity, Title, Text string
			JobID                 string `json:"job_id"`
			SourceName            string `json:"source_name"`
		}
	}
	d.must(json.Unmarshal([]byte(calls[3].body), &event))
	if event.Type != "job_failed" || event.Data.JobID != id.String() || event.Data.SourceName != "web1" || event.Data.Severity != "problem" ||
		!strings.HasPrefix(event.Data.Text, "It broke.") {
		t.Errorf("event %+v", event)
	}
	if strings.Contains(d.log.String(), "canary") {
		t.Errorf("the log holds the address: %s", d.log)
	}
}

// What people typed acts neither in Slack nor in what is like it, and Telegram
// takes it as text.
func TestChats(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	h := newHook(t, nil)
	d.exec("UPDATE sources SET name = $1", "<!channel> @all [x](http://evil) *b*")
	d.channel("slack", map[string]any{"url": h.URL + "/slack/canary"})
	d.channel("telegram", map[string]any{"token": "123456:canary-token-of-a-bot", "chat_id": "-1001", "api_url": h.URL})
	d.notifier()
	d.fail("It broke.")
	d.settled()
	texts := map[string]string{}
	for _, c := range h.seen() {
		var body struct {
			Text      string
			ChatID    string `json:"chat_id"`
			ParseMode string `json:"parse_mode"`
		}
		d.must(json.Unmarshal([]byte(c.body), &body))
		texts[c.path] = body.Text
		if body.ParseMode != "" || c.path != "/slack/canary" && body.ChatID != "-1001" {
			t.Errorf("body %+v", body)
		}
	}
	slack, telegram := texts["/slack/canary"], texts["/bot123456:canary-token-of-a-bot/sendMessage"]
	if slack == "" || strings.ContainsAny(slack, "<>") || strings.Contains(slack, "@all") || strings.Contains(slack, "](") || !strings.Contains(slack, "Acme &amp; Sons") {
		t.Errorf("slack got %q", slack)
	}
	if !strings.Contains(telegram, "<!channel>") {
		t.Errorf("telegram got %q", telegram)
	}
}

// A ping goes out on success, and behind its path on failure.
func TestPing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	h := newHook(t, nil)
	d.channel("ping", map[string]any{"url": h.URL + "/uuid-of-a-check/?a=b"}, func(c *catalog.Channel) { c.SourceIDs = append(c.SourceIDs, d.source) })
	d.channel("ping", map[string]any{"url": h.URL + "/other"}, func(c *catalog.Channel) {
		other := catalog.NewID()
		d.exec("INSERT INTO sources (id, tenant_id, type, name, config) VALUES ($1, $2, 'sftp', 'web2', '{}')", other, d.tenant)
		c.SourceIDs = append(c.SourceIDs, other)
	})
	d.notifier()
	d.succeed(1000)
	d.settled()
	d.fail("no")
	d.settled()
	d.succeed(1000)
	d.settled()
	var got []string
	for _, c := range h.seen() {
		got = append(got, c.method+" "+c.path)
	}
	if want := []string{"GET /uuid-of-a-check/?a=b", "GET /uuid-of-a-check/fail?a=b", "GET /uuid-of-a-check/?a=b"}; !slices.Equal(got, want) {
		t.Errorf("pings %q, want %q", got, want)
	}
}

// Redirects lead nowhere, metadata addresses are refused, and so are private ones
// where the operator says so; the operator's own channels may.
func TestOutboundIsGuarded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	inner := newHook(t, nil)
	outer := httptest.NewServer(http.RedirectHandler(inner.URL, http.StatusTemporaryRedirect))
	t.Cleanup(outer.Close)
	n, _ := d.notifier()
	strict, _ := d.notifier(func(c *notify.Config) { c.RefusePrivate = true })
	for _, c := range []struct {
		n       *notify.Notifier
		channel catalog.Channel
		want    string
	}{
		{n, d.channel("slack", map[string]any{"url": outer.URL}), "redirects elsewhere"},
		{n, d.channel("slack", map[string]any{"url": "http://169.254.169.254/latest"}, ofOperator), "may not connect"},
		{n, d.channel("slack", map[string]any{"url": "http://127.0.0.1:1/"}), "cannot be reached"},
		{n, d.channel("slack", map[string]any{"url": "https" + strings.TrimPrefix(inner.URL, "http")}), "does not speak TLS"},
		{strict, d.channel("slack", map[string]any{"url": inner.URL}), "may not connect"},
		{strict, d.channel("slack", map[string]any{"url": inner.URL}, ofOperator), ""},
	} {
		got, err := c.n.Test(t.Context(), c.channel)
		if err != nil || c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.channel.Config, got, err, c.want)
		}
	}
	if n := len(inner.seen()); n != 1 {
		t.Errorf("%d calls came through", n)
	}
}

// Whatever is wrong with a configuration is named, and none of it is repeated.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, config, fields string }{
		{"email", `{}`, "host from to"},
		{"email", `{"host":"a b","from":"x@example.com\r\nBcc: y@example.com","to":["canary"],"username":"u"}`, "host password from to[0]"},
		{"email", `{"host":"h","tls":"starttls","port":70000,"from":"a@b.c","to":["a@b.c"]}`, "tls port"},
		{"webhook", `{"url":"https://u:canary@h/","secret":"canary"}`, "url secret"},
		{"webhook", `{"url":"file:///canary","secret":"whsec_AAAA"}`, "url secret"},
		{"slack", `{"url":"https://h/canary\n"}`, "url"},
		{"slack", `{"url":7}`, ""},
		{"telegram", `{"token":"canary/../x","chat_id":"canary"}`, "token chat_id"},
		{"ping", `{"canary":"x"}`, ""},
		{"ping", `"canary"`, ""},
		{"pigeon", `{}`, ""},
	} {
		_, faults := notify.Parse(c.kind, []byte(c.config))
		var fields []string
		for _, f := range faults {
			fields = append(fields, f.Field)
			if strings.Contains(f.Message, "canary") && !strings.Contains(f.Message, `and not "canary"`) {
				t.Errorf("%s %s: %+v repeats what was sent", c.kind, c.config, f)
			}
		}
		if len(faults) == 0 || strings.Join(fields, " ") != c.fields {
			t.Errorf("%s %s: %+v, want %q", c.kind, c.config, faults, c.fields)
		}
	}
}

// What is changed of a configuration leaves the rest, secrets included.
func TestChange(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	server := newMailServer(t, false, nil)
	n, _ := d.notifier(func(c *notify.Config) { c.RootCAs = server.roots })
	c := d.channel("email", map[string]any{
		"host": "127.0.0.1", "port": server.port, "username": mailUser, "password": mailPassword, "from": "a@example.com", "to": []string{"b@example.com"},
	})
	if strings.Contains(string(c.Config), "canary") {
		t.Errorf("the password shows: %s", c.Config)
	}
	settings, faults, err := notify.Change(d.ring, c, []byte(`{"to":["c@example.com"]}`))
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	c, err = d.operator().UpdateChannel(t.Context(), c.ID, func(c *catalog.Channel) (err error) {
		c.Config = settings.Shown
		c.Secret, err = settings.Sealed(d.ring, catalog.ChannelAD(c.TenantID, c.ID))
		return err
	})
	d.must(err)
	why, err := n.Test(t.Context(), c)
	if err != nil || why != "" {
		t.Fatal(why, err)
	}
	if got := server.taken(); len(got) != 1 || got[0].to[0] != "c@example.com" {
		t.Errorf("mails %+v", got)
	}
	if _, _, err := notify.Change(d.ring, catalog.Channel{ID: catalog.NewID(), Kind: "ping", Secret: c.Secret, Config: []byte(`{}`)}, []byte(`{}`)); err == nil {
		t.Error("a secret opens in another row")
	} else if errors.Is(err, catalog.ErrNotFound) {
		t.Error(err)
	}
}
