package mysql

import (
	"context"
	"fmt"

	"xvault/connectors/dumptool"
	"xvault/internal/job"
)

// tool is an installed program.
type tool struct {
	path string
	version
}

// dumpPrograms is under which names the programs that dump are installed.
var dumpPrograms = []string{"mariadb-dump", "mysqldump"}

// findTools lists programs of some names, each once.
func findTools(ctx context.Context, folders, names []string) ([]tool, error) {
	var found []tool
	seen := map[string]bool{}
	for _, name := range names {
		programs, err := dumptool.Find(ctx, name, folders...)
		if err != nil {
			return nil, err
		}
		for _, t := range toolsOf(programs) {
			if !seen[t.path] {
				seen[t.path] = true
				found = append(found, t)
			}
		}
	}
	return found, nil
}

// toolsOf lists those that answered with their version.
func toolsOf(programs []dumptool.Program) (found []tool) {
	for _, p := range programs {
		if v, ok := versionOf(p.Banner, ""); ok {
			found = append(found, tool{p.Path, v})
		}
	}
	return found
}

// choose takes the program that fits a server: of its own flavor the newest. Where
// Oracle's is missing MariaDB's does for a MySQL server; the reverse would leave
// out what only MariaDB has. note says what is less than right.
func choose(server version, tools []tool, where string) (best tool, note string, ok bool) {
	for _, t := range tools {
		switch {
		case t.flavor != server.flavor && (server.flavor == mariaDB || ok && best.flavor == server.flavor):
		case !ok || best.flavor != server.flavor && t.flavor == server.flavor || newer(t.version, best.version):
			best, ok = t, true
		}
	}
	switch {
	case !ok:
	case best.flavor != server.flavor:
		note = fmt.Sprintf("the server is %s and %s has no client of MySQL's own: %s is used; install MySQL's client for the surest dump", server, where, best.version)
	case !best.atLeast(server.major, server.minor):
		note = fmt.Sprintf("the client of %s, %s, is older than the server, %s: what is new in the server may not be in the dump; install a client of the server's version", where, best.version, server)
	}
	return best, note, ok
}

func newer(a, b version) bool {
	return a.flavor == b.flavor && (a.major > b.major || a.major == b.major && (a.minor > b.minor || a.minor == b.minor && a.patch > b.patch))
}

// dumpTool is the program that dumps a server.
func (r *reach) dumpTool(ctx context.Context, srv *server) (tool, string, error) {
	where := "the worker"
	find := func(ctx context.Context) ([]tool, error) { return findTools(ctx, r.options.Folders, dumpPrograms) }
	if srv.remote != nil {
		where, find = "the ssh host", srv.remote.dumpTools
	}
	tools, err := find(ctx)
	if err != nil {
		return tool{}, "", err
	}
	t, note, ok := choose(srv.version, tools, where)
	if !ok {
		pkg := "mariadb-client"
		if srv.flavor == oracle {
			pkg = "mariadb-client, or MySQL's own client"
		}
		return tool{}, "", job.Errorf(job.ConfigInvalid, "%s has no program that can dump %s: install %s there", where, srv.version, pkg)
	}
	return t, note, nil
}
