//! Answers that go on: one JSON object a line, until the client or the daemon goes.
//!
//! Responsible for ending every such answer. Must not know what the lines say.

use super::{Api, ended};
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How many pieces may wait for a slow client before the writer waits for it.
const PIECES_MAX: usize = 64;

/// The client is gone, so nobody reads what would follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

/// Where the lines go.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    out: mpsc::Sender<Result<Bytes, Infallible>>,
}

impl Lines {
    /// Sends one object as a line.
    pub(super) async fn object<T: Serialize>(&self, object: &T) -> Result<(), Gone> {
        let mut text = match serde_json::to_vec(object) {
            Ok(text) => text,
            Err(error) => {
                // Wire types have only string keys; should one ever not, the stream ends.
                tracing::error!("cannot write an answer: {error}");
                return Err(Gone);
            }
        };
        text.push(b'\n');
        self.bytes(text).await
    }

    /// Sends bytes as they are.
    pub(super) async fn bytes(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        self.out.send(Ok(Bytes::from(bytes))).await.map_err(|_| Gone)
    }
}

/// Answers with what `write` sends, until it returns, the client goes or the daemon ends.
pub(super) fn answer<F, W>(api: &Api, content_type: &'static str, write: W) -> Response
where
    F: Future<Output = Result<(), Gone>> + Send,
    W: FnOnce(Lines) -> F + Send + 'static,
{
    let (out, pieces) = mpsc::channel(PIECES_MAX);
    let shutdown = api.shutdown.clone();
    tokio::spawn(async move {
        let client = out.clone();
        tokio::select! {
            // Whether it got to its end or the client went first: nobody is left to be told.
            _ = write(Lines { out }) => {}
            () = client.closed() => {}
            () = ended(shutdown) => {}
        }
    });
    let body = Body::from_stream(ReceiverStream::new(pieces));
    ([(CONTENT_TYPE, content_type)], body).into_response()
}

/// The content type of one JSON object a line.
pub(super) const JSON_LINES: &str = "application/x-ndjson";
