//! The client's end of the control socket.
//!
//! Responsible for finding the socket and for typed calls, one connection each. Must not print.

use crate::api::types::{ApiError, ErrorBody, ErrorCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "wsup.sock";
/// The longest line of a stream: an instance or unit with everything it has is a few KiB.
const LINE_MAX: usize = 16 * 1024 * 1024;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// No daemon was found: the sockets that were tried, each with the reason.
    Unreachable(Vec<(PathBuf, String)>),
    /// The daemon said no.
    Api(ApiError),
    /// The connection broke, or what came over it made no sense.
    Broken(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable(tried) => {
                f.write_str("no daemon can be reached")?;
                for (path, reason) in tried {
                    write!(f, "\n  {}: {reason}", path.display())?;
                }
                Ok(())
            }
            ClientError::Api(error) => error.fmt(f),
            ClientError::Broken(text) => write!(f, "the connection to the daemon broke: {text}"),
        }
    }
}

fn broken(error: impl fmt::Display) -> ClientError {
    ClientError::Broken(error.to_string())
}

/// Where a client looks for daemons, read from its surroundings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `--socket` or WSUP_CONTROL: nothing else is tried.
    pub given: Option<PathBuf>,
    /// The current directory: `wsup dev` leaves its socket below the project's.
    pub cwd: Option<PathBuf>,
    /// XDG_RUNTIME_DIR.
    pub runtime_dir: Option<PathBuf>,
}

impl Surroundings {
    /// The sockets to try, in order: dev (in the current directory or the nearest one above that
    /// has one), user, system.
    pub fn candidates(&self) -> Vec<PathBuf> {
        if let Some(given) = &self.given {
            return vec![given.clone()];
        }
        let dev = |dir: &Path| dir.join(".wsup/run").join(SOCKET_NAME);
        let mut found = Vec::new();
        if let Some(cwd) = &self.cwd {
            let nearest = cwd.ancestors().map(dev).find(|path| path.exists());
            found.push(nearest.unwrap_or_else(|| dev(cwd)));
        }
        if let Some(dir) = &self.runtime_dir {
            found.push(dir.join("wsup").join(SOCKET_NAME));
        }
        found.push(Path::new("/run/wsup").join(SOCKET_NAME));
        found
    }
}

/// A daemon that answered.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Finds the first daemon that takes a connection.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] with all that was tried.
    pub async fn find(surroundings: &Surroundings) -> Result<Client, ClientError> {
        let mut tried = Vec::new();
        for path in surroundings.candidates() {
            // A socket found by looking around could be anybody's trap; a given one is meant.
            let trusted = surroundings.given.is_some() || is_ours(&path);
            let reason = match connect(&path) {
                Ok(_) if trusted => return Ok(Client { socket: path }),
                Ok(_) => {
                    "it belongs to another user (name it with --socket if you trust it)".to_owned()
                }
                Err(_) if path.exists() && !is_socket(&path) => "it is no socket".to_owned(),
                Err(error) => reason(&error),
            };
            tried.push((path, reason));
        }
        Err(ClientError::Unreachable(tried))
    }

    /// The socket that is used.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for a value.
    ///
    /// # Errors
    /// As [`ClientError`] tells.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let response = self.call(Method::GET, path, query, Bytes::new()).await?;
        value(response).await
    }

    /// Sends a value and asks for another.
    ///
    /// # Errors
    /// As [`ClientError`] tells.
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(broken)?;
        let response = self.call(Method::POST, path, query, Bytes::from(body)).await?;
        value(response).await
    }

    /// Asks for an answer that goes on.
    ///
    /// # Errors
    /// As [`ClientError`] tells.
    pub async fn stream(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Stream, ClientError> {
        let response = self.call(Method::GET, path, query, Bytes::new()).await?;
        Ok(Stream { body: response.into_body(), rest: Vec::new() })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = connect(&self.socket)
            .map_err(|e| ClientError::Unreachable(vec![(self.socket.clone(), reason(&e))]))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // The connection ends with its only response; its errors come out there too.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(uri(path, query))
            .header("host", "wsup")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(broken)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
        Err(ClientError::Api(serde_json::from_slice::<ErrorBody>(&body).map_or_else(
            |_| plain_error(status, &String::from_utf8_lossy(&body)),
            |body| body.error,
        )))
    }
}

