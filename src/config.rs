//! The configuration: a [`Config`] holds only valid values.
//!
//! `raw.rs` is the table of sections and keys, `read.rs` reads values by it, `load.rs` brings in what the
//! file names (certificates, keys, secrets from files and the environment), and one file to a section makes
//! valid types of it. Problems are told all at once, each at its place. Secrets are [`Secret`]s, which no
//! `Debug` shows.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use crate::audit::note::Signer;
use crate::policy::normalise::Opaque;
use crate::yaml::Problem;

pub mod fields;
mod identity;
mod jwks;
mod listeners;
mod load;
pub mod overlap;
pub mod raw;
pub(crate) mod read;
mod routes;
pub mod secrets;
mod service;
mod ship;
mod tls;
pub mod units;
mod upstreams;

pub use fields::Fields;
pub use secrets::Env;

/// A whole, valid configuration.
#[derive(Debug)]
pub struct Config {
    /// Where requests come in; at least one.
    pub listeners: Vec<Listener>,
    /// Which requests go where; the longest path prefix of the most exact host wins.
    pub routes: Vec<Route>,
    /// What routes lead to.
    pub upstreams: Vec<Upstream>,
    /// Who may be who.
    pub identity: Identity,
    /// Policy files and folders (each `*.yaml` below but `cases.yaml`), joined to the config file's folder; all exist.
    pub policies: Vec<PathBuf>,
    /// The record of decisions.
    pub audit: Audit,
    /// The admin listener; `None` turns it off.
    pub admin: Option<SocketAddr>,
    /// Bounds on what an outsider controls.
    pub limits: Limits,
    /// Time bounds.
    pub timeouts: Timeouts,
    /// Threads that serve; each has its own runtime, upstream connections and token cache.
    pub workers: usize,
    /// Logging.
    pub log: Log,
    /// Every file that the configuration was read from (itself, keys, certificates, secrets, policies), to be watched;
    /// policy folders stand for all below them.
    pub files: Vec<PathBuf>,
    /// What works, but someone should know of: an expired certificate, a secret that everybody may read.
    pub warnings: Vec<Problem>,
}

/// A listening socket.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// The address; port 0 picks a free one.
    pub address: SocketAddr,
    /// TLS, or plain TCP.
    pub tls: Option<ListenerTls>,
}

/// TLS of a listener. The files were read and fit each other when the config was loaded.
#[derive(Clone)]
pub struct ListenerTls {
    /// What rustls serves with: certificate, key, ALPN `h2` and `http/1.1`, client verification and CRLs.
    pub server: Arc<rustls::ServerConfig>,
    /// What client certificates are verified by, where they are asked for.
    pub clients: Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>,
    /// The last second of the first revocation list that ends, since 1970.
    pub lists_end: Option<i64>,
}

/// A route: host and path prefix to upstream.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name in records and metrics.
    pub name: Arc<str>,
    /// The exact lower-case host, or any.
    pub host: Option<Box<str>>,
    /// The path prefix, matched on whole segments; `/` is every path.
    pub path: Box<str>,
    /// The upstream's index in [`Config::upstreams`].
    pub upstream: usize,
    /// Headers that the proxy sets, whatever the client sent: credentials that the agent never holds.
    pub set_headers: Vec<(HeaderName, SecretSource)>,
    /// Client headers that are forwarded besides the inert set and those that the permit names.
    pub forward_headers: ForwardHeaders,
    /// Whether the verified credential is passed on.
    pub forward_credential: bool,
    /// What may stand in this route's paths.
    pub opaque: Opaque,
    /// The host that the upstream sees: the client's (default), or a given one.
    pub upstream_host: Option<HeaderValue>,
    /// The longest request, from its head to the end of the response; `None`: no bound (streams).
    pub request_timeout: Option<Duration>,
}

/// Which client headers a route passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardHeaders {
    /// These, besides the inert set.
    Named(Vec<HeaderName>),
    /// All that aren't removed for a reason of their own.
    Any,
}

/// Servers behind one name.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name in records and metrics.
    pub name: Arc<str>,
    /// Scheme and authority of each server; at least one; all of one scheme.
    pub addresses: Vec<Uri>,
    /// How one is chosen.
    pub balance: Balance,
    /// How HTTP is spoken to it.
    pub protocol: Protocol,
    /// TLS to it, where the scheme is https.
    pub tls: Option<UpstreamTls>,
    /// Passive ejection: after so many failures in a row, the server rests for so long.
    pub ejection: Ejection,
    /// Idle connections kept for reuse, for each worker and address.
    pub keep_idle: usize,
    /// The longest time to connect, TLS included.
    pub connect_timeout: Duration,
    /// The longest time from the end of the request to the head of the response.
    pub response_timeout: Duration,
    /// The longest silence of a response body; `None`: no bound (server-sent events).
    pub idle_timeout: Option<Duration>,
}

