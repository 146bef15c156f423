package rebuild

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/internal/secret"
)

// Identity is a tenant's private key, as `xvault tenant export-key` wrote it.
type Identity struct {
	// Key is the age identity.
	Key secret.Text
	// TenantID and TenantName are what the recovery kit says; it need not.
	TenantID   uuid.UUID
	TenantName string
	// File is where it came from, for messages.
	File string
}

// ring finds identities by their recipients.
type ring map[string]Identity

func newRing(identities []Identity) (ring, error) {
	r := make(ring, len(identities))
	for _, id := range identities {
		recipient, err := seal.Recipient(id.Key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id.File, err)
		}
		if other, twice := r[recipient]; twice && id.TenantID != uuid.Nil && other.TenantID != uuid.Nil && id.TenantID != other.TenantID {
			return nil, fmt.Errorf("%s and %s hold the same key and name different tenants", other.File, id.File)
		} else if twice && id.TenantID == uuid.Nil {
			continue
		}
		r[recipient] = id
	}
	return r, nil
}

func (r ring) recipients() []string {
	out := make([]string, 0, len(r))
	for recipient := range r {
		out = append(out, recipient)
	}
	slices.Sort(out)
	return out
}

// opens reports whether the identity of this recipient is at hand, and is this
// tenant's as far as its kit says.
func (r ring) opens(recipient string, tenant uuid.UUID) bool {
	id, there := r[recipient]
	return there && (id.TenantID == uuid.Nil || id.TenantID == tenant)
}

// keyring collects which keys the snapshots say that they are sealed to.
type keyring map[uuid.UUID]map[uuid.UUID]map[string]time.Time // tenant, key, recipient: the newest snapshot

func (k keyring) add(c candidate) {
	m := c.manifest
	keys := k[m.TenantID]
	if keys == nil {
		keys = make(map[uuid.UUID]map[string]time.Time)
		k[m.TenantID] = keys
	}
	said := keys[m.Encryption.KeyID]
	if said == nil {
		said = make(map[string]time.Time)
		keys[m.Encryption.KeyID] = said
	}
	recipient := m.Encryption.Recipients[0]
	if m.CreatedAt.After(said[recipient]) {
		said[recipient] = m.CreatedAt
	}
}

// owners tells for each recipient which tenants' snapshots say that it is theirs.
func (k keyring) owners() map[string]map[uuid.UUID]bool {
	owners := make(map[string]map[uuid.UUID]bool)
	for tenant, keys := range k {
		for _, said := range keys {
			for recipient := range said {
				if owners[recipient] == nil {
					owners[recipient] = make(map[uuid.UUID]bool)
				}
				owners[recipient][tenant] = true
			}
		}
	}
	return owners
}

// claim is one key of a tenant, decided.
type claim struct {
	id        uuid.UUID
	recipient string
	given     bool // its identity is at hand
	newest    time.Time
}

// claims decides which keys are a tenant's; those that are proved come first, the
// youngest before. A key id with several recipients is decided by the identity
// at hand, or not at all. A recipient that two tenants claim is the one's whose
// recovery kit says so, or nobody's, and one that the catalog has under another
// tenant stays there.
func (k keyring) claims(tenant uuid.UUID, r ring, owners map[string]map[uuid.UUID]bool, kept map[string]uuid.UUID) []claim {
	var out []claim
	for id, said := range k[tenant] {
		var possible []claim
		for recipient, newest := range said {
			kit, there := r[recipient]
			switch {
			case there && kit.TenantID != uuid.Nil && kit.TenantID != tenant:
				continue
			case kept[recipient] != uuid.Nil && kept[recipient] != tenant:
				continue
			case len(owners[recipient]) > 1 && kit.TenantID != tenant:
				continue
			}
			possible = append(possible, claim{id, recipient, there, newest})
		}
		if proved := slices.DeleteFunc(slices.Clone(possible), func(c claim) bool { return !c.given }); len(proved) > 0 {
			possible = proved
		}
		if len(possible) == 1 {
			out = append(out, possible[0])
		}
	}
	slices.SortFunc(out, func(a, b claim) int {
		if a.given != b.given {
			if a.given {
				return -1
			}
			return 1
		}
		return cmp.Or(b.newest.Compare(a.newest), compareIDs(a.id, b.id))
	})
	return out
}
