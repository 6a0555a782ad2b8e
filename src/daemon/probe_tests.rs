//! Probes against servers of our own.

use super::*;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

const TIMEOUT: Millis = Millis(5_000);

/// A server that gives these answers, one a connection, and the port that it listens on.
fn server(answers: Vec<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let len = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..len]).into_owned();
            assert!(
                request.contains("user-agent: wsup/") && request.contains("host: "),
                "{request}"
            );
            stream.write_all(answer.replace("PATH", first_word(&request)).as_bytes()).unwrap();
        }
    });
    port
}

fn first_word(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

fn answer(status: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len())
}

fn asked(target: &Target, timeout: Millis) -> (Answer, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ask(target, timeout))
}

fn get_of(answers: Vec<String>) -> (Answer, String) {
    let port = server(answers);
    let (answer, message) =
        asked(&Target::http(&format!("http://127.0.0.1:{port}/a/b?c=d")).unwrap(), TIMEOUT);
    (answer, message.replace(&port.to_string(), "PORT"))
}

#[test]
fn an_answer_of_200_to_399_is_good() {
    for status in ["200 OK", "204 No Content", "399 Odd"] {
        assert_eq!(
            get_of(vec![answer(status, "", "")]),
            (Answer::Success, String::new()),
            "{status}"
        );
    }
    let (bad, message) = get_of(vec![answer("503 Service Unavailable", "", "\n no database\n")]);
    assert_eq!(bad, Answer::Failure);
    assert_eq!(message, "http://127.0.0.1:PORT/a/b?c=d: 503 Service Unavailable: no database");
    let (bad, message) = get_of(vec![answer("404 Not Found", "", "")]);
    assert_eq!(
        (bad, message.as_str()),
        (Answer::Failure, "http://127.0.0.1:PORT/a/b?c=d: 404 Not Found")
    );
}

#[test]
fn redirections_are_followed_on_the_same_host_only() {
    let to = |place: &str| answer("302 Found", &format!("Location: {place}\r\n"), "");
    let there = || answer("500 Internal Server Error", "", "at PATH");
    for (place, path) in [("/x", "/x"), ("y", "/a/y")] {
        let (bad, message) = get_of(vec![to(place), there().replace("at PATH", path)]);
        assert_eq!(bad, Answer::Failure);
        assert!(message.contains(path), "{message}");
    }
    assert_eq!(get_of(vec![to("http://elsewhere.example/x")]).0, Answer::Success);
    let (bad, message) = get_of(vec![to("/again"); REDIRECTS_MAX + 1]);
    assert_eq!(bad, Answer::Failure);
    assert!(message.contains("more than 10 redirections"), "{message}");
}

#[test]
fn what_is_not_there_or_does_not_answer_is_bad() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = Target::http(&format!("http://127.0.0.1:{port}/")).unwrap();
    assert_eq!(asked(&silent, Millis(50)), (Answer::Failure, "no answer within 50ms".to_owned()));
    assert_eq!(asked(&Target::Tcp(format!("127.0.0.1:{port}")), TIMEOUT).0, Answer::Success);
    drop(listener);
    for target in [silent, Target::Tcp(format!("127.0.0.1:{port}"))] {
        let (bad, message) = asked(&target, TIMEOUT);
        assert_eq!(bad, Answer::Failure);
        assert!(message.contains("refused"), "{message}");
    }
}

#[test]
fn a_unix_socket_is_good_if_somebody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let target = Target::Unix(path.clone());
    assert_eq!(asked(&target, TIMEOUT).0, Answer::Failure);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(asked(&target, TIMEOUT).0, Answer::Success);
    drop(listener);
    let (bad, message) = asked(&target, TIMEOUT);
    assert_eq!(bad, Answer::Failure);
    assert!(message.contains("refused"), "{message}");
}

#[test]
fn urls_that_cannot_be_asked_are_told() {
    for text in ["x", "/x", "ftp://x/", "http://"] {
        let message = Target::http(text).unwrap_err();
        assert!(message.contains("is not a URL"), "{message}");
    }
}

/// A server with a certificate of its own making, of another name, that has expired. Answers `answers`,
/// one a connection; says which name it was asked for.
fn tls_server(answers: Vec<String>) -> (u16, Receiver<Option<String>>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let cert = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked_for, names) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let len = stream.read(&mut [0; 4096]).unwrap();
            assert!(len > 0);
            asked_for.send(stream.conn.server_name().map(str::to_owned)).unwrap();
            stream.write_all(answer.replace("PORT", &port.to_string()).as_bytes()).unwrap();
            stream.conn.send_close_notify();
            let _sent = stream.flush();
        }
    });
    (port, names)
}

#[test]
fn over_tls_anybody_is_believed() {
    let answers = vec![answer("200 OK", "", ""), answer("503 Busy", "", "no database")];
    let (port, names) = tls_server(answers);
    let target = |host: &str| Target::http(&format!("https://{host}:{port}/x")).unwrap();
    assert_eq!(asked(&target("127.0.0.1"), TIMEOUT), (Answer::Success, String::new()));
    assert_eq!(names.recv().unwrap(), None, "an address is no name");
    let (bad, message) = asked(&target("localhost"), TIMEOUT);
    let why = format!("https://localhost:{port}/x: 503 Service Unavailable: no database");
    assert_eq!((bad, message), (Answer::Failure, why));
    assert_eq!(names.recv().unwrap().as_deref(), Some("localhost"));
}

#[test]
fn a_redirection_may_change_to_tls_on_the_same_host() {
    let (port, _names) = tls_server(vec![
        answer("302 Found", "Location: y\r\n", ""),
        answer("302 Found", "Location: https://elsewhere.example/\r\n", ""),
    ]);
    let location = format!("Location: https://127.0.0.1:{port}/x\r\n");
    let (good, message) = get_of(vec![answer("302 Found", &location, "")]);
    assert_eq!((good, message.as_str()), (Answer::Success, ""), "the last one leads elsewhere");
}

#[test]
fn who_does_not_speak_tls_is_bad() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _read = stream.read(&mut [0; 4096]);
            let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        port
    };
    let target = Target::http(&format!("https://127.0.0.1:{port}/")).unwrap();
    let (bad, message) = asked(&target, TIMEOUT);
    assert_eq!(bad, Answer::Failure);
    assert!(message.contains(": TLS: "), "{message}");
}
