package wire

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

// extending gives a client whose server has an extension, and sends one reply to what
// is asked of it first.
func extending(t *testing.T, extension string, reply []byte) *Client {
	t.Helper()
	here, there := net.Pipe()
	hello := appendText(appendText([]byte{typeVersion, 0, 0, 0, version}, extension), "1")
	var serving sync.WaitGroup
	serving.Go(func() {
		_, _ = io.ReadFull(there, make([]byte, 9))
		_, _ = there.Write(framed(hello))
		var length [4]byte
		if _, err := io.ReadFull(there, length[:]); err != nil {
			return // nothing was asked
		}
		request := make([]byte, binary.BigEndian.Uint32(length[:]))
		_, _ = io.ReadFull(there, request)
		_, _ = there.Write(framed(slices.Concat(reply[:1], request[1:5], reply[1:]))) // with the number of the request
		_, _ = io.Copy(io.Discard, there)                                             // ends with the client
	})
	c := Start(here, nil)
	if err := c.Greeted(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := there.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return c
}

func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func numbers(typ byte, list ...uint64) []byte {
	b := []byte{typ}
	for _, n := range list {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// What a server says of its limits is made sane.
func TestLimits(t *testing.T) {
	for what, c := range map[string]struct {
		reply []byte
		want  Limits
	}{
		"of OpenSSH":         {numbers(typeExtendedReply, 256<<10, 255<<10, 255<<10, 1019), Limits{255 << 10, 1019}},
		"small":              {numbers(typeExtendedReply, 34<<10, 8<<10, 8<<10, 20), Limits{8 << 10, 20}},
		"none":               {numbers(typeExtendedReply, 0, 0, 0, 0), Limits{safeRead, 0}},
		"beyond all sense":   {numbers(typeExtendedReply, 1<<63, 1<<63, 1<<63, 1<<63), Limits{255 << 10, 1 << 20}},
		"an answer cut off":  {numbers(typeExtendedReply, 256<<10, 255<<10), Limits{safeRead, 0}},
		"refused":            {append([]byte{typeStatus}, 0, 0, 0, 8), Limits{safeRead, 0}},
		"an answer of files": {numbers(typeAttrs, 256<<10, 255<<10, 255<<10, 1019), Limits{safeRead, 0}},
	} {
		if got := extending(t, limitsExtension, c.reply).Limits(); got != c.want {
			t.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
	}
}

func TestOwnerNames(t *testing.T) {
	list := func(names ...string) []byte {
		var b []byte
		for _, name := range names {
			b = appendText(b, name)
		}
		return framed(b)
	}
	whole := slices.Concat([]byte{typeExtendedReply}, list("root", "", "nobody"), list("staff"))
	for what, c := range map[string]struct {
		reply []byte
		fails bool
	}{
		"names":          {whole, false},
		"no groups":      {whole[:len(whole)-13], true},
		"a name cut off": {slices.Concat([]byte{typeExtendedReply}, framed([]byte{0, 0, 0, 9, 'r'}), list()), true},
		"refused":        {[]byte{typeStatus, 0, 0, 0, 8}, true},
	} {
		users, groups, err := extending(t, namesExtension, c.reply).OwnerNames([]uint32{0, 7, 65534}, []uint32{50}).OwnerNames()
		switch {
		case (err != nil) != c.fails:
			t.Errorf("%s: error %v", what, err)
		case err == nil && (!slices.Equal(users, []string{"root", "", "nobody"}) || !slices.Equal(groups, []string{"staff"})):
			t.Errorf("%s: %q, %q", what, users, groups)
		}
	}
	if call := extending(t, "another@example.com", whole).OwnerNames([]uint32{0}, nil); call != nil {
		t.Error("a server is asked what it does not know")
	}
}
