package devenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

func (f *FTPD) program(path string) string { return filepath.Join(f.bundle, path) }

// needsRoot says what a server cannot do without.
func needsRoot(server string) error {
	if os.Getuid() != 0 {
		return errors.New(server + " runs as root only: run this as root, or use proftpd")
	}
	return nil
}

// ids are whose rights files are served with.
func (f *FTPD) ids() (uid, gid string) {
	if f.account == nil {
		return strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid())
	}
	return strconv.FormatUint(uint64(f.account.UID), 10), strconv.FormatUint(uint64(f.account.GID), 10)
}

// proftpd is ProFTPD, with a password file of its own.
type proftpd struct{}

func (proftpd) user() string { return "someone" }

func (proftpd) account(cfg FTPDConfig) (*Account, error) {
	if cfg.Root {
		return nil, nil // stay who you are
	}
	return unprivileged("nobody")
}

func (p proftpd) prepare(f *FTPD) (Command, error) {
	uid, gid := f.ids()
	if err := errors.Join(
		f.write("passwd", p.user()+":"+ftpPasswordHash+":"+uid+":"+gid+"::/:/bin/sh"),
		f.write("group", "them:x:"+gid+":"+p.user()),
	); err != nil {
		return Command{}, err
	}
	lines := []string{
		"ServerName test", "ServerType standalone", "DefaultServer on", "DefaultAddress 127.0.0.1", "UseIPv6 off",
		"Port " + strconv.Itoa(f.port), fmt.Sprintf("PassivePorts %d %d", f.first, f.first+passivePorts-1),
		"ModulePath " + f.program("usr/lib/proftpd"), "LoadModule mod_tls.c",
		"ScoreboardFile " + f.file("scoreboard"), "PidFile " + f.file("pid"), "SystemLog " + f.file("log"), "WtmpLog off", "TransferLog none",
		"DelayEngine off", "UseReverseDNS off", "UseFtpUsers off", "RequireValidShell off", "RootLogin on", "AuthPAM off",
		"AuthOrder mod_auth_file.c", "AuthUserFile " + f.file("passwd"), "AuthGroupFile " + f.file("group"),
		"MaxInstances 200", "AllowOverwrite on", "AllowStoreRestart on", "CommandBufferSize 4500",
		"TLSEngine on", "TLSECCertificateFile " + f.file("cert.pem"), "TLSECCertificateKeyFile " + f.file("key.pem"), "TLSProtocol TLSv1.2 TLSv1.3",
	}
	if os.Getuid() == 0 {
		lines = append(lines, "User root", "Group root")
	}
	if f.cfg.Implicit {
		lines = append(lines, "TLSOptions UseImplicitSSL")
	}
	if f.cfg.MaxClients > 0 {
		lines = append(lines, "MaxClientsPerUser "+strconv.Itoa(f.cfg.MaxClients))
	}
	// The first of two lines counts.
	if err := f.write("proftpd.conf", slices.Concat(f.cfg.Extra, lines)...); err != nil {
		return Command{}, err
	}
	return Command{Path: f.program("usr/sbin/proftpd"), Args: []string{"--nodaemon", "--quiet", "--config", f.file("proftpd.conf")}}, nil
}

// pureFTPD is pure-ftpd, with a user database of its own.
type pureFTPD struct{}

func (pureFTPD) user() string { return "someone" }

func (pureFTPD) account(FTPDConfig) (*Account, error) {
	if err := needsRoot("pure-ftpd"); err != nil {
		return nil, err
	}
	return unprivileged("nobody")
}

func (p pureFTPD) prepare(f *FTPD) (Command, error) {
	uid, gid := f.ids()
	if err := f.write("passwd", p.user()+":"+ftpPasswordHash+":"+uid+":"+gid+"::/tmp::::::::::::"); err != nil {
		return Command{}, err
	}
	env, err := f.env()
	if err != nil {
		return Command{}, err
	}
	makedb := exec.Command(f.program("usr/bin/pure-pw"), "mkdb", f.file("users.pdb"), "-f", f.file("passwd")) //nolint:noctx // returns at once
	makedb.Env = env
	if out, err := makedb.CombinedOutput(); err != nil {
		return Command{}, fmt.Errorf("make the users of pure-ftpd: %w: %s", err, bytes.TrimSpace(out))
	}
	clients := 200
	if f.cfg.MaxClients > 0 {
		clients = f.cfg.MaxClients
	}
	args := []string{
		"-S", "127.0.0.1," + strconv.Itoa(f.port), "-p", fmt.Sprintf("%d:%d", f.first, f.first+passivePorts-1), "-l", "puredb:" + f.file("users.pdb"),
		"-E", "-H", "-u", "1", "-z", "-Y", "1", "-2", f.file("both.pem"), "-g", f.file("pid"), "-c", strconv.Itoa(clients),
	}
	return Command{Path: f.program("usr/sbin/pure-ftpd"), Args: append(args, f.cfg.Extra...)}, nil
}

// vsftpd is vsftpd. Its anonymous user takes passwords from a list, so that no
// account of the machine is needed.
type vsftpd struct{}

func (vsftpd) user() string { return "anonymous" }

func (vsftpd) account(FTPDConfig) (*Account, error) {
	if err := needsRoot("vsftpd"); err != nil {
		return nil, err
	}
	// Its home must exist, and it must not be able to write to "/".
	return unprivileged("bin", "daemon")
}

func (v vsftpd) prepare(f *FTPD) (Command, error) {
	if err := f.write("passwords", FTPPassword); err != nil {
		return Command{}, err
	}
	yes := []string{
		"listen", "anonymous_enable", "write_enable", "anon_upload_enable", "anon_mkdir_write_enable", "anon_other_write_enable",
		"secure_email_list_enable", "ssl_enable", "allow_anon_ssl", "require_ssl_reuse",
	}
	lines := []string{
		"background=NO", "local_enable=NO", "anon_world_readable_only=NO", "xferlog_enable=NO", "anon_root=/", "anon_umask=022",
		"ftp_username=" + f.account.Name, "nopriv_user=nobody", "secure_chroot_dir=" + f.file("empty"), "email_password_file=" + f.file("passwords"),
		"listen_address=127.0.0.1", "listen_port=" + strconv.Itoa(f.port), "pasv_min_port=" + strconv.Itoa(f.first), "pasv_max_port=" + strconv.Itoa(f.first+passivePorts-1),
		"rsa_cert_file=" + f.file("cert.pem"), "rsa_private_key_file=" + f.file("key.pem"), "ssl_ciphers=HIGH", "vsftpd_log_file=" + f.file("log"),
	}
	for _, option := range yes {
		lines = append(lines, option+"=YES")
	}
	if f.cfg.Implicit {
		lines = append(lines, "implicit_ssl=YES")
	}
	if f.cfg.MaxClients > 0 {
		lines = append(lines, "max_per_ip="+strconv.Itoa(f.cfg.MaxClients))
	}
	if err := f.write("vsftpd.conf", append(lines, f.cfg.Extra...)...); err != nil {
		return Command{}, err
	}
	return Command{Path: f.program("usr/sbin/vsftpd"), Args: []string{f.file("vsftpd.conf")}}, nil
}
