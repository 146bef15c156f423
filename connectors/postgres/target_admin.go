package postgres

import (
	"context"
	"fmt"
	"time"

	"xvault/internal/job"
)

// Errors of the server that matter when databases are made.
const (
	undefinedObject  = "42704"
	invalidParameter = "22023"
	routineRole      = "get_role" // get_role_oid, get_rolespec_oid: there is no such role
)

// admin connects with a database that is not at stake.
func (r *restoring) admin(ctx context.Context) (*inspector, error) {
	for _, name := range []string{r.first, "postgres", "template1"} {
		if name == r.name {
			continue
		}
		in, err := r.survey.target.inspect(ctx, name, r.options.Patience)
		if err == nil {
			if _, err = in.ask("SELECT set_config('default_transaction_read_only', 'off', false)"); err == nil {
				return in, nil
			}
			in.close()
		}
		if code := job.CodeOf(err); code != job.PathNotFound && code != job.PermissionDenied {
			return nil, err
		}
	}
	return nil, job.Errorf(job.PermissionDenied, "the role can connect neither to the database postgres nor to template1, from where %q could be made; run: GRANT CONNECT ON DATABASE postgres TO %s;", r.final, quoteIdent(r.config.Username))
}

// change runs one statement that changes the server.
func (r *restoring) change(ctx context.Context, statements ...string) error {
	if err := r.opts.Allowed(); err != nil {
		return err
	}
	in, err := r.admin(ctx)
	if err != nil {
		return err
	}
	defer in.close()
	for _, s := range statements {
		if _, err := in.ask(s); err != nil {
			return err
		}
	}
	return nil
}

func (r *restoring) exists(ctx context.Context, name string) (bool, error) {
	in, err := r.admin(ctx)
	if err != nil {
		return false, err
	}
	defer in.close()
	rows, err := in.ask("SELECT datname FROM pg_catalog.pg_database WHERE datname = $1", name)
	return len(rows) > 0, err
}

// create makes the database under its temporary name, with the encoding and the sort
// order of the original where that is here.
func (r *restoring) create(ctx context.Context, like bool) error {
	locale := ""
	if like {
		var err error
		if locale, err = r.locale(ctx); err != nil {
			return err
		}
	}
	if err := r.drop(ctx); err != nil {
		return err
	}
	err := r.change(ctx, "CREATE DATABASE "+quoteIdent(r.temp)+" TEMPLATE template0"+locale)
	if job.CodeOf(err) == job.PermissionDenied {
		return &job.Error{Code: job.PermissionDenied, Err: err, Message: fmt.Sprintf(
			"the role may not make a database to restore %q into; run: ALTER ROLE %s CREATEDB; or restore with another source of this server, whose role may", r.name, quoteIdent(r.config.Username))}
	}
	return err
}

// locale are the words of CREATE DATABASE that make a database like another one.
func (r *restoring) locale(ctx context.Context) (string, error) {
	in, err := r.admin(ctx)
	if err != nil {
		return "", err
	}
	defer in.close()
	provider, icu := "'c'", "''"
	if r.about.number >= 150000 {
		provider, icu = "datlocprovider", "daticulocale"
	}
	if r.about.number >= 170000 {
		icu = "datlocale"
	}
	// The server quotes what is its own.
	row, err := in.one(1, `SELECT format(' ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(encoding), datcollate, datctype) ||
			CASE `+provider+`::text WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', `+icu+`)
				WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', `+icu+`) ELSE '' END
		FROM pg_catalog.pg_database WHERE datname = $1`, r.name)
	if err != nil {
		return "", err
	}
	return row[0], nil
}

// tidyTime is how long a database that is not whole may take to be removed, also after
// the job was told to stop.
const tidyTime = 15 * time.Second

// drop removes what is under the temporary name.
func (r *restoring) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	force := ""
	if r.about.number >= 130000 {
		force = " WITH (FORCE)"
	}
	return r.change(ctx, "DROP DATABASE IF EXISTS "+quoteIdent(r.temp)+force)
}

// rename gives the database its name, which it takes from nobody.
func (r *restoring) rename(ctx context.Context) error {
	return r.change(ctx, "ALTER DATABASE "+quoteIdent(r.temp)+" RENAME TO "+quoteIdent(r.final))
}
