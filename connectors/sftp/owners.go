package sftp

import (
	"strings"
	"sync"

	"xvault/connectors/sftp/wire"
)

// owners knows the names of users and groups, as far as the server tells them:
// OpenSSH does since version 9. Names are asked for when a listing, or a configured
// path, shows an owner for the first time, and waited for when the first entry needs
// one, so that they cost no time of their own.
type owners struct {
	s     *session
	mu    sync.Mutex
	known [2]map[uint32]string // of users and of groups; empty while asked for
	asked []ownerCall
}

// ownerCall is a question on its way.
type ownerCall struct {
	ids  [2][]uint32
	call *wire.Call
}

const (
	maxOwners     = 20_000 // a hostile server shows a new one with each file
	ownersPerCall = 500
	maxOwnerName  = 256
)

func newOwners(s *session) *owners {
	return &owners{s: s, known: [2]map[uint32]string{{}, {}}}
}

// learn asks for the names of the owners in a listing that are not known yet.
func (o *owners) learn(list *listing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var ids [2][]uint32
	var last *record // most files have the owner of the one before
	for i := range list.count {
		r := list.entry(i)
		if r.has&hasOwner != 0 && (last == nil || r.uid != last.uid || r.gid != last.gid) {
			o.need(&ids, r.uid, r.gid)
			last = r
		}
	}
	o.ask(ids)
}

// learnRoots is learn for the configured paths, which are in no listing.
func (o *owners) learnRoots(roots []*root) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var ids [2][]uint32
	for _, r := range roots {
		if r.attrs.HasOwner {
			o.need(&ids, r.attrs.UID, r.attrs.GID)
		}
	}
	o.ask(ids)
}

// need adds the ids that nobody asked for yet.
func (o *owners) need(ids *[2][]uint32, uid, gid uint32) {
	for i, id := range [2]uint32{uid, gid} {
		if _, ok := o.known[i][id]; !ok && len(o.known[i]) < maxOwners {
			o.known[i][id] = ""
			ids[i] = append(ids[i], id)
		}
	}
}

func (o *owners) ask(ids [2][]uint32) {
	for len(ids[0])+len(ids[1]) > 0 {
		var some [2][]uint32
		for i := range ids {
			n := min(len(ids[i]), ownersPerCall)
			some[i], ids[i] = ids[i][:n], ids[i][n:]
		}
		if call := o.s.OwnerNames(some[0], some[1]); call != nil {
			o.asked = append(o.asked, ownerCall{some, call})
		}
	}
}

// names gives the user and the group; empty where the server does not tell.
func (o *owners) names(uid, gid uint32) (user, group string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var ids [2][]uint32
	o.need(&ids, uid, gid) // of what became another since it was listed
	o.ask(ids)
	for _, a := range o.asked {
		users, groups, err := a.call.OwnerNames()
		if err != nil {
			continue // no names; a lost connection shows where it matters
		}
		remember(o.known[0], a.ids[0], users)
		remember(o.known[1], a.ids[1], groups)
	}
	o.asked = nil
	return o.known[0][uid], o.known[1][gid]
}

func remember(known map[uint32]string, ids []uint32, names []string) {
	if len(names) != len(ids) {
		return
	}
	for i, name := range names {
		if len(name) <= maxOwnerName && !strings.ContainsAny(name, "\x00\n/:") {
			known[ids[i]] = name
		}
	}
}
