package wordpress

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"xvault/connectors/mysql"
	"xvault/connectors/wordpress/php"
	"xvault/internal/job"
)

// finishDatabase does what is to be done in a database that was loaded: it moves the site
// to another address, if one was asked for.
func (t *target) finishDatabase(ctx context.Context) (err error) {
	if t.opts.SiteURL == "" || t.loader == nil {
		if t.opts.SiteURL != "" && t.begun {
			return job.Errorf(job.ConfigInvalid, "the site cannot move to %s: its database is not in what is restored", t.opts.SiteURL)
		}
		return nil
	}
	if loaded, before := t.loader.Done(); !loaded || before {
		return nil // an earlier attempt did it
	}
	conn, err := t.loader.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := conn.Close(); err == nil && closeErr != nil {
			err = t.loader.Explain(ctx, closeErr)
		}
	}()
	return t.explainMove(ctx, t.moveSite(ctx, conn))
}

func (t *target) explainMove(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*job.Error](err); ok {
		return err
	}
	return t.loader.Explain(ctx, err)
}

// moveSite changes every mention of the old addresses in the tables of the site.
func (t *target) moveSite(ctx context.Context, conn *sql.Conn) error {
	n := &network{conn: conn, prefix: t.prefix()}
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
	r := &replacer{conn: conn, prefix: n.prefix, charset: t.charset(), mover: newMover(moves), allowed: t.allowed, log: t.env.Log}
	if err := r.run(ctx); err != nil {
		return err
	}
	if err := n.move(ctx, to, t.allowed); err != nil {
		return err
	}
	t.tellMoves(moves, r.tables)
	t.tellNetwork(n)
	return nil
}

func (t *target) allowed() error {
	if t.opts.Allowed == nil {
		return nil
	}
	return t.opts.Allowed()
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
	none := func(string) ([]byte, error) { return nil, errNotThere }
	s, err := readSettings(t.came.content, t.dest, path.Join(t.dest, configName), none, nil)
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
		if rest, below := core.below(from); ok && below {
			target.path += rest // WordPress has a folder of its own
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
func (t *target) tellMoves(moves []move, tables []tableChange) {
	var values, rows, left int64
	var each, places []string
	for _, c := range tables {
		values, rows, left = values+c.values, rows+c.rows, left+c.left
		if c.values > 0 {
			each = append(each, fmt.Sprintf("%s %d", c.name, c.values))
		}
		if c.noKey && c.left > 0 {
			places = append(places, fmt.Sprintf("%s: %d rows, for the table has no key that tells them apart", c.name, c.left))
		}
		for _, place := range c.places {
			places = append(places, c.name+": "+place)
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
	conn          *sql.Conn
	prefix        string
	home, siteURL string
	host, base    string // of a network; empty where there is none
	sites         []networkSite
	kept          []string // domains that have nothing to do with the network's
}

type networkSite struct {
	id           int64
	domain, path string
}

// maxSites bounds a network that can be moved.
const maxSites = 5000

func (n *network) read(ctx context.Context) error {
	there, err := column(ctx, n.conn, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (?, ?, ?)", n.prefix+"options", n.prefix+"blogs", n.prefix+"site")
	if err != nil {
		return err
	}
	if !slices.Contains(there, n.prefix+"options") {
		return job.Errorf(job.ConfigInvalid, "the database that was loaded has no tables of a site that begin with %q, so its address cannot be changed", n.prefix)
	}
	if err := n.readOptions(ctx); err != nil {
		return err
	}
	if !slices.Contains(there, n.prefix+"blogs") || !slices.Contains(there, n.prefix+"site") {
		return nil
	}
	return n.readSites(ctx)
}

func (n *network) table(name string) string { return mysql.QuoteName(n.prefix + name) }

func (n *network) readOptions(ctx context.Context) (err error) {
	rows, err := n.conn.QueryContext(ctx, "SELECT option_name, LEFT(option_value, 1000) FROM "+n.table("options")+" WHERE option_name IN ('siteurl', 'home')")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		if name == "home" {
			n.home = value
		} else {
			n.siteURL = value
		}
	}
	return rows.Err()
}

func (n *network) readSites(ctx context.Context) (err error) {
	err = n.conn.QueryRowContext(ctx, "SELECT domain, path FROM "+n.table("site")+" ORDER BY id LIMIT 1").Scan(&n.host, &n.base)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	rows, err := n.conn.QueryContext(ctx, fmt.Sprintf("SELECT blog_id, domain, path FROM %s ORDER BY blog_id LIMIT %d", n.table("blogs"), maxSites+1))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s networkSite
		if err := rows.Scan(&s.id, &s.domain, &s.path); err != nil {
			return err
		}
		n.sites = append(n.sites, s)
	}
	if len(n.sites) > maxSites {
		return job.Errorf(job.ConfigInvalid, "the network has more than %d sites, more than can be moved to another address: restore without url, and use wp search-replace --network", maxSites)
	}
	return rows.Err()
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
func (n *network) move(ctx context.Context, to webAddress, allowed func() error) error {
	if n.host == "" {
		return nil
	}
	if err := allowed(); err != nil {
		return err
	}
	for _, s := range n.sites {
		host, ok := n.moved(s.domain, to)
		if !ok {
			continue
		}
		if _, err := n.conn.ExecContext(ctx, "UPDATE "+n.table("blogs")+" SET domain = ?, path = ? WHERE blog_id = ?", host, n.movedPath(s.path, to), s.id); err != nil {
			return err
		}
	}
	_, err := n.conn.ExecContext(ctx, "UPDATE "+n.table("site")+" SET domain = ?, path = ? WHERE domain = ?", to.host, n.movedPath(n.base, to), n.host)
	return err
}
