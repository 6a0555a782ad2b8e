//! The daemon's end of the control socket.
//!
//! Responsible for the socket's file, the routes and the end of everything that is open when the
//! daemon goes. Must not hold state of its own: each answer is read through the door.

mod act;
mod body;
mod error;
mod facts;
mod follow;
mod lines;
mod logs;
mod read;
mod rollout;
mod target;
mod top;

pub use act::requests;

use crate::api::door::{Door, Peer};
use crate::api::types::{ApiError, Daemon, ErrorCode};
use axum::extract::State;
use axum::extract::connect_info::Connected;
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use nix::sys::stat::{Mode, umask};
use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// How long clients may take to read their last answer once the daemon goes.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Makes the control socket, readable and writable by its owner only. A file that a former daemon
/// left is replaced; whether another daemon lives must have been found out before, by a lock on
/// the runtime directory. To be called before other threads make files: it sets the umask for a
/// moment, because a mode that is changed after `bind` would leave the socket open in between.
/// Must be called within a runtime that has I/O enabled.
///
/// # Errors
/// With the path: the directory is not there or not writable, or something other than a socket is
/// in the way.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("control socket {}: {error}", path.display()))
    };
    match std::fs::symlink_metadata(path) {
        Ok(meta) if std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()) => {
            std::fs::remove_file(path).map_err(named)?;
        }
        Ok(_) => return Err(named(io::Error::other("there is a file that is not a socket"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(named(error)),
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = crate::os::socket::bind(path);
    umask(before);
    let listener = bound.map_err(named)?;
    listener.set_nonblocking(true).map_err(named)?;
    UnixListener::from_std(listener).map_err(named)
}

/// Serves the control socket until `shutdown` becomes true (or its sender is gone). Then open
/// streams end, waiting clients are told that the daemon is stopping, and after a moment the
/// function returns. Must run on a runtime with I/O and time enabled.
///
/// # Errors
/// If the listener fails for good.
pub async fn serve(
    listener: UnixListener,
    door: Door,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let api = Api { door, shutdown: shutdown.clone() };
    let app = router(api).into_make_service_with_connect_info::<Caller>();
    let server = axum::serve(listener, app).with_graceful_shutdown(ended(shutdown.clone()));
    tokio::select! {
        result = std::future::IntoFuture::into_future(server) => result,
        () = async { ended(shutdown).await; tokio::time::sleep(LAST_ANSWERS).await } => Ok(()),
    }
}

/// What every handler is given.
#[derive(Clone)]
struct Api {
    door: Door,
    shutdown: watch::Receiver<bool>,
}

impl Api {
    /// Waits for `future`, or until the daemon goes.
    async fn unless_ended<T>(&self, future: impl Future<Output = T>) -> Result<T, ApiError> {
        tokio::select! {
            value = future => Ok(value),
            () = ended(self.shutdown.clone()) => {
                Err(ApiError::new(ErrorCode::Stopping, "the daemon is stopping"))
            }
        }
    }
}

/// Returns once the flag is true or can no longer become it.
async fn ended(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
struct Caller(Peer);

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Caller(peer(stream.io()))
    }
}

fn peer(stream: &UnixStream) -> Peer {
    match stream.peer_cred() {
        Ok(cred) => Peer { uid: cred.uid(), pid: cred.pid() },
        Err(error) => {
            tracing::warn!("cannot tell who is at the control socket: {error}");
            Peer { uid: u32::MAX, pid: None }
        }
    }
}

fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/ping", get(ping))
        .route("/v1/version", get(version))
        .route("/v1/instances", get(read::instances))
        .route("/v1/units", get(read::units))
        .route("/v1/overview", get(read::overview))
        .route("/v1/top", get(top::top))
        .route("/v1/describe", get(read::describe))
        .route("/v1/events", get(read::events))
        .route("/v1/logs", get(logs::logs))
        .route("/v1/changes", get(read::changes))
        .route("/v1/wait", get(follow::wait))
        .route("/v1/rollout/history", get(read::history))
        .route("/v1/rollout/status", get(follow::rollout_status))
        .route("/v1/apply", post(act::apply))
        .route("/v1/actions", post(act::actions))
        .route("/v1/shutdown", post(act::shutdown))
        .fallback(error::no_route)
        .layer(axum::middleware::from_fn(body::whole))
        .with_state(api)
}

/// Answers once the daemon's loop has turned.
async fn ping(State(api): State<Api>) -> Result<Json<serde_json::Value>, ApiError> {
    api.door.read(|_| ()).await?;
    Ok(Json(serde_json::json!({ "ok": true })))
}

async fn version(State(api): State<Api>) -> Json<Daemon> {
    Json(Daemon::new(api.door.daemon(), api.door.runner()))
}