/// TLS towards an upstream.
#[derive(Clone)]
pub struct UpstreamTls {
    /// Roots, client certificate and ALPN.
    pub client: Arc<rustls::ClientConfig>,
    /// The name to verify, where it isn't the address's host.
    pub server_name: Option<rustls_pki_types::ServerName<'static>>,
}

/// How a server is chosen among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests under way (per worker); ties go round.
    LeastPending,
    /// In turn.
    RoundRobin,
}

/// The protocol towards an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN on https, prior knowledge on http.
    Http2,
}

/// Passive ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row: connect errors, resets before a response head, timeouts.
    pub failures: u32,
    /// The rest.
    pub rest: Duration,
}

/// Who may be who.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The token issuers.
    pub providers: Vec<Provider>,
    /// What a client certificate and a token together must be: bound (`cnf.x5t#S256`), or free to coexist.
    pub certificate_and_token: CertificateAndToken,
    /// Verified tokens kept, for each worker.
    pub token_cache: usize,
}

/// See [`Identity::certificate_and_token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CertificateAndToken {
    /// The token names the certificate.
    #[default]
    Bound,
    /// They may be of different parties.
    Coexist,
}

/// A token issuer (RFC 7519, RFC 8725, RFC 9068).
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Its name: the principal's `provider`.
    pub name: Arc<str>,
    /// `iss`, compared byte for byte.
    pub issuer: Box<str>,
    /// `aud` must hold one of these; never empty.
    pub audiences: Vec<Box<str>>,
    /// The accepted algorithms; never empty; `HS*` only with [`Keys::Secret`].
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// The accepted `typ` header values, lower-cased and without `application/`; empty: `typ` is not looked at.
    pub types: Vec<Box<str>>,
    /// The keys.
    pub keys: Keys,
    /// Allowed clock difference, at most 60 s.
    pub leeway: Duration,
    /// The longest `exp − iat`; a token without `iat` is then refused.
    pub max_lifetime: Duration,
    /// Which claims become which part of the principal.
    pub claims: ClaimMap,
    /// The agent names that this provider may assert, as globs (`*`: any bytes but `/`, `**`: any); never empty.
    pub agents: Vec<Box<str>>,
}

/// Pointers from claims to the principal's parts; the first that is present wins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClaimMap {
    /// `agent`; default `/act/sub`, `/sub`.
    pub agent: Vec<crate::policy::json::Pointer>,
    /// `user`.
    pub user: Vec<crate::policy::json::Pointer>,
    /// `workload`.
    pub workload: Vec<crate::policy::json::Pointer>,
    /// `session`; default `/sid`.
    pub session: Vec<crate::policy::json::Pointer>,
    /// `task`.
    pub task: Vec<crate::policy::json::Pointer>,
    /// `groups`; default `/groups`.
    pub groups: Vec<crate::policy::json::Pointer>,
}

/// Where a provider's keys come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Keys {
    /// A JWK set (RFC 7517) in the config or a watched file, read and checked at load.
    Set(Arc<jsonwebtoken::jwk::JwkSet>),
    /// A JWK set by URL.
    Url {
        /// `https`, or `http` to loopback.
        url: Uri,
        /// Refetched after this.
        refresh: Duration,
        /// Used no longer than this after the last good fetch.
        max_stale: Duration,
        /// The roots to trust.
        tls: FetchTls,
    },
    /// OpenID Connect discovery or RFC 8414 metadata of the issuer: `jwks_uri` is read from it.
    Discovery {
        /// `{issuer}/.well-known/openid-configuration`, or a given URL.
        url: Uri,
        /// Refetched after this.
        refresh: Duration,
        /// Used no longer than this after the last good fetch.
        max_stale: Duration,
        /// The roots to trust.
        tls: FetchTls,
    },
    /// A shared secret for `HS*`, configured explicitly.
    Secret(Secret),
}

/// TLS for fetching keys and for shipping records. Two are equal that trust the same roots.
#[derive(Debug, Clone)]
pub struct FetchTls {
    /// Ready for use.
    pub client: Arc<rustls::ClientConfig>,
    /// What `client` trusts, which it doesn't tell itself.
    pub roots: Arc<rustls::RootCertStore>,
}

