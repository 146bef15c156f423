package cmd

import (
	"context"
	"crypto/rand"
	"regexp"
	"strings"

	"xvault/internal/job"
	"xvault/internal/secret"
)

// accounts are the statements that make an account which reads everything and writes
// nothing. What stands for names and the password holds letters, digits and ._%:- only;
// lines that begin with "--" are for people.
var accounts = map[string]string{
	"mysql": `CREATE USER '{account}'@'{from}' IDENTIFIED BY '{password}';
-- For one database alone: ON its_name.* instead of ON *.*, without SHOW DATABASES, and for stored
-- routines, before MariaDB 11.3: GRANT SELECT ON mysql.proc TO '{account}'@'{from}';
GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, SHOW DATABASES ON *.* TO '{account}'@'{from}';
-- From MariaDB 11.3 on, for stored routines: GRANT SHOW CREATE ROUTINE ON *.* TO '{account}'@'{from}';`,
	"postgres": `CREATE ROLE "{account}" LOGIN PASSWORD '{password}';
GRANT pg_read_all_data TO "{account}";
-- Before PostgreSQL 14 there is no such role. There, in each database and for each of its schemas:
-- GRANT USAGE ON SCHEMA public TO "{account}";
-- GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{account}";
-- GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO "{account}";
-- and, as each role that makes tables, for those to come:
-- ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO "{account}";
-- ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON SEQUENCES TO "{account}";
-- Large objects, in every version, one by one: GRANT SELECT ON LARGE OBJECT 1234 TO "{account}";
-- Tables with row-level security are read whole:
ALTER ROLE "{account}" BYPASSRLS;
-- A second lock on the door; the server's pg_hba.conf says from where it may come.
ALTER ROLE "{account}" SET default_transaction_read_only = on;`,
}

var (
	accountName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,30}$`)
	oneAddress  = regexp.MustCompile(`^[0-9A-Za-z:._-]+$`)
)

// newAccount makes a password, and writes down how to make the account that has it.
func (o *keyOptions) newAccount(ctx context.Context, s *session, name, statements string) (login, error) {
	if !accountName.MatchString(o.account) {
		return login{}, usagef("--username is %q: it takes up to 31 letters, digits and underscores", o.account)
	}
	from := "%"
	switch {
	case o.from == "":
	case o.kind == "postgres":
		return login{}, usagef("--from does not go with --type postgres: its pg_hba.conf says from where a role may come")
	case !oneAddress.MatchString(o.from):
		return login{}, usagef("--from is %q: an account of MySQL's takes one address or host name", o.from)
	default:
		from = o.from
	}
	password := rand.Text()
	made := login{
		SQL:   strings.NewReplacer("{account}", o.account, "{password}", password, "{from}", from).Replace(statements),
		where: "Have the database's administrator run this; it holds the password, which is not shown again.",
	}
	return made.store(ctx, s, name, job.Credential{Type: "password", Password: secret.New(password)})
}
