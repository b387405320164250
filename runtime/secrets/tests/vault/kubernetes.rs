//! Stands for the Kubernetes API: its TokenReview says yes to one service account's token.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(crate) struct TokenReview {
    pub(crate) address: String,
}

impl TokenReview {
    /// Serves until the test's process ends.
    pub(crate) fn start() -> TokenReview {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream);
            }
        });
        TokenReview { address }
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let asked: Value = serde_json::from_slice(&body)?;
    let known = asked["spec"]["token"] == service_account_token();
    let body = json!({
        "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
        "status": { "authenticated": known, "user": {
            "username": "system:serviceaccount:caisson:daemon", "uid": "u1",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:caisson"],
        }},
    })
    .to_string();
    write!(
        stream,
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A token as Kubernetes makes them; nobody but the API can tell whether the signature is one.
pub(crate) fn service_account_token() -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    let claims = part(json!({
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:caisson:daemon",
        "kubernetes.io/serviceaccount/namespace": "caisson",
        "kubernetes.io/serviceaccount/service-account.name": "daemon",
        "kubernetes.io/serviceaccount/service-account.uid": "u1",
    }));
    format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode([7; 256]))
}
