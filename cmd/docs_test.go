package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"xvault/internal/job"
)

// inlineCommand finds `xvault ...` between backticks; code blocks are read line
// by line.
var inlineCommand = regexp.MustCompile("`(xvault [^`]+)`")

// Every command that the documentation and the help tell people to type exists,
// and so does every flag.
func TestDocumentedCommandsExist(t *testing.T) {
	t.Parallel()
	found := 0
	check := func(where, line string) {
		words := commandWords(line)
		if len(words) == 0 {
			return
		}
		found++
		root := NewRoot()
		root.InitDefaultHelpCmd()
		c, rest, err := root.Find(words)
		if err != nil {
			t.Errorf("%s: %q: %v", where, line, err)
			return
		}
		if c.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
			t.Errorf("%s: %q: %q has no command %q", where, line, c.CommandPath(), rest[0])
		}
		if err := c.ParseFlags(rest); err != nil && err.Error() != "pflag: help requested" {
			t.Errorf("%s: %q: %v", where, line, err)
		}
	}
	for _, file := range documents(t) {
		for _, line := range documentedLines(t, file) {
			check(file, line)
		}
	}
	walkCommands(NewRoot(), func(c *cobra.Command) {
		for _, line := range joinLines(c.Example) {
			check(c.CommandPath(), line)
		}
	})
	if found < 40 {
		t.Errorf("only %d commands were found: the search is broken", found)
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	files := []string{"../README.md", "../CONTRIBUTING.md", "../compose.yaml"}
	for _, pattern := range []string{"../docs/*.md", "../packaging/systemd/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

func documentedLines(t *testing.T, file string) []string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := joinLines(string(content))
	for _, m := range inlineCommand.FindAllStringSubmatch(string(content), -1) {
		lines = append(lines, m[1])
	}
	return lines
}

// joinLines puts lines together that end with a backslash.
func joinLines(text string) []string {
	return strings.Split(strings.ReplaceAll(text, "\\\n", " "), "\n")
}

var (
	assignment = regexp.MustCompile(`^[A-Z_]+=\S*$`)
	quoted     = regexp.MustCompile(`"[^"]*"|'[^']*'`)
)

// commandWords gives the words after "xvault" of a line that types a command;
// nothing for other lines.
func commandWords(line string) []string {
	line = quoted.ReplaceAllString(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "$ ")), "quoted")
	for _, end := range []string{"#", "|", ";", "&&", ">", "   "} {
		line, _, _ = strings.Cut(line, end)
	}
	words := strings.Fields(line)
	for len(words) > 0 && assignment.MatchString(words[0]) {
		words = words[1:]
	}
	if len(words) < 2 || (words[0] != "xvault" && words[0] != "bin/xvault") {
		return nil
	}
	if strings.ContainsAny(words[1], "<.(=") || words[1] == "is" { // prose
		return nil
	}
	return words[1:]
}

func walkCommands(c *cobra.Command, fn func(*cobra.Command)) {
	fn(c)
	for _, child := range c.Commands() {
		walkCommands(child, fn)
	}
}

var settingName = regexp.MustCompile(`(?m)^\s*(?:Environment=)?((?:HUB|WORKER)_[A-Z_]+|DATABASE_URL(?:_FILE)?|REDIS_URL(?:_FILE)?)[:=]`)

// A setting that is misspelled in a unit or in compose.yaml would leave a
// default in place.
func TestPackagedSettingsExist(t *testing.T) {
	t.Parallel()
	known := knownSettings()
	for _, file := range []string{"../compose.yaml", "../packaging/systemd/xvault-hub.service", "../packaging/systemd/xvault-worker.service"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := settingName.FindAllStringSubmatch(string(content), -1)
		if len(names) < 4 {
			t.Errorf("%s: only %d settings were found: the search is broken", file, len(names))
		}
		for _, m := range names {
			if !slices.Contains(known, m[1]) && !slices.Contains(known, strings.TrimSuffix(m[1], "_FILE")) {
				t.Errorf("%s: there is no setting %s", file, m[1])
			}
		}
	}
}

var composeVariable = regexp.MustCompile(`\$\{([A-Z_]+)`)

// What compose.yaml asks for is in the example, and nothing secret in it has a
// value that works.
func TestTheExampleEnvironmentIsWholeAndHarmless(t *testing.T) {
	t.Parallel()
	compose, err := os.ReadFile("../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range composeVariable.FindAllStringSubmatch(string(compose), -1) {
		if !strings.Contains("\n"+string(example), "\n"+m[1]+"=") {
			t.Errorf(".env.example lacks %s", m[1])
		}
	}
	for line := range strings.Lines(string(example)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		secret := strings.HasSuffix(name, "PASSWORD") || strings.HasSuffix(name, "KEY") || strings.HasSuffix(name, "KEK") || strings.HasSuffix(name, "TOKEN")
		if ok && secret && value != "" && !strings.HasPrefix(name, "#") {
			t.Errorf(".env.example gives %s a value", name)
		}
	}
}

// People look codes up there, and programs take the set for closed.
func TestEveryErrorCodeIsDocumented(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range job.Codes() {
		again := ""
		if code.Retryable() {
			again = "yes "
		}
		if !strings.Contains(string(b), fmt.Sprintf("| `%s` | %s| ", code, again)) {
			t.Errorf("%s is not in the table, or not with whether it is tried again", code)
		}
	}
	if b, err = os.ReadFile("../docs/openapi.json"); err != nil {
		t.Fatal(err)
	}
	var api struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Properties map[string]struct{ Enum []job.Code }
				}
			}
		}
	}
	if err := json.Unmarshal(b, &api); err != nil {
		t.Fatal(err)
	}
	if got := api.Components.Schemas["Job"].Properties["error"].Properties["code"].Enum; !slices.Equal(got, job.Codes()) {
		t.Errorf("the API's description has %q", got)
	}
}
