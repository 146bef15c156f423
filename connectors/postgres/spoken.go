package postgres

import (
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// reported finds what a server said in what a program prints, with the error's code where
// it was asked to tell it.
var reported = regexp.MustCompile(`(ERROR|FATAL|PANIC):  (?:([0-9A-Z]{5}): )?`)

// follows begins what comes after a message, which may have several lines.
var follows = regexp.MustCompile(`\n(?:[A-Z]+:|pg_dump|psql)`)

// spoken is the last error of the server that a program tells of; nil where there is
// none. Programs pass on the server's words and not its code, which is made out from
// them where they are English.
func spoken(stderr string) *pgconn.PgError {
	all := reported.FindAllStringSubmatchIndex(stderr, -1)
	if len(all) == 0 {
		return nil
	}
	at := all[len(all)-1]
	message := stderr[at[1]:]
	if end := follows.FindStringIndex(message); end != nil {
		message = message[:end[0]]
	}
	e := &pgconn.PgError{Severity: stderr[at[2]:at[3]], Message: strings.TrimSpace(message)}
	if at[4] >= 0 {
		e.Code = stderr[at[4]:at[5]]
	}
	for _, known := range meanings {
		if strings.Contains(e.Message, known.words) && (e.Code == "" || e.Code == known.code) {
			e.Code, e.Routine = known.code, known.routine
			break
		}
	}
	switch {
	case e.Code != "":
	case e.Severity == "FATAL" && missingDatabase.MatchString(e.Message):
		e.Code = noSuchDatabase
	case e.Severity == "FATAL" && missingRole.MatchString(e.Message):
		e.Code = invalidLogin
	case missingRelation.MatchString(e.Message):
		e.Code = undefinedTable
	}
	return e
}

// meanings are the words of errors that matter here.
var meanings = []struct{ words, code, routine string }{
	{"row-level security policy", noPrivilege, routineRowSecurity},
	{"permission denied", noPrivilege, ""},
	{"must be owner of", noPrivilege, ""},
	{"authentication failed", invalidLogin, ""},
	{"no pg_hba.conf entry", invalidLogin, ""},
	{"is not permitted to log in", invalidLogin, ""},
	{"is not currently accepting connections", notConnectable, ""},
	{"remaining connection slots", tooManyConnections, ""},
	{"too many", tooManyConnections, ""},
	{"due to administrator command", adminShutdown, ""},
	{"the database system is", cannotConnectNow, ""},
	{"because of crash of another server process", crashShutdown, ""},
	{"lock timeout", lockNotAvailable, ""},
	{"conflict with recovery", recoveryConflict, ""},
	{"canceling statement", queryCanceled, ""},
}

var (
	missingDatabase = regexp.MustCompile(`(?s)^database ".*" does not exist`)
	missingRole     = regexp.MustCompile(`(?s)^role ".*" does not exist`)
	missingRelation = regexp.MustCompile(`(?s)^relation ".*" does not exist`)
)
