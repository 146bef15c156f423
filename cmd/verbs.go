package cmd

import (
	"context"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

// completionTimeout bounds what a person waits for after pressing tab.
const completionTimeout = 2 * time.Second

const defaultListed = 50

// filter is one flag of a list that becomes one parameter of the query.
type filter struct {
	flag, parameter, usage string
	// what and list resolve a word to an id; empty for plain words.
	what string
	list lister
	// words are what the flag may be; nil for anything.
	words []string
}

// listCommand makes "ls" of a noun.
func listCommand[T any](short string, resource func(*apiclient.Client) apiclient.Resource[T], v view[T], filters ...filter) *cobra.Command {
	var opts clientOptions
	var limit int
	values := make([]string, len(filters))
	c := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: short + ", newest first", Args: cobra.NoArgs,
		RunE: opts.run(func(ctx context.Context, s *session, _ []string) error {
			query, err := s.filtered(ctx, filters, values)
			if err != nil {
				return err
			}
			items, err := resource(s.Client).List(ctx, query, limit)
			if err != nil {
				return err
			}
			return printList(s.out, v, items)
		}),
	}
	opts.addFlags(c)
	c.Flags().IntVarP(&limit, "limit", "n", defaultListed, "how many; 0: all")
	for i, f := range filters {
		c.Flags().StringVar(&values[i], f.flag, "", f.usage)
		switch {
		case f.list != nil:
			mustComplete(c, f.flag, opts.flagCompletion(f.list))
		case f.words != nil:
			mustComplete(c, f.flag, cobra.FixedCompletions(f.words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	return c
}

// nameOptions take an object's name as the argument or, for scripts that like
// to say what is what, as a flag.
type nameOptions struct{ name string }

func (o *nameOptions) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&o.name, "name", "", "the name, where it is not the argument")
}

// get gives the name; empty where none was said.
func (o *nameOptions) get(args []string) (string, error) {
	if len(args) == 0 {
		return o.name, nil
	}
	if o.name != "" && o.name != args[0] {
		return "", usagef("the name is given twice: %q and %q", args[0], o.name)
	}
	return args[0], nil
}

// required is get where there must be a name.
func (o *nameOptions) required(args []string) (string, error) {
	name, err := o.get(args)
	if err == nil && name == "" {
		err = usagef("a name is missing")
	}
	return name, err
}

func (s *session) filtered(ctx context.Context, filters []filter, values []string) (url.Values, error) {
	query := s.query()
	for i, f := range filters {
		value := values[i]
		if value == "" {
			continue
		}
		if f.list != nil {
			id, err := s.resolve(ctx, f.what, f.list, value)
			if err != nil {
				return nil, err
			}
			value = id
		}
		query.Set(f.parameter, value)
	}
	return query, nil
}

// showCommand makes "show" of a noun.
func showCommand[T any](what string, list lister, resource func(*apiclient.Client) apiclient.Resource[T], v view[T]) *cobra.Command {
	var opts clientOptions
	c := &cobra.Command{
		Use: "show " + upper(what), Aliases: []string{"get"}, Short: "Show one " + what, Args: cobra.ExactArgs(1),
		ValidArgsFunction: opts.completion(list),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolve(ctx, what, list, args[0])
			if err != nil {
				return err
			}
			item, err := resource(s.Client).Get(ctx, id)
			if err != nil {
				return err
			}
			if err := printItem(s.out, v, item); err != nil || v.more == nil || s.out.json {
				return err
			}
			return v.more(s.out, item.Value)
		}),
	}
	opts.addFlags(c)
	return c
}

// removeCommand makes "rm" of a noun. Only a whole id or name is taken: the
// start of an id is too easy to get wrong where something is lost.
func removeCommand[T any](what string, list lister, resource func(*apiclient.Client) apiclient.Resource[T], short string) *cobra.Command {
	var opts clientOptions
	c := &cobra.Command{
		Use: "rm " + upper(what), Aliases: []string{"delete"}, Short: short, Args: cobra.ExactArgs(1),
		ValidArgsFunction: opts.completion(list),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolve(ctx, what, wholeWords(list, args[0]), args[0])
			if err != nil {
				return err
			}
			if err := resource(s.Client).Delete(ctx, id); err != nil {
				return err
			}
			if !s.out.json {
				s.out.printf("removed %s %s\n", what, id)
			}
			return s.out.err
		}),
	}
	opts.addFlags(c)
	return c
}

// wholeWords hides what the word is only the start of.
func wholeWords(list lister, word string) lister {
	return func(ctx context.Context, s *session) ([]candidate, error) {
		all, err := list(ctx, s)
		var whole []candidate
		for _, c := range all {
			if c.id == word || c.name == word {
				whole = append(whole, c)
			}
		}
		return whole, err
	}
}

// actCommand makes a verb of one object that answers with the object.
func actCommand[T any](verb, what, short string, list lister, resource func(*apiclient.Client) apiclient.Resource[T], v view[T]) *cobra.Command {
	var opts clientOptions
	c := &cobra.Command{
		Use: verb + " " + upper(what), Short: short, Args: cobra.ExactArgs(1),
		ValidArgsFunction: opts.completion(list),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolve(ctx, what, list, args[0])
			if err != nil {
				return err
			}
			item, err := resource(s.Client).Act(ctx, id, verb, nil)
			if err != nil {
				return err
			}
			return printItem(s.out, v, item)
		}),
	}
	opts.addFlags(c)
	return c
}
