// Package simulation lives through weeks of xVault in minutes: hubs, workers,
// Postgres, Redis and SSH servers, all real, all failing again and again, while
// the database's clock, xvault_now(), jumps from one moment at which something
// is to happen to the next.
//
// What happens when is a Plan, drawn from a seed and nothing else, so that a seed
// replays the same life; how the processes interleave in it is theirs. The judge
// believes nothing that xVault says of itself but what the hub acknowledged: it
// has the sources as they stood, opens artifacts with age, zstd and tar, works
// out the slots of schedules and what retention must keep in its own slow way,
// and counts rows and folders.
package simulation
