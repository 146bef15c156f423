package hub_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"xvault/hub"
	"xvault/internal/testenv"
)

func pingChannel(url string) object {
	return object{"kind": "ping", "name": "p", "config": object{"url": url}}
}

// A channel is made, shown, changed, tried out and removed, through the API, and
// an event arrives. None of its secrets is in an answer, the catalog, Redis or the
// log.
func TestNotificationChannels(t *testing.T) {
	t.Parallel()
	const urlToken, password, bot = "canary-url-6f1d", "canary-smtp-99ab", "canary-bot-token-31"
	const signing = "whsec_Y2FuYXJ5LXNpZ25pbmctc2VjcmV0LTAx" // canary-signing-secret-01
	var calls atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("t") != urlToken {
			t.Errorf("called at %s", r.URL)
		}
		calls.Add(1)
	}))
	t.Cleanup(receiver.Close)
	l := start(t)
	tenant, key := l.tenant("a")
	source := l.source(key, tenant, l.credential(key, tenant, "pw"))
	var channel, shown, test object
	body := object{
		"kind": "webhook", "name": "hook", "config": object{"url": receiver.URL + "/?t=" + urlToken, "secret": signing},
		"events": []string{"job_failed"}, "source_ids": []string{source},
	}
	r := l.do(key, "POST", "/api/v1/notification-channels", body, "Idempotency-Key", "k")
	if r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	l.must(201, key, "POST", "/api/v1/notification-channels", object{"kind": "email", "name": "m", "config": object{
		"host": "127.0.0.1", "port": 1, "username": "u", "password": password, "from": "a@example.com", "to": []string{"b@example.com"},
	}}, nil)
	l.must(201, operatorKey, "POST", "/api/v1/notification-channels", object{"kind": "telegram", "name": "t", "config": object{
		"token": "1:" + bot, "chat_id": "1", "api_url": "http://127.0.0.1:1",
	}}, &channel)
	if channel["tenant_id"] != nil {
		t.Errorf("the operator's channel is %v's", channel["tenant_id"])
	}
	l.must(200, operatorKey, "POST", "/api/v1/notification-channels/"+channel.id()+"/test", nil, &test)
	if test["sent"] != false || test.text("error") != "The receiver cannot be reached." {
		t.Errorf("test %v", test)
	}
	var list struct{ Items []object }
	l.must(200, key, "GET", "/api/v1/notification-channels", nil, &list)
	if len(list.Items) != 2 {
		t.Fatalf("the tenant sees %v", list.Items)
	}
	channel = list.Items[1]
	at := "/api/v1/notification-channels/" + channel.id()
	all := l.must(200, key, "PATCH", at, object{"name": "renamed", "config": object{}}, &shown)
	if shown.text("name") != "renamed" || !strings.Contains(string(all.body), `"url_host":"127.0.0.1:`) {
		t.Errorf("shown %s", all.body)
	}
	l.must(200, key, "POST", at+"/test", nil, &test)
	if test["sent"] != true {
		t.Errorf("test %v", test)
	}
	// An event through the whole hub.
	job := uuid.Must(uuid.NewV7()).String()
	l.exec(`INSERT INTO notification_events (id, tenant_id, event_key, kind, source_id, job_id)
		VALUES (xvault_new_id(), $1, 'job_failed:' || $2::text, 'job_failed', $3, $2::uuid)`, tenant, job, source)
	testenv.Eventually(t, 2*time.Minute, func() bool { return calls.Load() == 2 }, "not notified")
	testenv.Eventually(t, 2*time.Minute, func() bool {
		l.must(200, key, "GET", "/api/v1/notifications?status=sent&channel_id="+channel.id(), nil, &list)
		return len(list.Items) == 1
	}, "not recorded")

	for name, wrong := range map[string]object{
		"body.events":     {"kind": "ping", "name": "p", "config": object{"url": "http://h/" + urlToken}, "events": []string{"nonsense"}},
		"body.source_ids": {"kind": "ping", "name": "p", "config": object{"url": "http://h/" + urlToken}, "source_ids": []string{uuid.NewString()}},
		"body.config.url": {"kind": "slack", "name": "p", "config": object{"url": "ftp://" + urlToken}},
	} {
		r := l.do(key, "POST", "/api/v1/notification-channels", wrong)
		if p := r.problem(t); r.status != 422 || p.locations() != name || strings.Contains(string(r.body), "canary") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	answers := string(all.body) + string(l.must(200, operatorKey, "GET", "/api/v1/notification-channels", nil, nil).body) +
		string(l.must(200, operatorKey, "GET", "/api/v1/audit-events", nil, nil).body) + string(r.body)
	redis := l.dumpRedis()
	l.must(204, key, "DELETE", "/api/v1/notification-channels/"+list.Items[0].text("channel_id"), nil, nil)
	l.stop()
	for place, content := range map[string]string{"the answers": answers, "the catalog": testenv.DumpPostgres(t, l.db), "Redis": redis, "the log": l.log.String()} {
		for _, secret := range []string{urlToken, password, bot, strings.TrimPrefix(signing, "whsec_"), "canary-signing"} {
			if strings.Contains(content, secret) {
				t.Errorf("%s: %q is in there", place, secret)
			}
		}
	}
}

