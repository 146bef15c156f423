package archive

import "xvault/internal/job"

// maxProblems is how many of them a Summary names; all are in the index.
const maxProblems = 20

// Summary is what a completed artifact holds.
type Summary struct {
	Content   Content
	SizeBytes int64  // of the artifact
	SHA256    string // of the artifact, lower-case hex
	// Problems are the first of the entries that make a snapshot partial.
	Problems []Problem
}

// Problem is an entry that is not in the artifact as it was on the source.
type Problem struct {
	Path string   `json:"path"` // escaped, for showing
	Code job.Code `json:"code"`
}

// Complete reports whether every byte that was announced is there.
func (s *Summary) Complete() bool { return s.Content.Errors == 0 }

func (s *Summary) problem(path string, code job.Code) {
	s.Content.Errors++
	if len(s.Problems) < maxProblems {
		s.Problems = append(s.Problems, Problem{Path: Escape(path), Code: code})
	}
}
