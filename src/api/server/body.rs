//! The bodies of requests.
//!
//! Responsible for reading each whole, within bounds of size and time, before a handler sees it. Must
//! not look into it.
//!
//! A body that is too large is read on for a while although nobody wants it: closing a socket with
//! unread bytes resets the connection, and a reset takes the answer with it that says what was wrong.

use crate::api::types::{ApiError, ErrorBody, ErrorCode};
use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use std::time::Duration;

/// The largest body of a request: the longest is a list of targets.
const BODY_MAX: usize = 256 * 1024;
/// How much of a body that is too large is read all the same, so that its sender learns why it was
/// refused. Whoever sends more than that is cut off.
const DISCARDED_MAX: usize = 8 * 1024 * 1024;
/// How long a client may take to send its body: it is on the same machine and has it at hand.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Why a body was not taken.
enum Refused {
    TooLarge,
    Broken(axum::Error),
}

/// Hands the request on with its body in memory, or answers for it.
pub(super) async fn whole(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_TIME, read(body)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(Refused::TooLarge)) => {
            let error = ApiError::new(
                ErrorCode::Usage,
                format!("the request has more than {BODY_MAX} bytes"),
            )
            .help("name fewer targets at a time");
            (StatusCode::PAYLOAD_TOO_LARGE, Json(ErrorBody { error })).into_response()
        }
        Ok(Err(Refused::Broken(cause))) => {
            ApiError::new(ErrorCode::Usage, format!("the request could not be read: {cause}"))
                .into_response()
        }
        Err(_) => {
            let waited = BODY_TIME.as_secs();
            ApiError::new(
                ErrorCode::TimedOut,
                format!("the request was not complete after {waited} s"),
            )
            .into_response()
        }
    }
}

/// Reads to the end, also past the bound, up to the bound of what is discarded.
async fn read(mut body: Body) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    let mut size = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Refused::Broken)?;
        let Some(data) = frame.data_ref() else { continue };
        size = size.saturating_add(data.len());
        if size <= BODY_MAX {
            bytes.extend_from_slice(data);
        } else if size > DISCARDED_MAX {
            break;
        }
    }
    if size > BODY_MAX { Err(Refused::TooLarge) } else { Ok(bytes) }
}
