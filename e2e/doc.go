// Package e2e tests xVault as a whole: the real binary as several processes
// against real Postgres, Redis and sshd, with faults put in from outside.
// Package system is what the tests stand on.
//
// What a fault test finds, it reports with t.Log: trials, violations, the time
// from the fault to the recovery, and bytes left without an owner.
package e2e
