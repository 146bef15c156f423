// Package bench measures the whole of xVault: how soon a job is claimed on an
// idle system, and how many jobs a second go from POST to completed when
// workers have nothing to do. docs/benchmarks.md says what came out where.
//
//	make microbench PKG=./e2e/bench
package bench
