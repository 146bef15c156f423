// Package rebuild makes the rows of a catalog anew from what stands on a worker's
// storage, after the catalog was lost: tenants and their keys, sources,
// snapshots and the jobs that made them, under the ids that they had.
//
// What a worker tells is believed only as far as it can be checked: ids must be
// those of the folder, the two files beside an artifact must agree, a key is
// believed to be a tenant's where its identity is given. Nothing that is in the
// catalog is changed; what differs is reported. Every step is a transaction of
// its own that may be repeated, so that an import may be killed anywhere and run
// again. Nothing on the storage is touched.
package rebuild
