package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"xvault/internal/secret"
)

// post sends JSON.
func (o outbound) post(ctx context.Context, address secret.Text, body any, sign func(h http.Header, body []byte)) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode notification: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address.Reveal(), bytes.NewReader(encoded))
	if err != nil {
		return refusal("The channel's address is not valid.")
	}
	req.Header.Set("Content-Type", "application/json")
	if sign != nil {
		sign(req.Header, encoded)
	}
	return o.do(req)
}

// webhook is a receiver of signed JSON, as the Standard Webhooks specification
// has it.
type webhook struct {
	URL     secret.Text `json:"url"`
	Secret  secret.Text `json:"secret"`
	URLHost string      `json:"url_host"`
	out     outbound
}

const (
	secretPrefix    = "whsec_"
	minSigningBytes = 24
	maxSigningBytes = 64
)

func (w *webhook) check() []Fault {
	host, faults := checkURL("url", w.URL)
	w.URLHost = host
	if w.Secret.IsZero() {
		return append(faults, Fault{"secret", `it is required: "whsec_" and the base64 of 24 to 64 random bytes`})
	}
	if key := w.key(); len(key) < minSigningBytes || len(key) > maxSigningBytes {
		faults = append(faults, Fault{"secret", `it must be "whsec_" and the base64 of 24 to 64 random bytes`})
	}
	return faults
}

func (w *webhook) key() []byte {
	encoded, ok := strings.CutPrefix(w.Secret.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil {
		return nil
	}
	return key
}

func (w *webhook) sender(o outbound) sender {
	w.out = o
	return w
}

func (w *webhook) send(ctx context.Context, m Message) error {
	return w.out.post(ctx, w.URL, m.payload(), func(h http.Header, body []byte) {
		at := strconv.FormatInt(m.Now.Unix(), 10)
		mac := hmac.New(sha256.New, w.key())
		_, _ = fmt.Fprintf(mac, "%s.%s.%s", m.ID, at, body) // a hash never fails
		h.Set("Webhook-Id", m.ID)
		h.Set("Webhook-Timestamp", at)
		h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	})
}

// slack is an incoming webhook of Slack, or of what understands the same.
type slack struct {
	URL     secret.Text `json:"url"`
	URLHost string      `json:"url_host"`
	out     outbound
}

func (s *slack) check() []Fault {
	host, faults := checkURL("url", s.URL)
	s.URLHost = host
	return faults
}

func (s *slack) sender(o outbound) sender {
	s.out = o
	return s
}

func (s *slack) send(ctx context.Context, m Message) error {
	return s.out.post(ctx, s.URL, map[string]any{"text": slackText(m.Text()), "mrkdwn": false}, nil)
}

// slackText escapes what Slack acts on, and takes the effect from what others
// that understand its messages act on beside that: mentions and links.
func slackText(text string) string {
	const zeroWidthSpace = "\u200b"
	return strings.NewReplacer(
		"&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@"+zeroWidthSpace, "](", "]"+zeroWidthSpace+"(",
	).Replace(text)
}

// telegram is a chat that a bot writes to.
type telegram struct {
	Token  secret.Text `json:"token"`
	ChatID string      `json:"chat_id"`
	// APIURL is where the Bot API is; a local server of it, or the public one.
	APIURL string `json:"api_url"`
	out    outbound
}

var (
	botToken = regexp.MustCompile(`^[0-9]{1,20}:[A-Za-z0-9_-]{10,100}$`)
	chatID   = regexp.MustCompile(`^(-?[0-9]{1,20}|@[A-Za-z0-9_]{1,64})$`)
)

func (t *telegram) check() []Fault {
	var faults []Fault
	if !botToken.MatchString(t.Token.Reveal()) {
		faults = append(faults, Fault{"token", "it is required: the token of a bot, as BotFather gives it"})
	}
	if !chatID.MatchString(t.ChatID) {
		faults = append(faults, Fault{"chat_id", "it is required: the number of a chat, or @ and the name of a channel"})
	}
	if t.APIURL == "" {
		t.APIURL = "https://api.telegram.org"
	}
	t.APIURL = strings.TrimRight(t.APIURL, "/")
	if u, err := url.Parse(t.APIURL); err == nil && u.RawQuery+u.Fragment != "" {
		faults = append(faults, Fault{"api_url", "it must hold no query"})
	}
	_, wrong := checkURL("api_url", secret.New(t.APIURL))
	return append(faults, wrong...)
}

func (t *telegram) sender(o outbound) sender {
	t.out = o
	return t
}

// maxTelegram is what a message may hold.
const maxTelegram = 4000

func (t *telegram) send(ctx context.Context, m Message) error {
	// Without a parse_mode Telegram takes text as text: nothing in it acts.
	return t.out.post(ctx, secret.New(t.APIURL+"/bot"+t.Token.Reveal()+"/sendMessage"), map[string]any{
		"chat_id": t.ChatID, "text": shortened(m.Text(), maxTelegram), "link_preview_options": map[string]bool{"is_disabled": true},
	}, nil)
}

// ping is an address that is called when all is well, and with /fail behind its
// path when it is not.
type ping struct {
	URL     secret.Text `json:"url"`
	URLHost string      `json:"url_host"`
	out     outbound
}

func (p *ping) check() []Fault {
	host, faults := checkURL("url", p.URL)
	p.URLHost = host
	return faults
}

func (p *ping) sender(o outbound) sender {
	p.out = o
	return p
}

func (p *ping) send(ctx context.Context, m Message) error {
	u, err := url.Parse(p.URL.Reveal())
	if err != nil {
		return refusal("The channel's address is not valid.")
	}
	if m.Problem {
		u = u.JoinPath("fail")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return refusal("The channel's address is not valid.")
	}
	return p.out.do(req)
}
