package ftp

// showAll is the option of LIST without which many servers leave out names that begin
// with a dot. No standard has it: other servers take it for the name of what is to be
// listed, and then refuse, or list nothing, as if the folder were empty.
const showAll = "-a"

// What is known of the server's LIST. Names that came with the option prove that it is
// taken, whatever else was thought.
const (
	showAllUnknown int32 = iota
	showAllTaken         // it listed names that were asked for with the option
	showAllNot           // it lists without the option alone
)

// listLines lists with LIST: with the option where the server takes it, which is found
// out with the first folders. One that is refused both ways, or empty both ways, tells
// nothing about the option.
func (s *session) listLines(dir string, limit int64) (*listing, error) {
	switch s.src.showAll.Load() {
	case showAllTaken:
		return s.transfer(dir, "LIST", showAll, limit)
	case showAllNot:
		return s.transfer(dir, "LIST", "", limit)
	}
	l, err := s.tryShowAll(dir, limit)
	if s.src.showAll.Load() == showAllTaken || err != nil && !isAnswer(err) {
		return l, err
	}
	plain, plainErr := s.transfer(dir, "LIST", "", limit)
	switch {
	case plainErr != nil && err != nil && isAnswer(plainErr):
		return nil, err // it is the folder
	case plainErr != nil:
		return nil, plainErr
	case err == nil && !plain.answersShowAll():
		return l, nil // it is empty
	}
	return s.listAgain(dir, plain, limit)
}

// tryShowAll lists with the option, and notes whether that gave names, even if the
// server had something to complain of after them.
func (s *session) tryShowAll(dir string, limit int64) (*listing, error) {
	l, err := s.transfer(dir, "LIST", showAll, limit)
	if l != nil && l.answersShowAll() {
		s.src.showAll.Store(showAllTaken)
	}
	return l, err
}

// listAgain lists with the option once more where only LIST without it gave the
// folder's names: had they been made, or been allowed to be seen, in between, leaving
// the option out from then on would lose names without a word.
func (s *session) listAgain(dir string, plain *listing, limit int64) (*listing, error) {
	l, err := s.tryShowAll(dir, limit)
	if s.src.showAll.Load() == showAllTaken || err != nil && !isAnswer(err) {
		return l, err
	}
	if s.src.showAll.CompareAndSwap(showAllUnknown, showAllNot) {
		s.src.env.Warn(dotsMayHide)
	}
	return plain, nil
}

// isAnswer: the server refused, and not for want of a data connection.
func isAnswer(err error) bool { return isRefusal(err) && !isLost(err) }

// answersShowAll reports whether a listing shows anything but what the option would be
// if it were a name.
func (l *listing) answersShowAll() bool {
	for i := range l.records {
		if string(l.name(&l.records[i])) != showAll {
			return true
		}
	}
	return l.dots > 0
}

// dotsMayHide is said where the option is not taken.
const dotsMayHide = `the server lists folders without the option -a alone: names that begin with a dot are in the backup only if it shows them unasked`