// What the examples for Prometheus and Grafana ask for is what /metrics shows.
func TestMetricsOfExamples(t *testing.T) {
	t.Parallel()
	l := start(t, func(c *hub.Config) { c.MetricsSources = 2 })
	tenant, key := l.tenant("a")
	source := l.source(key, tenant, l.credential(key, tenant, "pw"))
	l.exec(`INSERT INTO workers (id, status, storage_base_path, age_recipient, token_hash, slots, disk_total_bytes)
		VALUES ('w1', 'online', '/srv', 'age1x', 'x', 4, 100)`)
	l.exec(`INSERT INTO jobs (id, tenant_id, source_id, type, status, finished_at) VALUES ($1, $2, $1, 'backup', 'completed', xvault_now())`, source, tenant)
	l.exec(`INSERT INTO snapshots (id, tenant_id, source_id, job_id, status, size_bytes, started_at, finished_at, duration_ms, manifest_json, artifact_sha256,
			encryption_algorithm, encryption_key_id, encryption_recipient, storage_backend, worker_id, local_path)
		SELECT $1, $2, $1, $1, 'completed', 100, xvault_now() - interval '1 h', xvault_now() - interval '1 h', 3, '{}', repeat('ab', 32), 'age-x25519', k.id, 'age1x',
			'local_fs', 'w1', '/srv/x' FROM tenant_keys k WHERE k.tenant_id = $2`, source, tenant)
	l.do("", "GET", "/healthz", nil) // so that there is a request to show
	res, err := l.http.Get(l.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics := string(body)
	if !regexp.MustCompile(`xvault_source_last_success_age_seconds\{source_id="` + source + `",tenant_id="` + tenant + `"\} 36\d\d`).MatchString(metrics) {
		t.Error("the source's age is not shown")
	}
	for _, file := range []string{"prometheus/alerts.yaml", "grafana/xvault.json"} {
		content, err := os.ReadFile(filepath.Join("..", "packaging", file))
		if err != nil {
			t.Fatal(err)
		}
		var parsed map[string]any
		if err := yaml.Unmarshal(content, &parsed); err != nil { // JSON is YAML
			t.Fatalf("%s: %v", file, err)
		}
		names := regexp.MustCompile(`\bxvault_[a-z_]+`).FindAllString(string(content), -1)
		if len(names) < 10 {
			t.Errorf("%s names only %d metrics", file, len(names))
		}
		for _, name := range names {
			if !strings.Contains(metrics, "\n"+name+"{") && !strings.Contains(metrics, "\n"+name+" ") {
				t.Errorf("%s asks for %s, which /metrics does not show", file, name)
			}
		}
	}
}
