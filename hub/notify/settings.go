package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"xvault/archive/seal"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

// Kinds are the kinds of channels.
func Kinds() []string { return []string{"email", "webhook", "slack", "telegram", "ping"} }

// Events are all kinds of events, in the order in which they are documented.
func Events() []string { return append(problems(), allClear()...) }

func problems() []string {
	return []string{
		catalog.EventJobFailed, catalog.EventSuspicious, catalog.EventCorrupt, catalog.EventSlotMissed, catalog.EventSlotSkipped,
		catalog.EventMaxAgeExceeded, catalog.EventWorkerOffline, catalog.EventStorageNearlyFull,
	}
}

func allClear() []string {
	return []string{catalog.EventRecovered, catalog.EventMaxAgeOK, catalog.EventWorkerBack, catalog.EventStorageOK, catalog.EventSucceeded}
}

// DefaultEvents are those that a new channel of a kind tells of when nobody says:
// all, but a good backup is news to pings alone.
func DefaultEvents(kind string) []string {
	if kind == "ping" {
		return []string{
			catalog.EventJobFailed, catalog.EventSuspicious, catalog.EventCorrupt, catalog.EventSlotMissed, catalog.EventMaxAgeExceeded,
			catalog.EventSucceeded,
		}
	}
	return slices.DeleteFunc(Events(), func(e string) bool { return e == catalog.EventSucceeded })
}

// Fault is what is wrong with a field of a configuration; it holds nothing of
// its content.
type Fault struct{ Field, Message string }

// settings are the configuration of one kind of channel. Fields of type
// secret.Text are never shown.
type settings interface {
	// check completes the settings and names what is wrong.
	check() []Fault
	// sender makes what sends with them.
	sender(outbound) sender
}

func blank(kind string) settings {
	switch kind {
	case "email":
		return &email{}
	case "webhook":
		return &webhook{}
	case "slack":
		return &slack{}
	case "telegram":
		return &telegram{}
	case "ping":
		return &ping{}
	}
	return nil
}

// Settings are a checked configuration, in the two parts that are stored.
type Settings struct {
	Shown  json.RawMessage
	hidden []byte
}

// Sealed envelopes the part that may not be shown for a channel's row.
func (s Settings) Sealed(ring *seal.Keyring, ad seal.AD) (catalog.SealedConfig, error) {
	ciphertext, keyID, err := ring.Seal(s.hidden, ad)
	if err != nil {
		return catalog.SealedConfig{}, fmt.Errorf("envelope a channel's settings: %w", err)
	}
	return catalog.SealedConfig{Ciphertext: ciphertext, KeyID: keyID}, nil
}

// Parse checks the configuration of a new channel.
func Parse(kind string, raw []byte) (Settings, []Fault) { return parse(blank(kind), raw) }

// Change checks what is to be changed of a channel's configuration: fields that
// are not named stay, secrets among them.
func Change(ring *seal.Keyring, c catalog.Channel, raw []byte) (Settings, []Fault, error) {
	before, err := load(ring, c)
	if err != nil {
		return Settings{}, nil, err
	}
	changed, faults := parse(before, raw)
	return changed, faults, nil
}

func parse(s settings, raw []byte) (Settings, []Fault) {
	if s == nil {
		return Settings{}, []Fault{{"", "there is no such kind of channel"}}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return Settings{}, []Fault{misread(s, err)}
	}
	if faults := s.check(); len(faults) > 0 {
		return Settings{}, faults
	}
	shown, hidden := split(s)
	shownJSON, err := json.Marshal(shown)
	if err != nil {
		return Settings{}, []Fault{{"", "it cannot be stored"}}
	}
	hiddenJSON, err := json.Marshal(hidden)
	if err != nil {
		return Settings{}, []Fault{{"", "it cannot be stored"}}
	}
	return Settings{Shown: shownJSON, hidden: hiddenJSON}, nil
}

// misread says what is wrong with the form; the decoder's own words may quote
// what was sent.
func misread(s settings, err error) Fault {
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return Fault{"", "it takes " + strings.Join(fieldNames(s), ", ") + ", and not " + name}
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return Fault{wrong.Field, "it is of the wrong type"}
	}
	return Fault{"", "it is not what a configuration of this kind is"}
}

// split takes the secrets out of the settings.
func split(s settings) (shown map[string]any, hidden map[string]string) {
	shown, hidden = map[string]any{}, map[string]string{}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		if name == "" {
			continue // not of the configuration
		}
		if text, ok := reflect.TypeAssert[secret.Text](v.Field(i)); ok {
			if !text.IsZero() {
				hidden[name] = text.Reveal()
			}
			continue
		}
		if !v.Field(i).IsZero() {
			shown[name] = v.Field(i).Interface()
		}
	}
	return shown, hidden
}

func fieldNames(s settings) []string {
	t := reflect.TypeOf(s).Elem()
	var names []string
	for field := range t.Fields() {
		if name := field.Tag.Get("json"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// load opens a channel's settings.
func load(ring *seal.Keyring, c catalog.Channel) (settings, error) {
	s := blank(c.Kind)
	if s == nil {
		return nil, fmt.Errorf("open channel: this hub knows no channels of kind %q", c.Kind)
	}
	hidden, err := ring.Open(c.Secret.Ciphertext, c.Secret.KeyID, catalog.ChannelAD(c.TenantID, c.ID))
	if err != nil {
		return nil, fmt.Errorf("open the settings of channel %s: %w", c.ID, err)
	}
	defer clear(hidden)
	if json.Unmarshal(c.Config, s) != nil || json.Unmarshal(hidden, s) != nil {
		return nil, fmt.Errorf("read the settings of channel %s: they are of another version", c.ID)
	}
	return s, nil
}

// sender makes what sends through a channel.
func (n *Notifier) sender(c catalog.Channel) (sender, error) {
	s, err := load(n.cfg.Keyring, c)
	if err != nil {
		return nil, err
	}
	dial := n.tight
	if c.TenantID == nil {
		dial = n.open
	}
	return s.sender(outbound{dial, n.cfg.RootCAs}), nil
}

const maxURL = 2000

// checkURL looks at an address that may hold a secret, and gives its host.
func checkURL(field string, address secret.Text) (host string, faults []Fault) {
	text := address.Reveal()
	if text == "" {
		return "", []Fault{{field, "it is required"}}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxURL || u.Host == "" || u.Opaque != "" || strings.ContainsFunc(text, notPrintable):
		return "", []Fault{{field, "it is not the address of a web server"}}
	case u.Scheme != "https" && u.Scheme != "http":
		return "", []Fault{{field, "it must begin with https://"}}
	case u.User != nil:
		return "", []Fault{{field, "it must hold no user name and password"}}
	}
	return u.Host, nil
}

func notPrintable(r rune) bool { return r <= ' ' || r == 0x7f }
