package worker

import (
	"context"
	"errors"

	"xvault/archive/seal"
	"xvault/connectors"
	"xvault/internal/job"
	"xvault/worker/hubclient"
)

// maxCredential bounds the plaintext of a sealed credential.
const maxCredential = 256 << 10

// openSource makes the claimed job's source, with its secret in memory only. It
// does not connect yet.
func (w *Worker) openSource(a *attempt) (connectors.Source, string, error) {
	kind, env, err := w.reach(a)
	if err != nil {
		return nil, "", err
	}
	source, err := kind.Open(a.claim.Source.Config, env)
	if err != nil {
		return nil, "", err
	}
	return source, kind.Version, nil
}

// reach gives what it takes to connect with the claimed job's source, its secret
// included.
func (w *Worker) reach(a *attempt) (connectors.Type, connectors.Env, error) {
	claimed := a.claim.Source
	if claimed == nil {
		return connectors.Type{}, connectors.Env{}, job.Errorf(job.ConfigInvalid, "The job has no source.")
	}
	kind, ok := w.cfg.SourceTypes.Lookup(claimed.Type)
	if !ok {
		return connectors.Type{}, connectors.Env{}, job.Errorf(job.ConfigInvalid, "This worker does not know sources of type %q; update it, or use another worker.", claimed.Type)
	}
	credential, err := w.credential(a.claim.SealedCredential)
	if err != nil {
		return connectors.Type{}, connectors.Env{}, err
	}
	sshCredential, err := w.credential(a.claim.SealedSSHCredential)
	if err != nil {
		return connectors.Type{}, connectors.Env{}, err
	}
	dial, err := w.limits.dialer(w.cfg.Dial, claimed)
	if err != nil {
		return connectors.Type{}, connectors.Env{}, err
	}
	return kind, connectors.Env{
		Credential:     credential,
		SSHCredential:  sshCredential,
		PinnedHostKeys: claimed.PinnedHostKeys,
		PinHostKey:     func(ctx context.Context, key string) error { return w.pinHostKey(ctx, a, key) },
		Dial:           dial,
		TempDir:        a.folder.path,
		Log:            a.log,
		Warnings:       &a.warnings,
	}, nil
}

// credential opens what the hub sealed to this worker. No error quotes it.
func (w *Worker) credential(sealed []byte) (job.Credential, error) {
	if len(sealed) == 0 {
		return job.Credential{}, nil
	}
	plain, err := seal.OpenMessage(w.identity, sealed, maxCredential)
	if err != nil {
		return job.Credential{}, &job.Error{
			Code: job.Internal, Err: err,
			Message: "The source's credential was not sealed to this worker. Restart the worker, so that it registers anew.",
		}
	}
	defer clear(plain)
	return job.DecodeCredential(plain)
}

// pinHostKey asks the hub, before anything is authenticated. Without its answer
// the connection is not made.
func (w *Worker) pinHostKey(ctx context.Context, a *attempt, key string) error {
	res, err := w.hub.PinHostKey(ctx, a.claim.JobID, job.HostKeyRequest{Attempt: a.claim.Attempt, Key: key})
	switch {
	case err == nil && res.Pinned:
		a.log.Info("the source's host key was pinned on first use")
		return nil
	case err == nil, hubclient.HostKeyRefused(err):
		return &job.Error{
			Code: job.HostKeyChanged, Err: err,
			Message: "The source shows another host key than the one that was pinned when it was first used. " +
				"If its key was changed on purpose, update host_keys of the source; otherwise someone may be in between.",
		}
	case hubclient.HostKeyNotTrusted(err):
		return &job.Error{
			Code: job.HostKeyUnknown, Err: err,
			Message: "The source's host key is not known, and trust_on_first_use was turned off since the job began; nothing was sent to the source. " +
				"Add its key to host_keys.",
		}
	case hubclient.LeaseLost(err):
		a.stop(errFenced)
		return errors.Join(errFenced, err)
	case hubclient.Transient(err):
		return &job.Error{
			Code: job.ConnectFailed, Err: err,
			Message: "The source's host key could not be pinned, for the hub did not answer; nothing was sent to the source.",
		}
	default:
		return err
	}
}

// closeSource closes the source when the context ends, so that a read that
// hangs comes back, and in any case when the returned function is called.
func (w *Worker) closeSource(ctx context.Context, a *attempt, source connectors.Source) func() {
	closed := func() {
		if err := source.Close(); err != nil {
			a.log.Debug("close source", "error", err) // all that counted was read, or failed
		}
	}
	stop := context.AfterFunc(ctx, closed)
	return func() {
		stop()
		closed()
	}
}
