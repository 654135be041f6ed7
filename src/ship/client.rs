//! One POST to an OTLP receiver (OTLP/HTTP 1.x, protobuf), and what its answer means.
//!
//! The receiver is trusted with records, and with nothing else: one time bound over everything, bounds on what it
//! may answer, no redirects, no decompression. A connection is kept from one request to the next, and one that
//! turns out to be closed by then is replaced once.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use crate::config;

/// A receiver, and the connection to it.
pub(super) struct Client {
    config: config::Ship,
    connection: Option<Connection>,
}

/// What the receiver made of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It took it. The response's message, where there is one of the protocol.
    Accepted(Bytes),
    /// It will never take it: the content is at fault (400, 413, 422).
    Refused(u16),
}

/// Why a request is to be sent again, later. The texts are for operators.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ShipError {
    /// The configured endpoint can't be used.
    #[error("the endpoint can't be used")]
    OursEndpoint,
    #[error("no connection: {0}")]
    ReceiverConnect(String),
    #[error("no TLS: {0}")]
    ReceiverTls(String),
    #[error("no whole answer in time")]
    ReceiverSlow,
    #[error("no answer in HTTP/1.1: {0}")]
    ReceiverProtocol(String),
    #[error("the receiver is busy (status {status})")]
    ReceiverBusy {
        status: u16,
        /// The wait that it asked for.
        after: Option<Duration>,
    },
    #[error("the receiver answers {0}; see to the endpoint and its credentials")]
    ReceiverStatus(u16),
}

impl ShipError {
    /// The name in metrics.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            ShipError::OursEndpoint => "endpoint",
            ShipError::ReceiverConnect(_) => "connect",
            ShipError::ReceiverTls(_) => "tls",
            ShipError::ReceiverSlow => "timeout",
            ShipError::ReceiverProtocol(_) => "protocol",
            ShipError::ReceiverBusy { .. } => "busy",
            ShipError::ReceiverStatus(_) => "status",
        }
    }

    /// The wait that the receiver asked for.
    pub(super) fn after(&self) -> Option<Duration> {
        match self {
            ShipError::ReceiverBusy { after, .. } => *after,
            _ => None,
        }
    }
}

/// A connection, which lives no longer than this.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    pub(super) fn new(config: config::Ship) -> Client {
        Client {
            config,
            connection: None,
        }
    }

    /// A message as it is sent.
    pub(super) fn encode(&self, message: Vec<u8>) -> std::io::Result<Bytes> {
        if !self.config.gzip {
            return Ok(message.into());
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&message)?;
        Ok(encoder.finish()?.into())
    }

    /// Posts a message to a path below the endpoint.
    pub(super) async fn post(&mut self, path: &str, message: Bytes) -> Result<Answer, ShipError> {
        let timeout = self.config.timeout;
        let answer = tokio::time::timeout(timeout, self.post_unbounded(path, message)).await;
        let answer = answer.unwrap_or(Err(ShipError::ReceiverSlow));
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn post_unbounded(&mut self, path: &str, message: Bytes) -> Result<Answer, ShipError> {
        if let Some(mut kept) = self.connection.take() {
            let request = self.request(path, message.clone())?;
            // It may have been closed while it was idle, which shows only now.
            if kept.sender.ready().await.is_ok()
                && let Ok(response) = kept.sender.send_request(request).await
            {
                return self.answered(kept, response).await;
            }
        }
        let mut connection = self.connect().await?;
        let request = self.request(path, message)?;
        let response = connection.sender.send_request(request).await;
        let response = response.map_err(|e| ShipError::ReceiverProtocol(e.to_string()))?;
        self.answered(connection, response).await
    }

    async fn answered(
        &mut self,
        connection: Connection,
        response: Response<Incoming>,
    ) -> Result<Answer, ShipError> {
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        match head.status {
            // 200 by the specification; others of its class have taken it as well
            of if of.is_success() => {}
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => return Ok(Answer::Refused(status)),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let after = retry_after(&head.headers, Timestamp::now());
                return Err(ShipError::ReceiverBusy { status, after });
            }
            _ => return Err(ShipError::ReceiverStatus(status)),
        }
        let said = head.headers.get(header::CONTENT_TYPE);
        let protocol = said.is_some_and(|said| said.as_bytes() == PROTOBUF.as_bytes())
            && !head.headers.contains_key(header::CONTENT_ENCODING);
        // The head says that it was taken. A body that is too large, breaks off or doesn't come takes nothing back.
        let rest = Limited::new(body, LARGEST).collect();
        match tokio::time::timeout(self.config.timeout / 2, rest).await {
            Ok(Ok(body)) => {
                self.connection = Some(connection);
                let body = body.to_bytes();
                Ok(Answer::Accepted(if protocol { body } else { Bytes::new() }))
            }
            Ok(Err(_)) | Err(_) => Ok(Answer::Accepted(Bytes::new())),
        }
    }

    async fn connect(&self) -> Result<Connection, ShipError> {
        let endpoint = &self.config.endpoint;
        let host = endpoint.host().ok_or(ShipError::OursEndpoint)?;
        let host = host.trim_matches(['[', ']']);
        let https = endpoint.scheme() == Some(&Scheme::HTTPS);
        let port = endpoint.port_u16().unwrap_or(if https { 443 } else { 80 });
        let failed = |error: std::io::Error| ShipError::ReceiverConnect(error.to_string());
        let stream = match host.parse::<IpAddr>() {
            Ok(ip) => TcpStream::connect((ip, port)).await,
            Err(_) => TcpStream::connect((host, port)).await,
        };
        let stream = stream.map_err(failed)?;
        let _slower_without = stream.set_nodelay(true);
        let Some(tls) = &self.config.tls else {
            return handshake(stream).await;
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ShipError::OursEndpoint)?;
        let stream = TlsConnector::from(tls.client.clone())
            .connect(name, stream)
            .await
            .map_err(|error| ShipError::ReceiverTls(error.to_string()))?;
        handshake(stream).await
    }

    fn request(&self, path: &str, message: Bytes) -> Result<Request<Full<Bytes>>, ShipError> {
        let endpoint = &self.config.endpoint;
        let authority = endpoint.authority().ok_or(ShipError::OursEndpoint)?;
        let target = format!("{}{path}", endpoint.path().trim_end_matches('/'));
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(target)
            .header(header::HOST, authority.as_str())
            .body(Full::new(message))
            .map_err(|_| ShipError::OursEndpoint)?;
        let headers = request.headers_mut();
        for (name, source) in &self.config.headers {
            headers.insert(name, source.value.clone());
        }
        headers.insert(header::USER_AGENT, AGENT);
        headers.insert(header::CONTENT_TYPE, PROTOBUF);
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        if self.config.gzip {
            let gzip = HeaderValue::from_static("gzip");
            headers.insert(header::CONTENT_ENCODING, gzip);
        }
        Ok(request)
    }
}

async fn handshake<S>(stream: S) -> Result<Connection, ShipError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ShipError::ReceiverProtocol(error.to_string()))?;
    // What ends it shows where it is used.
    let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
    Ok(Connection { sender, task })
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(at.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// The largest response that is read, in bytes.
const LARGEST: usize = 64 * 1024;
/// Room for a response's head, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_that_are_asked_for() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 22 Nov 2026 10:01:00 GMT", Some(60)),
            ("Sun, 22 Nov 2026 09:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            let found = retry_after(&headers, now);
            assert_eq!(found, seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
