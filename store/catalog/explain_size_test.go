//go:build !long

package catalog

// explainedJobs is enough for the planner to care; the long tests take the full
// million.
const explainedJobs = 100_000
