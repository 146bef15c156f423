package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

const newKEK = "k2:bmV3LWtlay0zMi1ieXRlcy1sb25nISEhISEhISEhISE="

// F19: every secret is rewrapped to a new KEK while a hub of before and a hub
// of after serve. The rekeying is killed half-way, goes on, and at no time is
// there a secret that either hub cannot open.
func TestRekeyKilledHalfWay(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F19, rekey killed half-way")
	l := system.Start(t, system.Options{})
	s := l.NewScene(t, system.SceneOptions{Seed: 19, Files: 5, Small: true})
	identities := map[string]string{s.Tenant.ID: s.Identity} // tenant -> what must stay what it is
	for range 30 {
		tenant := s.API.CreateTenant(t, "one of many")
		identities[tenant.ID] = s.API.ExportKey(t, tenant.ID)
	}

	// The old hub and the new one know both keys; each encrypts with its first.
	before, after := l.Hubs[0], l.AddHub()
	before.Terminate(t, 30*time.Second)
	before.KEK = l.KEK + "," + newKEK
	before.Start()
	after.KEK = newKEK + "," + l.KEK
	after.Start()
	clients := []*system.Client{s.API, system.NewClient(after.URL, l.OperatorKey)}
	allOpen := func(when string) {
		t.Helper()
		for i, c := range clients {
			for tenant, identity := range identities {
				if got := c.ExportKey(t, tenant); got != identity {
					t.Fatalf("%s, hub %d gives another identity for tenant %s", when, i+1, tenant)
				}
			}
		}
		s.Acknowledged(s.Backup().ID, 3*time.Minute) // the credential opens too
	}
	allOpen("before")

	env := []string{"DATABASE_URL=" + l.URL, "HUB_ENCRYPTION_KEK=" + after.KEK}
	left := func() string {
		return l.One(t, `SELECT ((SELECT count(*) FROM credentials WHERE key_id = 'k1') + (SELECT count(*) FROM tenant_keys WHERE key_id = 'k1')
			+ (SELECT count(*) FROM ticket_keys WHERE key_id = 'k1'))::text`)
	}
	total := left()
	for kill := 1; kill <= 2; kill++ {
		p, hits := l.Spawn("rekey", append(env, "HUB_REKEY_BATCH=7"), []string{"rekey.batch=kill"}, "hub", "rekey")
		if code := p.WaitExit(t, 3*time.Minute); code != -1 || !slices.Contains(hits(), "rekey.batch") {
			t.Fatalf("the rekeying was not killed: code %d, reached %v\n%s", code, hits(), p.Tail(20))
		}
		fault := time.Now()
		if left() == "0" || (kill == 2 && left() == total) {
			t.Fatalf("killed with %s of %s secrets under the old key: this is not half-way", left(), total)
		}
		allOpen("half-way")
		// What the old hub makes meanwhile is under the old key still.
		tenant := clients[0].CreateTenant(t, "made meanwhile")
		identities[tenant.ID] = clients[0].ExportKey(t, tenant.ID)
		trials.Add(time.Since(fault), 0)
	}
	before.Terminate(t, 30*time.Second)
	clients = clients[1:]
	s.API = clients[0]
	l.Workers[0].Terminate(t, 30*time.Second)
	l.Workers[0].HubURL = after.URL
	l.Workers[0].Start()
	l.Run(env, 0, "hub", "rekey")
	if left() != "0" {
		t.Errorf("%s secrets are under the old key after the rekeying", left())
	}
	allOpen("afterwards")

	// The old key can go; with it alone the hub does not start, and says why.
	after.Terminate(t, 30*time.Second)
	after.KEK = newKEK
	after.Start()
	allOpen("without the old key")
	before.KEK = l.KEK
	before.Launch()
	if code := before.WaitExit(t, 3*time.Minute); code == 0 {
		t.Error("a hub with the old key alone ended as if all were well")
	}
	if log := before.Tail(20); !strings.Contains(log, "KEK") || strings.Contains(log, l.KEK[len("k1:"):]) {
		t.Errorf("it does not say what is wrong, or too much: %s", log)
	}
	testenv.Eventually(t, 2*time.Minute, func() bool { return s.One(t, `SELECT count(*)::text FROM jobs WHERE status = 'running'`) == "0" }, "jobs run on")
	s.Sweep(l.Workers[0])
	s.Check()
}
