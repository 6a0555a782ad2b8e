//! Controller revisions, shared by statefulsets and daemonsets.
