package mysql

import (
	"fmt"
	"os"
	"strings"

	"xvault/connectors/dumptool"
	"xvault/internal/job"
)

// optionFile is what a program reads in place of the machine's own settings: how it
// connects, and as whom. It exists in memory only.
type optionFile struct {
	b strings.Builder
}

// maxOptionLine is the longest line that the programs read whole.
const maxOptionLine = 4000

// set writes one option. Within double quotes the programs undo these escapes and
// look for nothing else: no comment, no end of line, no space to cut off.
func (o *optionFile) set(name, value string) {
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\b", `\b`).Replace(value)
	fmt.Fprintf(&o.b, "%s=\"%s\"\n", name, escaped)
}

// optionFile gives the file for a program that connects through a relay.
func (r *reach) optionFile(relay *dumptool.Relay, of flavor, more func(*optionFile)) (*os.File, error) {
	text, err := r.optionText(func(o *optionFile) {
		o.set("socket", relay.Addr())
		// What the relay does, the program must not try. "loose" lets older programs
		// pass over what they do not know.
		if of == mariaDB {
			o.set("ssl", "0")
			o.set("loose-ssl-verify-server-cert", "0")
		} else {
			o.set("ssl-mode", "DISABLED")
			o.set("protocol", "SOCKET")
		}
		if more != nil {
			more(o)
		}
	})
	if err != nil {
		return nil, err
	}
	return dumptool.Secret(text)
}

// optionText is what stands in such a file.
func (r *reach) optionText(more func(*optionFile)) ([]byte, error) {
	password := r.env.Credential.Password.Reveal()
	if strings.ContainsRune(password, 0) {
		return nil, job.Errorf(job.ConfigInvalid, "the password holds a zero byte, which the database's programs cannot take")
	}
	o := &optionFile{}
	o.b.WriteString("[client]\n")
	o.set("user", r.config.Username)
	o.set("password", password)
	more(o)
	for line := range strings.Lines(o.b.String()) {
		if len(line) > maxOptionLine {
			return nil, job.Errorf(job.ConfigInvalid, "the password or a name is too long for the database's programs, which take at most about %d bytes", maxOptionLine)
		}
	}
	return []byte(o.b.String()), nil
}
