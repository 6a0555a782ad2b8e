//! What the core remembers over the end of the daemon, as opaque bytes for the store.
//!
//! Responsible for the form of a record. The store keeps it without looking inside; only the core
//! reads it again.

/// One remembered thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Unique within its store. `unit/<kind>/<name>` or `instance/<slot>`.
    pub key: String,
    /// JSON.
    pub value: Vec<u8>,
    /// Survives a reboot (units, revisions, results); otherwise it is worth as much as the
    /// processes it tells of and may go with them.
    pub durable: bool,
}
