//! Requests byte for byte, over connections of their own or kept ones, and what came back.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::PATIENCE;

/// What came back.
#[derive(Debug)]
pub enum Back {
    Answer(Answer),
    /// A TLS alert's name, or `end`.
    Closed(String),
}

/// An answer of the gateway, read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub challenge: Option<String>,
    pub body: String,
}

impl Answer {
    /// A member of the problem document.
    pub fn problem(&self, member: &str) -> Option<String> {
        let problem: Value = serde_json::from_str(&self.body).ok()?;
        problem[member].as_str().map(str::to_owned)
    }
}

/// The bytes over HTTP/1.1, until the connection ends.
pub async fn http1<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> Back {
    let mut back = Vec::new();
    let talk = async {
        stream.write_all(bytes).await?;
        stream.flush().await?;
        stream.read_to_end(&mut back).await
    };
    let ended = tokio::time::timeout(PATIENCE, talk)
        .await
        .expect("the connection ends");
    let text = String::from_utf8_lossy(&back);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Back::Closed(ended.map_or_else(|error| alert(&error), |_| "end".to_owned()));
    };
    let challenge = head
        .lines()
        .find_map(|line| line.strip_prefix("www-authenticate: "));
    Back::Answer(Answer {
        status: head["HTTP/1.1 ".len()..][..3].parse().unwrap(),
        challenge: challenge.map(str::to_owned),
        body: body.to_owned(),
    })
}

/// The same request over HTTP/2, for those that it can say.
pub async fn http2<S>(stream: S, request: http::Request<Full<Bytes>>) -> Back
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let talk = async {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await?;
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let challenge = response.headers().get("www-authenticate");
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        driver.abort();
        Ok::<_, hyper::Error>(Answer {
            status,
            challenge,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    let ended = tokio::time::timeout(PATIENCE, talk).await;
    match ended.expect("the stream ends") {
        Ok(answer) => Back::Answer(answer),
        Err(_) => Back::Closed("end".into()),
    }
}

/// The name that handshakes ask for.
pub const HOST: &str = "api.example.com";

/// A GET that ends its connection.
pub fn head(path: &str, host: &str, token: Option<&str>) -> Vec<u8> {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let token = token.unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{token}connection: close\r\n\r\n").into_bytes()
}

/// One more request over a connection that is kept: status and body. `None` where it is cut.
pub async fn another<S>(stream: &mut S, path: &str, token: Option<&str>) -> Option<(u16, String)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asked = String::from_utf8(head(path, HOST, token)).unwrap();
    let asked = asked.replace("connection: close\r\n", "");
    stream.write_all(asked.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = Vec::new();
    // Each body ends in the upstream's word or in a problem's brace.
    while !answer.ends_with(b"\r\n\r\nok") && !answer.ends_with(b"}") {
        let read = stream.read_buf(&mut answer);
        let read = tokio::time::timeout(PATIENCE, read).await;
        if read.expect("an answer comes").ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head["HTTP/1.1 ".len()..][..3].parse().unwrap();
    Some((status, body.to_owned()))
}

/// A TLS connection, or the name of the alert that ended the handshake.
pub async fn tls(
    tcp: TcpStream,
    config: Arc<ClientConfig>,
    name: &str,
) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let handshake = TlsConnector::from(config).connect(name, tcp);
    let ended = tokio::time::timeout(PATIENCE, handshake).await;
    ended
        .expect("the handshake ends")
        .map_err(|error| alert(&error))
}

/// Whether this connection stands on an earlier one's handshake.
pub fn resumed(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

fn alert(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => format!("{alert:?}"),
        Some(other) => format!("{other:?}"),
        None => "end".to_owned(),
    }
}
