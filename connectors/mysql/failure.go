package mysql

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"xvault/connectors/dumptool"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// codeOf says what a server's error number means for a job; false where it means
// nothing special.
func codeOf(number int) (job.Code, bool) {
	switch number {
	case 1045, 1130, 1251, 1275, 1396, 1524, 1698, 1820, 1862, 2049, 2054, 2059, 2061, 3118, 3955, 4151:
		return job.AuthFailed, true
	case 1044, 1142, 1143, 1227, 1370, 1419:
		return job.PermissionDenied, true
	case 1049:
		return job.PathNotFound, true
	case 1040, 1053, 1129, 1152, 1153, 1158, 1159, 1160, 1161, 1203, 1226, 1317, 1927,
		2002, 2003, 2004, 2005, 2006, 2012, 2013, 2026, 2055:
		return job.ConnectFailed, true
	case 1205, 1213, 1969, 3024, 4031:
		return job.Timeout, true
	case 1146, 1412:
		return job.SourceChanged, true
	}
	return "", false
}

// advice says what to do about an error, beyond what the server says.
func advice(number int) string {
	switch number {
	case 1045, 1698:
		return "Check the username, the password, and that the account may connect from this worker."
	case 1130:
		return "Make an account that may connect from this worker's address."
	case 1040, 1203, 1226:
		return "The server has no connection to spare; it is tried again."
	case 1356, 1449:
		return "A view or routine refers to an account, a table or a function that is not there, so it cannot be dumped: fix or drop it, create its definer, or leave it out with exclude_tables."
	case 1146, 1412:
		return "A table's definition was changed, or it was dropped, during the dump; run the job again while none is."
	case 1153, 2020:
		return "A row is larger than max_allowed_packet; raise it on the server."
	}
	return ""
}

// serverError is the error of a statement of the connector's own.
func serverError(doing string, err error) error {
	if e, ok := errors.AsType[*job.Error](err); ok {
		return e
	}
	said, ok := errors.AsType[*driver.MySQLError](err)
	if !ok {
		return job.Errorf(job.ConnectFailed, "%s failed, for the connection with the server broke; check that it runs, and the network in between: %w", doing, sshconn.Quoted(err))
	}
	number := int(said.Number)
	code, known := codeOf(number)
	if !known {
		code = job.DumpFailed
	}
	text := fmt.Sprintf("%s failed: error %d: %s", doing, number, sshconn.Escape(said.Message, 400))
	if hint := advice(number); hint != "" {
		text += ". " + hint
	}
	return &job.Error{Code: code, Message: text, Err: err}
}

// spokenNumber finds the error number in what a program says: "Got error: 1045: ...",
// "Error 2013: ...", "ERROR 1064 (42000) at line 7", "... rights to use them (1356)".
var spokenNumber = regexp.MustCompile(`(?i)error:? (\d{4})\b|\((\d{4})\)`)

// explain turns a program's failure into an error for people.
func explain(f dumptool.Failure) (told *job.Error) {
	if f.Link == nil { // why its connection broke would say more
		told = explainWords(f)
	}
	return told
}

func explainWords(f dumptool.Failure) *job.Error {
	number := lastNumber(f.LastWords())
	code, known := codeOf(number)
	hint := advice(number)
	if strings.Contains(f.LastWords(), "insufficient privileges to SHOW CREATE") {
		code, known = job.PermissionDenied, true
		hint = "The account sees that there is a stored procedure or function, and not its text: " +
			"GRANT SELECT ON mysql.proc (MariaDB before 11.3), SHOW CREATE ROUTINE (later), SHOW_ROUTINE ON *.* (MySQL 8), or set routines to false."
	}
	if !known && hint == "" {
		return nil
	}
	if !known {
		code = job.DumpFailed
	}
	text := fmt.Sprintf("%s failed (%s).", f.What, f.Ending())
	if hint != "" {
		text += " " + hint
	}
	return &job.Error{Code: code, Message: text, Err: f.Err}
}

// lastNumber is the last error number in a text, which is why it ended; 0 without one.
func lastNumber(text string) int {
	number := 0
	for _, m := range spokenNumber.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.Atoi(m[1] + m[2]); err == nil {
			number = n
		}
	}
	return number
}
