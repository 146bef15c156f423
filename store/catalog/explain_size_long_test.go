//go:build long

package catalog

const explainedJobs = 1_000_000
