package wordpress

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"xvault/connectors/mysql"
	"xvault/connectors/wordpress/php"
	"xvault/connectors/wordpress/phpdata"
	"xvault/internal/job"
)

// finishDatabase does what is to be done in a database that was loaded: it moves the site
// to another address, if one was asked for.
func (t *target) finishDatabase(ctx context.Context) error {
	if t.opts.SiteURL == "" || t.loader == nil {
		if t.opts.SiteURL != "" && t.begun {
			return job.Errorf(job.ConfigInvalid, "the site cannot move to %s: its database is not in what is restored", t.opts.SiteURL)
		}
		return nil
	}
	if loaded, before := t.loader.Done(); !loaded || before {
		return nil // an earlier attempt did it
	}
	return t.moveSite(ctx)
}

// moveSite changes every mention of the old addresses in the tables of the site.
func (t *target) moveSite(ctx context.Context) error {
	n := &network{at: t.loader, prefix: t.prefix()}
	if err := n.read(ctx); err != nil {
		return err
	}
	to, ok := parseAddress(t.opts.SiteURL)
	if !ok {
		return job.Errorf(job.ConfigInvalid, "%.200q is no address of a site", t.opts.SiteURL)
	}
	var moves []move
	for _, one := range append(t.oldAddresses(n), n.moves(to)...) {
		if one.from != one.to {
			moves = append(moves, one)
		}
	}
	if len(moves) == 0 {
		t.note("the site has the address %s already: nothing was changed in its database", to)
		return nil
	}
	m := newMover(moves)
	changes, err := t.loader.Edit(ctx, mysql.Edit{
		Prefix: n.prefix, Charset: t.charset(), Holding: m.hosts(), Log: t.env.Log,
		Change: func(value []byte) ([]byte, int, int) {
			r := phpdata.Rewrite(value, m.change)
			return r.Value, r.Changed, r.Left
		},
		// What a feed reader knows a post by stays, WordPress says.
		Skip: func(table, column string) bool { return column == "guid" && strings.HasSuffix(table, "posts") },
	})
	if err == nil {
		err = n.move(ctx, to)
	}
	if err != nil {
		return t.halfMoved(err)
	}
	t.tellMoves(moves, changes)
	t.tellNetwork(n)
	return nil
}

// halfMoved says what to do about a database in which some addresses are others already. A
// new one is dropped.
func (t *target) halfMoved(err error) error {
	e, ok := errors.AsType[*job.Error](err)
	if !ok || t.opts.Existing != job.ExistingOverwrite {
		return err
	}
	return job.Errorf(e.Code, "%w. The site's database is restored, but moved in part only: repeat the restore, which loads the dump anew", err)
}

// prefix begins the names of the site's tables.
func (t *target) prefix() string {
	if t.about != nil {
		return t.about.Database.TablePrefix
	}
	if s := t.cameSettings(); s != nil {
		return s.prefix
	}
	return t.with.settings.prefix
}

func (t *target) charset() string {
	if t.about != nil {
		return t.about.Database.Charset
	}
	return t.with.settings.charset
}

// cameSettings are those of the snapshot's wp-config.php; nil where that is not known.
func (t *target) cameSettings() *settings {
	if t.came == nil {
		return nil
	}
	s, err := readSettings(t.came.content, t.dest, php.Config{
		Path: path.Join(t.dest, configName), Constants: map[string]string{"ABSPATH": t.dest + "/"}, Last: settingsName,
	})
	if err != nil {
		return nil
	}
	return s
}

// oldAddresses are what the site is called by itself, and what each becomes.
func (t *target) oldAddresses(n *network) (moves []move) {
	to, _ := parseAddress(t.opts.SiteURL)
	add := func(home, site string) {
		from, ok := parseAddress(home)
		if ok {
			moves = append(moves, move{from, to})
		}
		core, isCore := parseAddress(site)
		if !isCore {
			return
		}
		target := to
		// WordPress may have a folder of its own, also where it is called by another host.
		if rest, below := (webAddress{host: from.host, path: core.path}).below(from); ok && below {
			target.path += rest
		}
		moves = append(moves, move{core, target})
	}
	if t.about != nil {
		add(t.about.Site.Home, t.about.Site.SiteURL)
	}
	if s := t.cameSettings(); s != nil {
		add(s.home, s.siteURL)
	}
	if n != nil {
		add(n.home, n.siteURL)
	}
	return moves
}

// wantedAddresses is what wp-config.php says of addresses, where the site moves.
func (t *target) wantedAddresses(found *php.Settings) map[string]string {
	want := map[string]string{}
	to, ok := parseAddress(t.opts.SiteURL)
	if !ok {
		return want
	}
	moves := t.oldAddresses(nil)
	if len(moves) == 0 {
		return want
	}
	m := newMover(moves)
	for _, name := range []string{"WP_HOME", "WP_SITEURL", "WP_CONTENT_URL", "WP_PLUGIN_URL", "WPMU_PLUGIN_URL", "NOBLOGREDIRECT"} {
		if now, ok, err := found.Constant(name); ok && err == nil {
			if changed, places := m.change([]byte(now)); places > 0 {
				want[name] = string(changed)
			}
		}
	}
	from := moves[0].from
	for _, name := range []string{"DOMAIN_CURRENT_SITE", "COOKIE_DOMAIN"} {
		if now, ok, err := found.Constant(name); ok && err == nil && strings.EqualFold(strings.TrimPrefix(now, "."), from.host) {
			want[name] = now[:len(now)-len(strings.TrimPrefix(now, "."))] + to.host
		}
	}
	if now, ok, err := found.Constant("PATH_CURRENT_SITE"); ok && err == nil && now == from.path+"/" {
		want["PATH_CURRENT_SITE"] = to.path + "/"
	}
	return want
}

