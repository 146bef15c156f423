package devenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"xvault/internal/secret"
)

// WordPressConfig says what a private site is like.
type WordPressConfig struct {
	// Root is the site's folder; it must not exist.
	Root string
	// Database, User, Password and DBHost are what wp-config.php says: an empty
	// database, and an account that may do everything in it.
	Database, User, DBHost string
	Password               secret.Text
	// Prefix begins the names of the tables. Default "wp_".
	Prefix string
	// Port is where the site is served, and part of its address. Default: a free one.
	Port int
}

// WordPress is a private site, made of Debian's package by packaging/wordpress.sh and
// served by PHP's own web server. It asks nothing of the internet.
type WordPress struct {
	cfg     WordPressConfig
	php     string
	process *Process
	output  *Tail
}

// NewWordPress copies the files of a site and writes its wp-config.php.
func NewWordPress(ctx context.Context, cfg WordPressConfig) (*WordPress, error) {
	w, err := OpenWordPress(cfg)
	if err != nil {
		return nil, err
	}
	bundle, err := unpacked("wordpress")
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "cp", "-R", "--", bundle, w.cfg.Root).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy WordPress: %w: %s", err, out)
	}
	if err := os.Remove(filepath.Join(w.cfg.Root, "complete")); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(wordPressConfig, phpText(cfg.Database), phpText(cfg.User), phpText(cfg.Password.Reveal()), phpText(cfg.DBHost), phpText(w.cfg.Prefix))
	return w, os.WriteFile(filepath.Join(w.cfg.Root, "wp-config.php"), []byte(config), 0o600)
}

// OpenWordPress takes a site that is there already.
func OpenWordPress(cfg WordPressConfig) (*WordPress, error) {
	php, err := find("php")
	if err != nil {
		return nil, err
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "wp_"
	}
	if cfg.Port == 0 {
		if cfg.Port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	return &WordPress{cfg: cfg, php: php, output: &Tail{}}, nil
}

// wordPressConfig is written as WordPress's own sample is.
const wordPressConfig = `<?php
/**
 * The base configuration for WordPress
 */

// ** Database settings - You can get this info from your web host ** //
/** The name of the database for WordPress */
define( 'DB_NAME', %s );
define( 'DB_USER', %s );
define( 'DB_PASSWORD', %s );
define( 'DB_HOST', %s );
define( 'DB_CHARSET', 'utf8mb4' );
define( 'DB_COLLATE', '' );

define( 'AUTH_KEY', 'not a secret, for a test' );

$table_prefix = %s;

define( 'WP_DEBUG', false );
define( 'DISABLE_WP_CRON', true );
define( 'AUTOMATIC_UPDATER_DISABLED', true );
define( 'WP_HTTP_BLOCK_EXTERNAL', true );

/* That's all, stop editing! Happy publishing. */

if ( ! defined( 'ABSPATH' ) ) {
	define( 'ABSPATH', __DIR__ . '/' );
}

require_once ABSPATH . 'wp-settings.php';
`

// phpText writes a text as PHP.
func phpText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// Root is the site's folder.
func (w *WordPress) Root() string { return w.cfg.Root }

// URL is the site's address, without a slash at its end.
func (w *WordPress) URL() string { return "http://" + w.address() }

func (w *WordPress) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(w.cfg.Port)) }

// Install makes the tables, with one account and a post.
func (w *WordPress) Install(ctx context.Context, title, post string) error {
	return w.Run(ctx, fmt.Sprintf(`
define('WP_INSTALLING', true);
function wp_new_blog_notification() {}
require '%[1]s/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';
$done = wp_install(%[2]s, 'editor', 'editor@example.com', true, '', 'a password for a test');
update_option('siteurl', %[3]s); update_option('home', %[3]s);
$id = wp_insert_post(['post_title' => %[4]s, 'post_content' => 'A first post.', 'post_status' => 'publish', 'post_author' => $done['user_id']], true);
if (is_wp_error($id)) { fwrite(STDERR, $id->get_error_message()); exit(1); }
`, w.cfg.Root, phpText(title), phpText(w.URL()), phpText(post)))
}

// Run runs PHP code, as the command line does.
func (w *WordPress) Run(ctx context.Context, code string) error {
	cmd := exec.CommandContext(ctx, w.php, "-d", "display_errors=stderr", "-r", "$_SERVER['HTTP_HOST'] = '"+w.address()+"'; $_SERVER['REQUEST_URI'] = '/'; "+code)
	cmd.Env = plainEnv()
	out, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(out), "PHP Fatal") {
		err = errors.New("a fatal error")
	}
	if err != nil {
		return fmt.Errorf("run PHP: %w: %.2000s", err, out)
	}
	return nil
}

// Start serves the site until Stop.
func (w *WordPress) Start(ctx context.Context) error {
	var err error
	w.process, err = Start(Command{
		Path: w.php, Args: []string{"-S", w.address(), "-t", w.cfg.Root}, Dir: w.cfg.Root, Output: w.output,
	})
	if err != nil {
		return err
	}
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", w.address())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the site is not served: %w: %s", err, w.output), w.Stop())
		case <-w.process.Done():
			return fmt.Errorf("the site is not served: %s", w.output)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Log is the end of what the web server said.
func (w *WordPress) Log() string { return w.output.String() }

// Get asks the site for a page.
func (w *WordPress) Get(ctx context.Context, page string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL()+page, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	return http.DefaultClient.Do(req)
}

// Stop ends the serving.
func (w *WordPress) Stop() error {
	if w.process == nil {
		return nil
	}
	return w.process.Kill()
}
