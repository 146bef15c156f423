// Package retention decides which snapshots of a source stay. It is a pure
// function of the policies, the snapshots and the time, and knows the standard
// library only: what a preview shows and what a run does are the same call.
//
// The words are those of restic and Proxmox Backup Server. keep_hourly to
// keep_yearly walk from the newest snapshot to the oldest and keep the newest
// of each period, until as many periods are covered as the number says; periods
// without a snapshot do not count. Periods are those of the calendar in the
// rule's time zone, weeks are ISO weeks. keep_within keeps what was made within
// a span before the newest good snapshot. Where there are fewer periods than a
// number asks for, the oldest snapshot is kept as well, as restic does. The
// rules are independent of each other, as in restic: one snapshot may be the
// last, the day's and the week's, and a snapshot stays if any rule keeps it.
//
// What it guarantees, whatever the policy:
//
//   - only good snapshots count: one that failed, is partial, suspicious,
//     corrupt or missing never takes the place of a good one
//   - the newest good snapshot stays, and never fewer than min_keep good ones
//   - what is held stays; what is suspicious, corrupt or missing stays until a
//     person decides
//   - what a restore or a verify reads stays for as long as it does
//   - without a rule everything stays
package retention