// tellMoves says how many values are others now.
func (t *target) tellMoves(moves []move, tables []mysql.TableChange) {
	var values, rows, left int64
	var each, places []string
	for _, c := range tables {
		values, rows, left = values+c.Values, rows+c.Rows, left+c.Left
		if c.Values > 0 {
			each = append(each, fmt.Sprintf("%s %d", c.Name, c.Values))
		}
		if c.NoKey && c.Left > 0 {
			places = append(places, fmt.Sprintf("%s: %d rows, for the table has no key that tells them apart", c.Name, c.Left))
		}
		for _, place := range c.Places {
			places = append(places, c.Name+": "+place)
		}
	}
	var olds []string
	for _, one := range moves {
		if text := one.from.String() + " to " + one.to.String(); !slices.Contains(olds, text) {
			olds = append(olds, text)
		}
	}
	t.note("the site moved from %s: %d values in %d rows were changed", strings.Join(olds[:min(len(olds), 5)], ", from "), values, rows)
	if len(each) > 0 {
		t.note("values changed in each table: %s", strings.Join(each, ", "))
	}
	if left > 0 {
		t.note("%d values still mention an old address, for they could not be changed safely: %s", left, strings.Join(places[:min(len(places), 20)], "; "))
	}
}

func (t *target) tellNetwork(n *network) {
	for _, domain := range n.kept {
		t.note("the network's site at %s has a domain of its own, which stays", domain)
	}
}

// network is what the database says of addresses: of one site, or of a network of them.
type network struct {
	at            *mysql.Loader
	prefix        string
	home, siteURL string
	host, base    string // of a network; empty where there is none
	sites         []networkSite
	kept          []string // domains that have nothing to do with the network's
}

type networkSite struct{ id, domain, path string }

func (n *network) read(ctx context.Context) error {
	there, err := n.at.Ask(ctx, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (?, ?, ?)", n.prefix+"options", n.prefix+"blogs", n.prefix+"site")
	if err != nil {
		return err
	}
	has := map[string]bool{}
	for _, row := range there {
		has[row[0]] = n.at.Made(row[0])
	}
	if !has[n.prefix+"options"] {
		return job.Errorf(job.ConfigInvalid, "the database that was loaded has no tables of a site that begin with %q, so its address cannot be changed", n.prefix)
	}
	options, err := n.at.Ask(ctx, "SELECT option_name, LEFT(option_value, 1000) FROM "+n.table("options")+" WHERE option_name IN ('siteurl', 'home')")
	if err != nil {
		return err
	}
	for _, row := range options {
		if row[0] == "home" {
			n.home = row[1]
		} else {
			n.siteURL = row[1]
		}
	}
	if !has[n.prefix+"blogs"] || !has[n.prefix+"site"] {
		return nil
	}
	return n.readSites(ctx)
}

func (n *network) table(name string) string { return mysql.QuoteName(n.prefix + name) }

func (n *network) readSites(ctx context.Context) error {
	main, err := n.at.Ask(ctx, "SELECT domain, path FROM "+n.table("site")+" ORDER BY id LIMIT 1")
	if err != nil || len(main) == 0 {
		return err
	}
	n.host, n.base = main[0][0], main[0][1]
	sites, err := n.at.Ask(ctx, fmt.Sprintf("SELECT blog_id, domain, path FROM %s ORDER BY blog_id LIMIT %d", n.table("blogs"), mysql.MaxRows+1))
	if err != nil {
		return fmt.Errorf("the sites of the network: %w", err)
	}
	for _, row := range sites {
		n.sites = append(n.sites, networkSite{row[0], row[1], row[2]})
	}
	return nil
}

// moved is what a domain of the network becomes; false: it has nothing to do with it.
func (n *network) moved(domain string, to webAddress) (string, bool) {
	if strings.EqualFold(domain, n.host) {
		return to.host, true
	}
	sub, ok := strings.CutSuffix(strings.ToLower(domain), "."+strings.TrimPrefix(strings.ToLower(n.host), "www."))
	return sub + "." + strings.TrimPrefix(to.host, "www."), ok
}

func (n *network) movedPath(at string, to webAddress) string {
	if rest, ok := strings.CutPrefix(at, n.base); ok && n.base != "" {
		return to.path + "/" + rest
	}
	return at
}

// moves are those of the domains of a network's sites.
func (n *network) moves(to webAddress) (moves []move) {
	if n.host == "" {
		return nil
	}
	for _, domain := range append([]string{n.host}, n.domains()...) {
		host, ok := n.moved(domain, to)
		if !ok {
			n.kept = append(n.kept, domain)
			continue
		}
		moves = append(moves, move{
			webAddress{to.scheme, strings.ToLower(domain), strings.TrimRight(n.base, "/")},
			webAddress{to.scheme, host, to.path},
		})
	}
	return moves
}

// domains are those of the sites, each once.
func (n *network) domains() (list []string) {
	for _, s := range n.sites {
		if s.domain != n.host {
			list = append(list, s.domain)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// move sets the columns by which WordPress finds the sites of a network.
func (n *network) move(ctx context.Context, to webAddress) error {
	if n.host == "" {
		return nil
	}
	for _, s := range n.sites {
		host, ok := n.moved(s.domain, to)
		at := n.movedPath(s.path, to)
		if !ok || host == s.domain && at == s.path {
			continue
		}
		if err := n.at.Do(ctx, "UPDATE "+n.table("blogs")+" SET domain = ?, path = ? WHERE blog_id = ?", host, at, s.id); err != nil {
			return err
		}
	}
	return n.at.Do(ctx, "UPDATE "+n.table("site")+" SET domain = ?, path = ? WHERE domain = ?", to.host, n.movedPath(n.base, to), n.host)
}
