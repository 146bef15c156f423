package worker

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/internal/job"
)

// protocolHub answers the internal API for tests of the protocol's edges: lost
// answers, refusals at a bad moment. What a real hub does is tested with one.
type protocolHub struct {
	t      *testing.T
	server *httptest.Server

	mu      sync.Mutex
	jobs    map[uuid.UUID]*job.Claim
	sealTo  string // the worker's recipient
	secrets job.Credential
	calls   []call
	answers map[string]func(call) (status int, answer any) // by the call's name
}

// call is one request, named by the last part of its path.
type call struct {
	name  string
	token string
	body  []byte
}

const joinToken = "join-token-of-thirty-two-characters"

func newProtocolHub(t *testing.T) *protocolHub {
	t.Helper()
	h := &protocolHub{t: t, jobs: map[uuid.UUID]*job.Claim{}, answers: map[string]func(call) (int, any){}}
	h.server = httptest.NewServer(h)
	t.Cleanup(h.server.Close)
	return h
}

func (h *protocolHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c := call{name: r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], token: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), body: body}
	h.mu.Lock()
	h.calls = append(h.calls, c)
	answer := h.answers[c.name]
	h.mu.Unlock()
	status, out := 0, any(nil)
	if answer != nil {
		status, out = answer(c)
	}
	if status == 0 {
		status, out = h.usual(c)
	}
	if status == lost {
		panic(http.ErrAbortHandler)
	}
	kind := "application/json"
	if status >= 400 {
		kind = "application/problem+json"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(out); err != nil {
		h.t.Log("answer:", err)
	}
}

// lost is the status of an answer that does not arrive.
const lost = -1

func problem(status int, code string) (int, any) {
	return status, map[string]any{"status": status, "code": code, "detail": "said the test"}
}

func (h *protocolHub) usual(c call) (int, any) {
	switch c.name {
	case "register":
		h.mu.Lock()
		h.sealTo = decode[job.RegisterRequest](h.t, c.body).AgeRecipient
		h.mu.Unlock()
		return 200, job.RegisterResponse{Token: "token-1", Incarnation: 1, HeartbeatEveryMS: 100}
	case "heartbeat":
		return 200, job.HeartbeatResponse{}
	case "claim":
		return h.claim(decode[job.ClaimRequest](h.t, c.body))
	case "renew":
		return 200, job.RenewResponse{LeaseMS: job.Lease.Milliseconds()}
	case "host-key":
		return 200, job.HostKeyResponse{Pinned: true}
	case "reconcile":
		return 200, job.ReconcileResponse{}
	default:
		return 200, struct{}{}
	}
}

func (h *protocolHub) claim(req job.ClaimRequest) (int, any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	claim, ok := h.jobs[req.JobID]
	if !ok {
		return problem(410, job.RefusedGone)
	}
	claim.Attempt++
	plain, err := h.secrets.Encode()
	if err == nil {
		claim.SealedCredential, err = seal.Message(h.sealTo, plain)
	}
	if err != nil {
		h.t.Error(err)
	}
	return 200, claim
}

// answer replaces what the hub says to a call; 0 as status means "as usual".
func (h *protocolHub) answer(name string, with func(call) (int, any)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers[name] = with
}

// times makes an answer for the first n calls; then it is as usual.
func times(n int, status int, code string) func(call) (int, any) {
	var mu sync.Mutex
	return func(call) (int, any) {
		mu.Lock()
		defer mu.Unlock()
		if n == 0 {
			return 0, nil
		}
		n--
		return problem(status, code)
	}
}

func (h *protocolHub) got(name string) []call {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []call
	for _, c := range h.calls {
		if c.name == name {
			found = append(found, c)
		}
	}
	return found
}

// names lists the calls in order, without those that come by the clock.
func (h *protocolHub) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, c := range h.calls {
		if !slices.Contains([]string{"heartbeat", "renew", "reconcile", "sweep", "register"}, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// addJob makes a job that can be claimed, of a new source in a new tenant.
func (h *protocolHub) addJob(kind job.Kind) *job.Claim {
	h.t.Helper()
	_, recipient, err := seal.NewIdentity()
	if err != nil {
		h.t.Fatal(err)
	}
	c := &job.Claim{
		JobID: newID(), TenantID: newID(), Kind: kind, LeaseMS: job.Lease.Milliseconds(), SnapshotID: newID(),
		CreatedAt: time.Now(), StartedAt: time.Now(),
		Source:    &job.ClaimSource{ID: newID(), Type: "memory", Config: json.RawMessage(`{}`)},
		TenantKey: &job.ClaimTenantKey{ID: newID(), Algorithm: seal.Algorithm, PublicKey: recipient},
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.jobs[c.JobID] = c
	return c
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func decode[T any](t *testing.T, b []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Errorf("decode %s: %v", b, err)
	}
	return v
}
