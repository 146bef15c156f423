package download

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"

	"xvault/internal/job"
	"xvault/worker/artifact"
	"xvault/worker/hubclient"
)

// refusal is a problem (RFC 9457) with a stable code.
type refusal struct {
	status       int
	code, detail string
}

func (r *refusal) Error() string { return r.code + ": " + r.detail }

// errTicket is the one answer to a ticket that is not good here, whatever is
// wrong with it.
var errTicket = &refusal{http.StatusForbidden, "ticket_invalid", "This address is not valid: its ticket is missing, was altered, or is for something else."}

// refusalOf says what an error means for who asked.
func refusalOf(err error) *refusal {
	if known, ok := errors.AsType[*refusal](err); ok {
		return known
	}
	if hub, ok := errors.AsType[*hubclient.Error](err); ok && hub.Code != "" {
		switch hub.Code {
		case job.RefusedTicketExpired:
			return &refusal{http.StatusGone, hub.Code, "This download has expired. Ask for the restore again."}
		case job.RefusedTicketRevoked:
			return &refusal{http.StatusGone, hub.Code, "This download was revoked."}
		case job.RefusedTicketGone:
			return &refusal{http.StatusGone, hub.Code, "The snapshot of this download was deleted."}
		case job.RefusedTicketUnknown:
			return errTicket
		}
	}
	if hubclient.Transient(err) || hubclient.Unauthorized(err) {
		return &refusal{http.StatusServiceUnavailable, "hub_unreachable", "The hub, which has to agree to each download, does not answer just now; try again."}
	}
	if e, ok := errors.AsType[*job.Error](artifact.Explain(err)); ok {
		switch e.Code {
		case job.ArtifactMissing, job.PathNotFound:
			return &refusal{http.StatusNotFound, string(e.Code), e.Message}
		case job.StorageFailed:
			return &refusal{http.StatusServiceUnavailable, string(e.Code), e.Message}
		}
		return &refusal{http.StatusInternalServerError, string(e.Code), e.Message}
	}
	return &refusal{http.StatusInternalServerError, string(job.Internal), "Something went wrong in the worker; its log tells more."}
}

// refuse sends a problem, with headers of its own. Those of the answer that was
// meant are dropped.
func refuse(w http.ResponseWriter, ref *refusal, headers ...string) {
	body, err := json.Marshal(map[string]any{
		"title": http.StatusText(ref.status), "status": ref.status, "detail": ref.detail, "code": ref.code,
	})
	if err != nil { // strings and a number
		body = nil
	}
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Range", "Content-Disposition", "ETag", "Accept-Ranges"} {
		h.Del(name)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(ref.status)
	_, _ = w.Write(append(body, '\n')) // one who is gone needs no answer
}

// client is who asks, as far as the connection tells.
func client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
