package notify

import (
	"context"
	"fmt"

	"xvault/store/catalog"
)

// Test sends a message through a channel, whether it is enabled or not, and
// gives why that failed; empty: it was taken.
func (n *Notifier) Test(ctx context.Context, c catalog.Channel) (string, error) {
	now, err := n.cfg.DB.Now(ctx)
	if err != nil {
		return "", fmt.Errorf("test channel: %w", err)
	}
	s, err := n.sender(c)
	if err != nil {
		return "", err
	}
	m := testMessage(now)
	if err := n.send(ctx, s, m); err != nil {
		return reason(err), nil
	}
	return "", nil
}
