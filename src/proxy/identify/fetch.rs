//! Fetching a provider's keys: one GET, or two with discovery.
//!
//! An issuer's server is trusted for its keys and for nothing else: one time bound over everything, a bound on
//! the size, no redirects, no other status than 200, no decompression. Plain HTTP is spoken to loopback only,
//! and only to addresses that are loopback once resolved.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::jwks::KeySet;
use crate::policy::Json;

/// The bound on a whole fetch, discovery included.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest document, in bytes.
const LARGEST: usize = 256 * 1024;

/// Room for a response's head, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;

/// Where a provider's keys are fetched from.
pub(super) struct Endpoint {
    url: Uri,
    // With discovery: the issuer that the metadata must name.
    issuer: Option<Box<str>>,
    tls: TlsConnector,
    timeout: Duration,
}

/// Why keys weren't had. The texts are for operators.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    /// The configured URL can't be used.
    #[error("the URL is neither https nor http to loopback")]
    OursUrl,
    #[error("no connection: {0}")]
    IssuerConnect(std::io::ErrorKind),
    #[error("the TLS handshake failed")]
    IssuerTls,
    #[error("no whole answer in time")]
    IssuerSlow,
    #[error("the answer is no HTTP/1.1")]
    IssuerProtocol,
    #[error("the answer has status {0}")]
    IssuerStatus(u16),
    #[error("the answer is encoded, though that wasn't asked for")]
    IssuerEncoded,
    #[error("the answer is larger than 256 KiB, or broke off")]
    IssuerBody,
    #[error("the metadata isn't a strict JSON object with `issuer` and `jwks_uri`")]
    IssuerMetadata,
    #[error("the metadata is another issuer's")]
    IssuerOther,
    #[error(
        "the metadata's `jwks_uri` is neither https nor http to loopback like the metadata's own URL"
    )]
    IssuerKeysUrl,
    #[error("the answer isn't a JWK set with at least one key that can verify a token")]
    IssuerKeys,
}

impl Endpoint {
    /// A JWK set by URL, or through the metadata of `issuer`.
    pub(super) fn new(
        url: Uri,
        issuer: Option<Box<str>>,
        tls: &Arc<rustls::ClientConfig>,
    ) -> Endpoint {
        let mut tls = (**tls).clone();
        // Only HTTP/1.1 is spoken here.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Endpoint {
            url,
            issuer,
            tls: TlsConnector::from(Arc::new(tls)),
            timeout: TIMEOUT,
        }
    }

    /// Another time bound, for tests.
    #[cfg(test)]
    pub(super) fn within(self, timeout: Duration) -> Endpoint {
        Endpoint { timeout, ..self }
    }

    /// Fetches the keys.
    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        tokio::time::timeout(self.timeout, self.fetch_unbounded())
            .await
            .unwrap_or(Err(FetchError::IssuerSlow))
    }

    async fn fetch_unbounded(&self) -> Result<KeySet, FetchError> {
        let body = match &self.issuer {
            None => self.get(&self.url).await?,
            Some(issuer) => {
                let metadata = self.get(&self.url).await?;
                let keys = keys_url(&metadata, issuer, &self.url)?;
                self.get(&keys).await?
            }
        };
        KeySet::read(&body).ok_or(FetchError::IssuerKeys)
    }

    async fn get(&self, url: &Uri) -> Result<Bytes, FetchError> {
        let target = Target::of(url).ok_or(FetchError::OursUrl)?;
        let stream = target.connect().await?;
        if !target.tls {
            return exchange(stream, &target).await;
        }
        let name = ServerName::try_from(target.host.to_owned()).map_err(|_| FetchError::OursUrl)?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|_| FetchError::IssuerTls)?;
        exchange(stream, &target).await
    }
}

/// `jwks_uri` of OpenID Connect discovery or RFC 8414 metadata, which must be the issuer's own.
fn keys_url(metadata: &[u8], issuer: &str, from: &Uri) -> Result<Uri, FetchError> {
    let metadata = Json::parse(metadata, 16).map_err(|_| FetchError::IssuerMetadata)?;
    let text = |name| metadata.member(name).and_then(Json::as_text);
    let named = text("issuer").ok_or(FetchError::IssuerMetadata)?;
    if named != issuer {
        return Err(FetchError::IssuerOther);
    }
    let url: Uri = text("jwks_uri")
        .and_then(|url| url.parse().ok())
        .ok_or(FetchError::IssuerMetadata)?;
    let target = Target::of(&url).ok_or(FetchError::IssuerKeysUrl)?;
    // Metadata that came by TLS may not lead away from it.
    if !target.tls && from.scheme() != Some(&Scheme::HTTP) {
        return Err(FetchError::IssuerKeysUrl);
    }
    Ok(url)
}

/// A URL that may be fetched, in its parts.
struct Target<'u> {
    tls: bool,
    authority: &'u Authority,
    // Without the brackets of an IPv6 address.
    host: &'u str,
    port: u16,
    path: &'u str,
}

impl<'u> Target<'u> {
    fn of(url: &'u Uri) -> Option<Target<'u>> {
        let authority = url.authority()?;
        let tls = url.scheme() == Some(&Scheme::HTTPS);
        let host = authority.host().trim_matches(['[', ']']);
        let local = host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let fetchable = tls || url.scheme() == Some(&Scheme::HTTP) && local;
        if !fetchable || authority.as_str().contains('@') {
            return None;
        }
        Some(Target {
            tls,
            authority,
            host,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: url.path_and_query().map_or("/", |path| path.as_str()),
        })
    }

    async fn connect(&self) -> Result<TcpStream, FetchError> {
        let failed = |error: std::io::Error| FetchError::IssuerConnect(error.kind());
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((self.host, self.port))
            .await
            .map_err(failed)?
            // `localhost` is what the resolver says it is.
            .filter(|address| self.tls || address.ip().is_loopback())
            .collect();
        TcpStream::connect(addresses.as_slice())
            .await
            .map_err(failed)
    }
}

async fn exchange<S>(stream: S, target: &Target<'_>) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(LARGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| FetchError::IssuerProtocol)?;
    let request = request(target)?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|_| FetchError::IssuerProtocol)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::IssuerStatus(response.status().as_u16()));
        }
        if response.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(FetchError::IssuerEncoded);
        }
        Limited::new(response.into_body(), LARGEST)
            .collect()
            .await
            .map(|body| body.to_bytes())
            .map_err(|_| FetchError::IssuerBody)
    };
    tokio::pin!(answer, connection);
    // The connection lives no longer than the answer, and on no other task.
    tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

fn request(target: &Target<'_>) -> Result<Request<Empty<Bytes>>, FetchError> {
    let host = HeaderValue::from_str(target.authority.as_str()).map_err(|_| FetchError::OursUrl)?;
    Request::builder()
        .method(Method::GET)
        .uri(target.path)
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/json, application/jwk-set+json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close")
        .header(
            header::USER_AGENT,
            concat!("portcullis/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::new())
        .map_err(|_| FetchError::OursUrl)
}
