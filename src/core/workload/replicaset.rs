//! ReplicaSets, under the hood of deployments.
