package worker

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"xvault/archive/seal"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// Names of the files in the state folder, one value each.
const (
	workerIDFile     = "worker-id"
	identityFile     = "identity"     // the age identity that the hub seals secrets to
	tokenFile        = "token"        // of the latest registration
	registrationFile = "registration" // of a registration whose answer may be lost
	storageFile      = "storage-id"   // of the storage that was seen last
	joinedFile       = "joined"       // when the catalog first knew this worker
	aliveFile        = "alive"        // when the hub last took a heartbeat
)

// maxStateFile bounds what is read of one: each holds a line.
const maxStateFile = 4096

// state is the worker's own folder. Every write is durable before it returns.
// One process has it at a time: a second one would register with its token and
// so end the first one's work.
type state struct {
	root *os.Root
	lock *os.File
}

// openState opens the folder, or makes it.
func openState(dir string) (*state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make WORKER_STATE_DIR: %w", err)
	}
	// It may have been made by someone more generous.
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder
		return nil, fmt.Errorf("close WORKER_STATE_DIR to others: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open WORKER_STATE_DIR: %w", err)
	}
	lock, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open WORKER_STATE_DIR: %w", err), root.Close())
	}
	s := &state{root, lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("WORKER_STATE_DIR %s is in use by another worker that runs: give each a WORKER_STATE_DIR of its own, or stop the other one", dir)
		} else {
			err = fmt.Errorf("lock WORKER_STATE_DIR: %w", err)
		}
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *state) close() error { return errors.Join(s.lock.Close(), s.root.Close()) }

// read gives a file's value; empty where there is none.
func (s *state) read(name string) (string, error) {
	info, err := s.root.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read worker state: %w", err)
	}
	if info.Size() > maxStateFile {
		return "", fmt.Errorf("read worker state: %s is too large to be ours", name)
	}
	content, err := s.root.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read worker state: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

// write puts a value in place in one step.
func (s *state) write(name, value string) error {
	temp := name + ".new"
	if err := s.writeTemp(temp, value); err != nil {
		return fmt.Errorf("write worker state: %w", errors.Join(err, ignoreMissing(s.root.Remove(temp))))
	}
	if err := s.root.Rename(temp, name); err != nil {
		return fmt.Errorf("write worker state: %w", err)
	}
	return s.sync()
}

func (s *state) writeTemp(name, value string) error {
	if err := ignoreMissing(s.root.Remove(name)); err != nil { // of a process that died
		return err
	}
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (s *state) remove(name string) error {
	if err := ignoreMissing(s.root.Remove(name)); err != nil {
		return fmt.Errorf("write worker state: %w", err)
	}
	return s.sync()
}

func (s *state) sync() error {
	dir, err := s.root.Open(".")
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return fmt.Errorf("write worker state: %w", err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// workerID gives the id that this folder belongs to; the first one that is
// configured, or made, stays.
func (s *state) workerID(configured string) (string, error) {
	kept, err := s.read(workerIDFile)
	switch {
	case err != nil:
		return "", err
	case kept != "" && configured != "" && kept != configured:
		return "", fmt.Errorf("WORKER_STATE_DIR belongs to worker %q, but WORKER_ID is %q: "+
			"give each worker a folder of its own", kept, configured)
	case kept != "" && !job.ValidWorkerID(kept):
		return "", errors.New("WORKER_STATE_DIR: the kept worker id is damaged")
	case kept != "":
		return kept, nil
	}
	if configured == "" {
		configured = "w-" + uuid.NewString()
	}
	return configured, s.write(workerIDFile, configured)
}

// identity gives the age identity and its recipient, made at the first start.
func (s *state) identity() (identity secret.Text, recipient string, err error) {
	kept, err := s.read(identityFile)
	if err != nil {
		return secret.Text{}, "", err
	}
	if kept != "" {
		identity = secret.New(kept)
		recipient, err = seal.Recipient(identity)
		if err != nil {
			return secret.Text{}, "", errors.New("WORKER_STATE_DIR: the kept identity is damaged; remove the file identity and start again")
		}
		return identity, recipient, nil
	}
	identity, recipient, err = seal.NewIdentity()
	if err != nil {
		return secret.Text{}, "", err
	}
	return identity, recipient, s.write(identityFile, identity.Reveal())
}

func (s *state) token() (secret.Text, error) {
	kept, err := s.read(tokenFile)
	return secret.New(kept), err
}

// registration gives the id of a registration whose answer may have been lost,
// or a fresh one. It is kept until registered.
func (s *state) registration() (uuid.UUID, error) {
	id, err := s.readID(registrationFile)
	if err != nil || id != uuid.Nil {
		return id, err
	}
	id, err = uuid.NewRandom()
	if err != nil {
		return uuid.Nil, err
	}
	return id, s.write(registrationFile, id.String())
}

// registered keeps the token; the registration has arrived.
func (s *state) registered(token secret.Text) error {
	if err := s.write(tokenFile, token.Reveal()); err != nil {
		return err
	}
	return s.remove(registrationFile)
}

// joined keeps since when the hub knows this worker.
func (s *state) keepJoined(at time.Time) error {
	return s.write(joinedFile, at.UTC().Format(time.RFC3339Nano))
}

// joinedAt is the zero time where it is not known.
func (s *state) joinedAt() (time.Time, error) {
	kept, err := s.read(joinedFile)
	if err != nil || kept == "" {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339Nano, kept)
	if err != nil {
		return time.Time{}, fmt.Errorf("WORKER_STATE_DIR: the file %s is damaged", joinedFile)
	}
	return at, nil
}

// alive leaves a sign that a health check looks for. It need not be durable.
func (s *state) alive(at time.Time) error {
	err := s.root.WriteFile(aliveFile, []byte(at.UTC().Format(time.RFC3339Nano)+"\n"), 0o600)
	if err != nil {
		return fmt.Errorf("write worker state: %w", err)
	}
	return nil
}

func (s *state) storageID() (uuid.UUID, error) { return s.readID(storageFile) }

func (s *state) keepStorageID(id uuid.UUID) error { return s.write(storageFile, id.String()) }

func (s *state) readID(name string) (uuid.UUID, error) {
	kept, err := s.read(name)
	if err != nil || kept == "" {
		return uuid.Nil, err
	}
	id, err := uuid.Parse(kept)
	if err != nil {
		return uuid.Nil, fmt.Errorf("WORKER_STATE_DIR: the file %s is damaged", name)
	}
	return id, nil
}
