//! Errors as answers.
//!
//! Responsible for the HTTP status of each kind of error. Must not invent messages.

use crate::api::door::Closed;
use crate::api::types::{ApiError, ErrorBody, ErrorCode};
use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};

impl From<Closed> for ApiError {
    fn from(closed: Closed) -> Self {
        ApiError::new(ErrorCode::Stopping, closed.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self.code {
            ErrorCode::Usage => StatusCode::BAD_REQUEST,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Failed => StatusCode::CONFLICT,
            ErrorCode::TimedOut => StatusCode::REQUEST_TIMEOUT,
            ErrorCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(ErrorBody { error: self })).into_response()
    }
}

/// The answer to a path that is not served.
pub(super) async fn no_route(uri: Uri) -> ApiError {
    ApiError::new(ErrorCode::Usage, format!("this daemon has no {}", uri.path()))
        .help("the client may be newer than the daemon: compare `wsup ctl version`")
}
