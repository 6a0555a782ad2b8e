//! Probes that connect to something: http, tcp, unix.
//!
//! Responsible for one question and its answer, by kubelet's rules (`pkg/probe/http`, `pkg/probe/tcp`),
//! within its time. Must not know instances, nor count.

use super::beside::duration;
use super::tls;
use crate::core::instance::probe::Answer;
use crate::core::time::Millis;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// So often a redirection is followed (Go's `http.Client`, which kubelet asks with).
const REDIRECTS_MAX: usize = 10;
/// So much of an answer's body is read (kubelet's `maxRespBodyLength`).
const BODY_MAX: usize = 10 << 10;
/// So many characters of it are shown when the answer is bad.
const SHOWN_MAX: usize = 200;

/// What a probe connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// GET of this URL.
    Http(Uri),
    /// A connection to `host:port`.
    Tcp(String),
    /// A connection to a unix socket.
    Unix(PathBuf),
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn http(text: &str) -> Result<Target, String> {
        let uri: Uri = text.parse().map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(_)) => Ok(Target::Http(uri)),
            _ => Err(format!(
                "`{text}` is not a URL: write http://HOST:PORT/PATH or https://HOST:PORT/PATH"
            )),
        }
    }
}

/// What to say of a probe whose time is over.
pub(super) fn late(timeout: Millis) -> String {
    format!("no answer within {timeout}")
}

/// A line of what somebody answered, as far as it may be shown on a terminal.
pub(super) fn shown(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

/// Asks once. Gives the answer and, unless that is good, why, for people.
pub(super) async fn ask(target: &Target, timeout: Millis) -> (Answer, String) {
    let asked = async {
        match target {
            Target::Http(uri) => http(uri).await,
            Target::Tcp(address) => match TcpStream::connect(address).await {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{address}: {error}")),
            },
            Target::Unix(path) => match UnixStream::connect(path).await {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{}: {error}", path.display())),
            },
        }
    };
    match tokio::time::timeout(duration(timeout), asked).await {
        Ok(Ok(())) => (Answer::Success, String::new()),
        Ok(Err(message)) => (Answer::Failure, message),
        Err(_) => (Answer::Failure, late(timeout)),
    }
}

/// Whether the answer is one of 200 to 399. Redirections are followed within the same host; one to
/// another host is good by itself (kubelet `pkg/probe/http/http.go`).
async fn http(first: &Uri) -> Result<(), String> {
    let mut uri = first.clone();
    for _ in 0..=REDIRECTS_MAX {
        let response = get(&uri).await.map_err(|error| format!("{uri}: {error}"))?;
        let status = response.status();
        if !status.is_success() && !status.is_redirection() {
            return Err(refusal(&uri, status, response).await);
        }
        match elsewhere(&uri, &response) {
            Some(next) => uri = next,
            None => return Ok(()),
        }
    }
    Err(format!("{first}: more than {REDIRECTS_MAX} redirections"))
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn get(uri: &Uri) -> Result<Response<Incoming>, Failure> {
    let host = uri.host().ok_or("no host")?;
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    // Brackets belong to the URL, not to the address.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await?;
    if secure {
        exchange(tls::connect(name, stream).await?, uri, host).await
    } else {
        exchange(stream, uri, host).await
    }
}

/// One question over a connection that is there.
async fn exchange<S>(stream: S, uri: &Uri, host: &str) -> Result<Response<Incoming>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let carried = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(HOST, authority.rsplit('@').next().unwrap_or(authority))
        .header(USER_AGENT, concat!("wsup/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await;
    if response.is_err() {
        carried.abort();
    }
    Ok(response?)
}

/// Where the answer sends us, if that is on the same host.
fn elsewhere<B>(uri: &Uri, response: &Response<B>) -> Option<Uri> {
    let moved = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION).filter(|_| moved)?.to_str().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let next: Uri = match location.parse::<Uri>().ok()? {
        whole if whole.scheme().is_some() => whole,
        part if part.authority().is_none() && location.starts_with('/') => {
            format!("{scheme}://{authority}{location}").parse().ok()?
        }
        _ => {
            let dir = uri.path().rsplit_once('/').map_or("", |(dir, _)| dir);
            format!("{scheme}://{authority}{dir}/{location}").parse().ok()?
        }
    };
    // On the same host the scheme makes no difference, nor does the port.
    let same = next.host() == uri.host() && matches!(next.scheme_str(), Some("http" | "https"));
    same.then_some(next)
}

async fn refusal<B>(uri: &Uri, status: StatusCode, response: Response<B>) -> String
where
    B: Body<Data = Bytes>,
    B::Error: Into<Failure>,
{
    let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
    let text = body.map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => {
            format!("{uri}: {status}: {}", shown(line))
        }
        None => format!("{uri}: {status}"),
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
