package workerapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

// throughSSH gives the customer's source a machine in between, which has a
// credential of its own with the same password.
func (l *lab) throughSSH(c customer) uuid.UUID {
	l.t.Helper()
	id := catalog.NewID()
	plain, err := job.Credential{Type: "password", Password: secret.New(password)}.Encode()
	l.must(err)
	sealed, keyID, err := l.keyring.Seal(plain, catalog.CredentialAD(c.tenant, id))
	l.must(err)
	_, err = l.operator().CreateCredential(l.t.Context(), catalog.NewCredential{
		ID: id, TenantID: c.tenant, Kind: "source",
		Secret: catalog.SealedSecret{Type: "password", Ciphertext: sealed, KeyID: keyID},
	})
	l.must(err)
	_, err = l.operator().UpdateSource(l.t.Context(), c.source, catalog.SourceChange{Config: sshConfig(id)})
	l.must(err)
	return id
}

func sshConfig(credential uuid.UUID) json.RawMessage {
	return json.RawMessage(`{"host":"127.0.0.1","ssh":{"host":"h.example","port":22,"trust_on_first_use":true,"credential_id":"` + credential.String() + `"}}`)
}

func TestCredentialOfTheMachineInBetween(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c, w := l.customer("a"), l.join("w1")
	id := l.throughSSH(c)
	path := "/credentials/" + id.String()
	w.call("GET", path, nil).refused(http.StatusNotFound, "not_found")

	claim := w.claim(l.job(c, job.Backup))
	w.opens(claim.SealedCredential)
	w.opens(claim.SealedSSHCredential)
	var answer job.SealedCredentialResponse
	w.call("GET", path, nil).ok(&answer)
	w.opens(answer.SealedCredential)
	// Trusted on first use is that machine.
	w.on(claim.JobID, "host-key", job.HostKeyRequest{Attempt: claim.Attempt, Key: hostKey(t)}).ok(nil)
	w.on(claim.JobID, "complete", w.success(claim)).ok(nil)

	_, conflict := errors.AsType[*catalog.Conflict](l.operator().DeleteCredential(t.Context(), id))
	if !conflict {
		t.Error("a credential that a source needs could be deleted")
	}
	if source, err := l.operator().Source(t.Context(), c.source); err != nil || len(source.PinnedHostKeys) != 1 {
		t.Errorf("%+v, %v: no key was pinned", source, err)
	}
	// Another machine, other keys; and none in between, no credential.
	direct := json.RawMessage(`{"host":"127.0.0.1"}`)
	source, err := l.operator().UpdateSource(t.Context(), c.source, catalog.SourceChange{Config: direct})
	if err != nil || len(source.PinnedHostKeys) != 0 {
		t.Errorf("%+v, %v: the key of a machine that is not in between any more stayed", source, err)
	}
	if claim := w.claim(l.job(c, job.Backup)); claim.SealedSSHCredential != nil {
		t.Error("a claim holds a credential that the source does not name")
	}
	l.must(l.operator().DeleteCredential(t.Context(), id))
}

func TestCredentialOfTheMachineInBetweenIsTheTenantsOwn(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := l.customer("a"), l.customer("b")
	for name, id := range map[string]uuid.UUID{"another tenant's": b.credential, "nobody's": uuid.New()} {
		_, err := l.operator().UpdateSource(t.Context(), a.source, catalog.SourceChange{Config: sshConfig(id)})
		if !errors.Is(err, catalog.ErrNoSSHCredential) {
			t.Errorf("%s credential: %v", name, err)
		}
		_, err = l.operator().CreateSource(t.Context(), catalog.NewSource{
			ID: catalog.NewID(), TenantID: a.tenant, Type: "mysql", Name: "s", CredentialID: &a.credential, Config: sshConfig(id),
		})
		if !errors.Is(err, catalog.ErrNoSSHCredential) {
			t.Errorf("%s credential in a new source: %v", name, err)
		}
	}
}
