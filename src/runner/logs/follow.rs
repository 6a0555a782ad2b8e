//! Following logs.
