package cmd

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

// candidate is an object that a word on the command line may mean.
type candidate struct{ id, name string }

// lister finds all objects of one noun that the session may see.
type lister func(ctx context.Context, s *session) ([]candidate, error)

// listerOf goes through all pages of a noun.
func listerOf[T any](resource func(*apiclient.Client) apiclient.Resource[T], of func(T) candidate) lister {
	return func(ctx context.Context, s *session) ([]candidate, error) {
		items, err := resource(s.Client).List(ctx, s.query(), 0)
		if err != nil {
			return nil, err
		}
		found := make([]candidate, len(items))
		for i, item := range items {
			found[i] = of(item.Value)
		}
		return found, nil
	}
}

var (
	tenants  = listerOf((*apiclient.Client).Tenants, func(t apiclient.Tenant) candidate { return candidate{t.ID, t.Name} })
	creds    = listerOf((*apiclient.Client).Credentials, func(c apiclient.Credential) candidate { return candidate{c.ID, c.Name} })
	sources  = listerOf((*apiclient.Client).Sources, func(s apiclient.Source) candidate { return candidate{s.ID, s.Name} })
	scheds   = listerOf((*apiclient.Client).Schedules, func(s apiclient.Schedule) candidate { return candidate{s.ID, ""} })
	keys     = listerOf((*apiclient.Client).APIKeys, func(k apiclient.APIKey) candidate { return candidate{k.ID, k.Name} })
	workers  = listerOf((*apiclient.Client).Workers, func(w apiclient.Worker) candidate { return candidate{w.ID, ""} })
	jobs     = listerOf((*apiclient.Client).Jobs, func(j apiclient.Job) candidate { return candidate{j.ID, ""} })
	channels = listerOf((*apiclient.Client).Channels, func(c apiclient.Channel) candidate { return candidate{c.ID, c.Name} })
	snaps    = listerOf((*apiclient.Client).Snapshots, func(s apiclient.Snapshot) candidate { return candidate{s.ID, ""} })
)

// query starts a list's query: the tenant that --tenant names.
func (s *session) query() url.Values {
	q := url.Values{}
	if s.tenantID != "" {
		q.Set("tenant_id", s.tenantID)
	}
	return q
}

// resolve turns a word into an id: a whole id is taken as it is, anything else
// is a name or the start of an id that must mean exactly one object.
func (s *session) resolve(ctx context.Context, what string, list lister, word string) (string, error) {
	if id, err := uuid.Parse(word); err == nil && len(word) == len(id.String()) {
		return id.String(), nil
	}
	all, err := list(ctx, s)
	if err != nil {
		return "", err
	}
	matches := match(all, word)
	switch len(matches) {
	case 1:
		return matches[0].id, nil
	case 0:
		return "", &apiclient.Problem{Status: 404, Detail: fmt.Sprintf("there is no %s %q that this key can see", what, word)}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q means %d %ss; say which by its id:", word, len(matches), what)
	for i, m := range matches {
		if i == 10 {
			b.WriteString("\n  ...")
			break
		}
		fmt.Fprintf(&b, "\n  %s  %s", m.id, printable(m.name))
	}
	return "", &usageError{fmt.Errorf("%s", b.String())}
}

// match prefers whole names to starts of ids, so that a name that looks like
// the start of an id can be used.
func match(all []candidate, word string) []candidate {
	var named, started []candidate
	for _, c := range all {
		if c.name != "" && c.name == word || c.id == word {
			named = append(named, c)
		}
		if strings.HasPrefix(c.id, strings.ToLower(word)) {
			started = append(started, c)
		}
	}
	if len(named) > 0 {
		return named
	}
	return started
}

func (s *session) resolveTenant(ctx context.Context, word string) (string, error) {
	return s.resolve(ctx, "tenant", tenants, word)
}

// completion offers the ids of a noun, with their names beside them.
func (o *clientOptions) completion(list lister) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return o.candidates(c, list, toComplete)
	}
}

func (o *clientOptions) completeTenants(c *cobra.Command, _ []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return o.candidates(c, tenants, toComplete)
}

// flagCompletion offers the same for a flag.
func (o *clientOptions) flagCompletion(list lister) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return o.candidates(c, list, toComplete)
	}
}

func (o *clientOptions) candidates(c *cobra.Command, list lister, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	s, err := o.open(c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer s.Close()
	all, err := list(ctx, s)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var found []cobra.Completion
	for _, candidate := range all {
		if strings.HasPrefix(candidate.id, toComplete) {
			found = append(found, cobra.CompletionWithDesc(candidate.id, printable(candidate.name)))
		}
		// A word with spaces would need quoting that differs from shell to shell.
		if n := candidate.name; n != "" && strings.HasPrefix(n, toComplete) && printable(n) == n && !strings.ContainsAny(n, " '\"\\$`") {
			found = append(found, cobra.CompletionWithDesc(n, candidate.id))
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
