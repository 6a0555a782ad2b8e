//! Errors as clients get them.
//!
//! Responsible for their form. Must not know which HTTP status goes with one.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of thing went wrong; decides about the exit code of `wsup ctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The words make no sense (exit 2).
    Usage,
    /// There is no such unit or instance (exit 3).
    NotFound,
    /// It was refused or did not work (exit 1).
    Failed,
    /// It did not happen in time (exit 5).
    TimedOut,
    /// The daemon is ending (exit 4).
    Stopping,
}

/// Why there is no other answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What kind of thing went wrong.
    pub code: ErrorCode,
    /// A sentence.
    pub message: String,
    /// The remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl ApiError {
    /// Without a remedy.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ApiError {
        ApiError { code, message: message.into(), help: None }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> ApiError {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The body of an answer that is not 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ApiError,
}