/// An error that the HTTP library made, not we: a body or query that it could not read.
fn plain_error(status: StatusCode, text: &str) -> ApiError {
    let code = if status.is_client_error() { ErrorCode::Usage } else { ErrorCode::Failed };
    ApiError::new(code, format!("the daemon answered {status}: {}", text.trim()))
}

async fn value<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
    serde_json::from_slice(&body).map_err(broken)
}

/// Connects, whatever the length of the path. A unix socket's connect does not wait, unless the
/// listener's queue is full.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = crate::os::socket::connect(path)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Whether the file belongs to this user or to root.
fn is_ours(path: &Path) -> bool {
    let me = nix::unistd::geteuid().as_raw();
    std::fs::metadata(path).is_ok_and(|meta| meta.uid() == me || meta.uid() == 0)
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "no daemon listens on it".to_owned(),
        io::ErrorKind::PermissionDenied => "it belongs to another user".to_owned(),
        _ => error.to_string(),
    }
}

fn uri(path: &str, query: &[(&str, String)]) -> String {
    let mut uri = path.to_owned();
    for (n, (key, value)) in query.iter().enumerate() {
        uri.push(if n == 0 { '?' } else { '&' });
        uri.push_str(key);
        uri.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                uri.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    uri
}

/// An answer that goes on.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    rest: Vec<u8>,
}

impl Stream {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn bytes(&mut self) -> Result<Option<Bytes>, ClientError> {
        if !self.rest.is_empty() {
            return Ok(Some(Bytes::from(std::mem::take(&mut self.rest))));
        }
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The next line as a value; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or the line makes no sense.
    pub async fn line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        let mut searched = 0;
        loop {
            let end = self.rest.iter().skip(searched).position(|byte| *byte == b'\n');
            if let Some(end) = end.map(|end| searched + end) {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).map(Some).map_err(broken);
            }
            searched = self.rest.len();
            if searched > LINE_MAX {
                return Err(broken("a line has no end"));
            }
            let mut more = None;
            while let Some(frame) = self.body.frame().await {
                if let Ok(data) = frame.map_err(broken)?.into_data() {
                    more = Some(data);
                    break;
                }
            }
            match more {
                Some(data) => self.rest.extend_from_slice(&data),
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(broken("it ended in the middle of a line")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dev_socket_is_searched_upwards_and_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let run = dir.path().join(".wsup/run");
        std::fs::create_dir_all(&run).unwrap();
        std::fs::write(run.join(SOCKET_NAME), "").unwrap();
        let surroundings = Surroundings {
            given: None,
            cwd: Some(deep.clone()),
            runtime_dir: Some("/run/user/7".into()),
        };
        assert_eq!(
            surroundings.candidates(),
            [
                run.join(SOCKET_NAME),
                "/run/user/7/wsup/wsup.sock".into(),
                "/run/wsup/wsup.sock".into()
            ]
        );
        std::fs::remove_file(run.join(SOCKET_NAME)).unwrap();
        assert_eq!(surroundings.candidates()[0], deep.join(".wsup/run/wsup.sock"));
        let given = Surroundings { given: Some("/x".into()), ..surroundings };
        assert_eq!(given.candidates(), [PathBuf::from("/x")]);
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(
            uri("/v1/x", &[("a", "job/b c&d=é".to_owned()), ("e", "1".to_owned())]),
            "/v1/x?a=job%2Fb%20c%26d%3D%C3%A9&e=1"
        );
    }
}
