package api

import (
	"github.com/google/uuid"

	"xvault/connectors"
	"xvault/hub/problem"
	"xvault/internal/job"
)

// SourceRestore says how files are written back to a source.
type SourceRestore struct {
	Destination    string     `json:"destination,omitempty" enum:"download,source" doc:"Default: download. source: the files are written back"`
	TargetPath     string     `json:"target_path,omitempty" maxLength:"4095" doc:"With destination source: the absolute folder under which every path is put as a whole: /srv/www/a comes to /restore/srv/www/a under /restore. Default: the original places"`
	TargetSourceID *uuid.UUID `json:"target_source_id,omitempty" format:"uuid" doc:"With destination source: another source of the same tenant to write to. Default: the snapshot's own"`
	Existing       string     `json:"existing,omitempty" enum:"skip,overwrite,newer" doc:"With destination source: what becomes of files that are there. skip (default): they stay. overwrite: they are replaced. newer: they are replaced where the snapshot's is newer"`
	URL            string     `json:"url,omitempty" maxLength:"500" doc:"With destination source, of a source of the type wordpress: the address that the site moves to (https://new.example). Every mention of the old one in its database is changed, in serialized PHP values too. Default: it keeps its address"`
	Database       string     `json:"database,omitempty" maxLength:"256" doc:"With destination source, of a source of the type wordpress: the database that the dump is loaded into: one that is not there yet or is empty, unless existing is overwrite. Default: a new one beside the site's, or the one that wp-config.php in target_path names"`
	Confirm        bool       `json:"confirm,omitempty" doc:"Needed with existing overwrite and newer, for files are replaced"`
}

// settle takes the request into the payload and tells what is wrong with it.
func (r SourceRestore) settle(p *job.RestorePayload, formatGiven bool) []problem.FieldError {
	if r.Destination != job.DestinationSource {
		return r.misplaced()
	}
	p.Destination, p.Format, p.TargetPath = job.DestinationSource, "", r.TargetPath
	var faults []problem.FieldError
	fault := func(field, message string) {
		faults = append(faults, problem.FieldError{Location: "body." + field, Message: message})
	}
	if formatGiven {
		fault("format", "it is for downloads only; leave it out with destination source")
	}
	if r.TargetPath != "" {
		clean, err := connectors.CleanPath(r.TargetPath)
		if err != nil {
			fault("target_path", err.Error())
		}
		p.TargetPath = clean
	}
	if r.URL != "" {
		clean, err := connectors.CleanSiteURL(r.URL)
		if err != nil {
			fault("url", err.Error())
		}
		p.SiteURL = clean
	}
	p.Database = r.Database
	if p.Existing = job.Existing(r.Existing); p.Existing == "" {
		p.Existing = job.ExistingSkip
	}
	if p.Existing != job.ExistingSkip && !r.Confirm {
		fault("confirm", "existing files will be replaced ("+string(p.Existing)+"): say confirm: true, or choose existing: skip")
	}
	return faults
}

// misplaced names what means nothing for a download.
func (r SourceRestore) misplaced() []problem.FieldError {
	var faults []problem.FieldError
	for field, given := range map[string]bool{
		"target_path": r.TargetPath != "", "target_source_id": r.TargetSourceID != nil, "existing": r.Existing != "",
		"url": r.URL != "", "database": r.Database != "",
	} {
		if given {
			faults = append(faults, problem.FieldError{Location: "body." + field, Message: "it goes with destination source"})
		}
	}
	return faults
}

// target is the source to write to; zero for the snapshot's own.
func (r *restoreRequest) target() uuid.UUID {
	if r == nil || r.TargetSourceID == nil {
		return uuid.Nil
	}
	return *r.TargetSourceID
}

// writable reports whether sources of a type can be written to.
func (s *server) writable(name string) bool {
	found, ok := s.sourceType(name)
	return ok && found.Writable()
}

// isSite reports whether sources of a type are web sites.
func (s *server) isSite(name string) bool {
	found, ok := s.sourceType(name)
	return ok && found.Site
}
