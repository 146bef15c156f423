package sftp

import (
	"strings"
	"sync"

	"xvault/connectors/sftp/wire"
)

// owners knows the names of users and groups, as far as the server tells them:
// OpenSSH does since version 9.
type owners struct {
	s      *session
	asking sync.Mutex // held until the answer is there: others wait for it too
	mu     sync.Mutex
	users  map[uint32]string
	group  map[uint32]string
}

const (
	maxOwners     = 20_000 // a hostile server shows a new one with each file
	ownersPerCall = 500
	maxOwnerName  = 256
)

func newOwners(s *session) *owners {
	return &owners{s: s, users: map[uint32]string{}, group: map[uint32]string{}}
}

// learn asks for the names of the owners in a listing that are not known yet.
func (o *owners) learn(list *listing) error {
	o.asking.Lock()
	defer o.asking.Unlock()
	uids, gids := o.unknown(list)
	for len(uids)+len(gids) > 0 {
		u, g := uids[:min(len(uids), ownersPerCall)], gids[:min(len(gids), ownersPerCall)]
		uids, gids = uids[len(u):], gids[len(g):]
		call := o.s.OwnerNames(u, g)
		if call == nil {
			return nil
		}
		users, groups, err := call.OwnerNames()
		if err != nil && !wire.IsStatus(err) {
			return err
		}
		o.mu.Lock()
		remember(o.users, u, users)
		remember(o.group, g, groups)
		o.mu.Unlock()
	}
	return nil
}

func (o *owners) unknown(list *listing) (uids, gids []uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	need := func(known map[uint32]string, id uint32, ids []uint32) []uint32 {
		if _, ok := known[id]; ok || len(known) >= maxOwners {
			return ids
		}
		known[id] = "" // asked for once only
		return append(ids, id)
	}
	for _, i := range list.order {
		if r := list.at(i); r.has&hasOwner != 0 {
			uids, gids = need(o.users, r.uid, uids), need(o.group, r.gid, gids)
		}
	}
	return uids, gids
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

// names gives the user and the group; empty where the server does not tell.
func (o *owners) names(uid, gid uint32) (user, group string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.users[uid], o.group[gid]
}