impl PartialEq for FetchTls {
    fn eq(&self, other: &FetchTls) -> bool {
        self.roots.roots == other.roots.roots
    }
}

/// The audit sink.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Where records go.
    pub to: AuditTarget,
    /// When a record counts as kept.
    pub durability: Durability,
    /// Rotate the file past this many bytes; `None`: never.
    pub rotate_at: Option<u64>,
    /// Rotate the file once it is so old; `None`: never.
    pub rotate_every: Option<Duration>,
    /// Rotated files kept; `None`: all.
    pub keep: Option<u32>,
    /// Whether rotated files are compressed.
    pub compress: bool,
    /// The signed checkpoints; `None`: none.
    pub checkpoints: Option<Checkpoints>,
    /// Records held in `strict` and `buffered` before requests wait.
    pub queue: usize,
    /// Refusals before identity that get a record of their own, a second; those above are counted events.
    pub refusals_per_second: u32,
    /// The node's name in each record.
    pub node: Arc<str>,
    /// What records tell of judged fields.
    pub fields: Fields,
    /// Where the file's records are sent as well.
    pub ship: Option<Ship>,
}

/// Shipping the file's records over OTLP/HTTP. Two are equal that send the same to the same place.
#[derive(Debug, Clone, PartialEq)]
pub struct Ship {
    /// The receiver's base URL; `/v1/logs` and `/v1/traces` are added to its path.
    pub endpoint: Uri,
    /// Headers that each request carries: credentials, mostly.
    pub headers: Vec<(HeaderName, SecretSource)>,
    /// TLS, where the endpoint is https.
    pub tls: Option<FetchTls>,
    /// Whether each record is sent as a log record.
    pub logs: bool,
    /// Whether each decision of a sampled trace is sent as a span.
    pub traces: bool,
    /// The longest that a record waits for others.
    pub every: Duration,
    /// Records sent at once.
    pub batch: usize,
    /// The longest time for one request, connecting included.
    pub timeout: Duration,
    /// Whether requests are compressed (gzip).
    pub gzip: bool,
}

/// Signed checkpoints over the audit log.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    /// The key, and with it the log's name.
    pub signer: Arc<Signer>,
    /// The file that they are appended to.
    pub to: PathBuf,
    /// How long after one the next is made, where there are records for it.
    pub every: Duration,
}

impl PartialEq for Checkpoints {
    fn eq(&self, other: &Checkpoints) -> bool {
        let key = |of: &Checkpoints| of.signer.verifier().clone();
        (key(self), &self.to, self.every) == (key(other), &other.to, other.every)
    }
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// A file, appended to.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// When a record counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On the disk before the request is forwarded.
    Strict,
    /// In the kernel before the request is forwarded.
    Written,
    /// In a bounded queue that blocks when full.
    Buffered,
}

/// Bounds on what an outsider controls.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of a request's head, its target included.
    pub header_bytes: usize,
    /// Bytes of a judged body, encoded and decoded.
    pub judged_body: usize,
    /// Bytes of judged bodies held at once, over all requests of a worker; a request that finds no room waits, then 503.
    pub judged_bodies: usize,
    /// Bytes of any request body; `None`: no bound.
    pub body: Option<u64>,
    /// JSON nesting of a judged body.
    pub json_depth: usize,
    /// Connections open at once, over all listeners.
    pub connections: usize,
    /// HTTP/2 streams open at once on a connection.
    pub streams: u32,
}

/// Time bounds.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// From the connection, or the last response, to the end of a request's head; TLS handshake likewise.
    pub header: Duration,
    /// The whole of a judged body.
    pub body: Duration,
    /// The longest silence within a streamed request body, or of a reader that takes no more of a response.
    pub idle: Duration,
    /// A connection without requests.
    pub keep_alive: Duration,
    /// How long a shutdown waits for requests under way.
    pub shutdown: Duration,
}

/// Logging.
#[derive(Debug, Clone)]
pub struct Log {
    /// `text` or `json`.
    pub json: bool,
    /// A tracing filter, such as `info` or `portcullis=debug`.
    pub filter: String,
}

/// A header value from the config, a file or the environment; read again on change.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretSource {
    /// The value as it is now, prefix included, marked sensitive.
    pub value: HeaderValue,
}

/// Bytes that no `Debug`, log or error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Arc<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ListenerTls(…)")
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
