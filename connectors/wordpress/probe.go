package wordpress

import (
	"context"
	"fmt"

	"xvault/connectors"
	"xvault/internal/job"
)

// Probe implements connectors.Source. It looks at everything that a backup needs, and
// tells of all that it saw, also where something fails.
func (s *source) Probe(ctx context.Context) (connectors.ProbeResult, error) {
	f, err := s.find(ctx)
	if err != nil {
		return s.probeAnyway(ctx, err)
	}
	result, err := f.files.Probe(ctx)
	if err != nil {
		return result, err
	}
	config := connectors.ProbePath{Path: f.file, Reachable: true, Kind: "file"}
	result.Paths = append(result.Paths, config)
	err = s.connect(ctx, f)
	var db connectors.ProbeResult
	if err == nil {
		db, err = f.database.Probe(ctx)
	}
	if err != nil && len(db.Paths) == 0 {
		db.Paths = []connectors.ProbePath{{Path: f.settings.database, Kind: "database", Error: probeError(err)}}
	}
	result.Paths = append(result.Paths, db.Paths...)
	result.Warnings = append(append(result.Warnings, s.warnings(f)...), db.Warnings...)
	if err != nil {
		return result, err
	}
	inv, err := f.takeStock(ctx)
	if err != nil {
		return result, err
	}
	if inv.version == "" {
		result.Warnings = append(result.Warnings, "the version of WordPress could not be read from wp-includes/version.php")
	}
	result.ServerVersion += fmt.Sprintf("; WordPress %s at %s (%d plugins, %d themes); %s", inv.version, f.siteURL(), len(inv.plugins), len(inv.themes), db.ServerVersion)
	result.Transport = "files: " + result.Transport + "; database: " + db.Transport
	return result, nil
}

func probeError(err error) *connectors.ProbeErr {
	return &connectors.ProbeErr{Code: job.CodeOf(err), Message: err.Error()}
}

// probeAnyway tells what the server is, where the site was not found.
func (s *source) probeAnyway(ctx context.Context, why error) (connectors.ProbeResult, error) {
	s.mu.Lock()
	open := append([]connectors.Source{}, s.open...)
	s.mu.Unlock()
	if len(open) == 0 || ctx.Err() != nil {
		return connectors.ProbeResult{}, why
	}
	result, _ := open[0].Probe(ctx) // why says more than its error
	return result, why
}

func (s *source) warnings(f *site) (w []string) {
	for _, o := range f.settings.outside(f.root) {
		w = append(w, "outside of the site's folder, and therefore not backed up here: "+o.String())
	}
	if f.above {
		w = append(w, fmt.Sprintf("%s lies one folder above the site; it is stored beside the files", configName))
	}
	return w
}
