//! The shape of the configuration file: every section with its keys, each key's kind, range, default and
//! meaning.
//!
//! This one table is what files are read by (`read.rs`), where defaults come from, and what the JSON Schema
//! for editors is made of, so these can't disagree. What a single value can't tell (references, files that
//! must fit each other) is checked by the readers of the sections.

/// A mapping with a closed list of keys.
#[derive(Debug)]
pub struct Section {
    /// The name under which the schema defines it.
    pub name: &'static str,
    /// One sentence for whoever edits the file.
    pub about: &'static str,
    /// Its keys, in the order in which they are best written.
    pub keys: &'static [Key],
    /// Keys of which exactly one is written; empty where there is no such rule.
    pub one_of: &'static [&'static str],
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What stands under it.
    pub kind: Kind,
    /// YAML that is read in its place where it is absent.
    pub default: Option<&'static str>,
    /// Whether its absence is a problem.
    pub required: bool,
    /// One sentence for whoever edits the file.
    pub about: &'static str,
}

/// A kind of value.
#[derive(Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A file's path, relative to the configuration file.
    File,
    /// `true` or `false`.
    Flag,
    /// A duration from one to another, or the word.
    Duration(&'static str, &'static str, Option<&'static str>),
    /// A number of bytes from one to another, or the word.
    Size(&'static str, &'static str, Option<&'static str>),
    /// A whole number from one to another, or the word.
    Count(u64, u64, Option<&'static str>),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list.
    List(&'static Kind),
    /// A list, or its one item by itself.
    OneOrMany(&'static Kind),
    /// A mapping from names to values.
    Map(&'static Kind),
    /// A section.
    Section(&'static Section),
    /// One kind or the other.
    Either(&'static Kind, &'static Kind),
    /// A JWK set (RFC 7517), written as YAML or JSON.
    JwkSet,
}

const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key {
        name,
        kind,
        default: None,
        required: false,
        about,
    }
}

const fn must(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key {
        name,
        kind,
        default: None,
        required: true,
        about,
    }
}

const fn or(default: &'static str, name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key {
        name,
        kind,
        default: Some(default),
        required: false,
        about,
    }
}

/// The whole file.
#[rustfmt::skip]
pub static CONFIG: Section = Section { name: "config", about: "The configuration of Portcullis.", keys: &[
    must("version", Kind::Count(1, 1, None), "The version of this format: 1."),
    must("listeners", Kind::List(&Kind::Section(&LISTENER)), "Where requests come in. Each serves HTTP/1.1 and HTTP/2."),
    must("routes", Kind::List(&Kind::Section(&ROUTE)), "Which requests go where: the longest path prefix of the most exact host wins."),
    must("upstreams", Kind::Map(&Kind::Section(&UPSTREAM)), "What routes lead to, by name."),
    or("{}", "identity", Kind::Section(&IDENTITY), "Who may be who."),
    must("policies", Kind::OneOrMany(&Kind::File), "Policy files and folders; of a folder, each *.yaml and *.yml below but cases.yaml and configurations."),
    or("{}", "audit", Kind::Section(&AUDIT), "The record of decisions."),
    or("{}", "admin", Kind::Either(&Kind::Word(&["off"]), &Kind::Section(&ADMIN)), "The listener for health, metrics and explanations, or `off`."),
    or("{}", "limits", Kind::Section(&LIMITS), "Bounds on what an outsider controls."),
    or("{}", "timeouts", Kind::Section(&TIMEOUTS), "Time bounds."),
    or("auto", "workers", Kind::Count(1, 1024, Some("auto")), "Threads that serve; `auto`: one to a core."),
    or("{}", "log", Kind::Section(&LOG), "Logging."),
], one_of: &[]};

/// An item of `listeners`.
#[rustfmt::skip]
pub static LISTENER: Section = Section { name: "listener", about: "A listening socket.", keys: &[
    key("name", Kind::Text, "Its name in logs and metrics; absent: its address."),
    must("address", Kind::Text, "IP address and port; port 0 picks a free one."),
    key("tls", Kind::Section(&LISTENER_TLS), "TLS 1.2 and 1.3; absent: plain TCP."),
], one_of: &[]};

/// `tls` of a listener.
#[rustfmt::skip]
pub static LISTENER_TLS: Section = Section { name: "listener_tls", about: "TLS of a listener.", keys: &[
    must("certificate", Kind::File, "The certificate chain, PEM, the server's own first."),
    must("key", Kind::File, "The private key, PEM, not encrypted."),
    key("clients", Kind::Section(&CLIENTS), "Client certificates; absent: none are asked for."),
], one_of: &[]};

/// `clients` of a listener's TLS.
#[rustfmt::skip]
pub static CLIENTS: Section = Section { name: "clients", about: "Which client certificates are taken.", keys: &[
    must("ca", Kind::File, "The certificates of the authorities that sign clients, PEM."),
    or("required", "mode", Kind::Word(&["required", "optional"]), "Whether a connection without a client certificate is refused."),
    or("[]", "crl", Kind::OneOrMany(&Kind::File), "Revocation lists, PEM or DER, one for each authority of a chain; an expired one refuses all that it covers."),
], one_of: &[]};

/// An item of `routes`.
#[rustfmt::skip]
pub static ROUTE: Section = Section { name: "route", about: "A route: host and path prefix to upstream.", keys: &[
    key("name", Kind::Text, "Its name in records and metrics; absent: host and path."),
    key("host", Kind::Text, "The exact host; absent: any."),
    or("/", "path", Kind::Text, "The path prefix, matched on whole segments."),
    must("upstream", Kind::Text, "The upstream's name."),
    or("keep", "upstream_host", Kind::Text, "The host that the upstream sees: `keep` for the client's, or a given one."),
    or("{}", "set_headers", Kind::Map(&Kind::Section(&HEADER_VALUE)), "Headers that the proxy sets, whatever the client sent: credentials that the agent never holds."),
    or("[]", "forward_headers", Kind::Either(&Kind::Word(&["any"]), &Kind::List(&Kind::Text)), "Client headers that are forwarded besides the inert set and those that the permit names, or `any`."),
    or("false", "forward_credential", Kind::Flag, "Whether the verified credential is passed on."),
    or("[]", "allow", Kind::OneOrMany(&Kind::Word(&["encoded_slash", "semicolon", "encoded_percent", "empty_segments"])), "What may stand in paths although parsers differ on it."),
    or("60s", "request_timeout", Kind::Duration("1ms", "24h", Some("none")), "The longest request, from its head to the end of the response; `none` for streams."),
], one_of: &[]};

/// A value of `set_headers`.
#[rustfmt::skip]
pub static HEADER_VALUE: Section = Section { name: "header_value", about: "A header's value: one of `file`, `env` and `value`.", keys: &[
    key("file", Kind::File, "The file that holds the value; one line break at its end is dropped."),
    key("env", Kind::Text, "The environment variable that holds the value."),
    key("value", Kind::Text, "The value itself, where it is no secret."),
    or("''", "prefix", Kind::Text, "Text before it, such as `Bearer ` with its blank."),
], one_of: &["file", "env", "value"]};

/// A value of `upstreams`.
#[rustfmt::skip]
pub static UPSTREAM: Section = Section { name: "upstream", about: "Servers behind one name.", keys: &[
    must("addresses", Kind::OneOrMany(&Kind::Text), "Scheme, host and port of each server, all of one scheme: `http://127.0.0.1:9000`."),
    or("least_pending", "balance", Kind::Word(&["least_pending", "round_robin"]), "How a server is chosen among several."),
    or("http1", "protocol", Kind::Word(&["http1", "http2"]), "How HTTP is spoken to it; http2 is by ALPN on https and by prior knowledge on http."),
    or("{}", "tls", Kind::Section(&UPSTREAM_TLS), "TLS, where the addresses are https."),
    or("{}", "ejection", Kind::Section(&EJECTION), "When a failing server is left alone for a while."),
    or("64", "keep_idle", Kind::Count(0, 65_536, None), "Idle connections kept for reuse, for each worker and address."),
    or("2s", "connect_timeout", Kind::Duration("1ms", "10m", None), "The longest time to connect, TLS included."),
    or("30s", "response_timeout", Kind::Duration("1ms", "24h", None), "The longest time from the end of the request to the head of the response."),
    or("5m", "idle_timeout", Kind::Duration("1ms", "24h", Some("none")), "The longest silence of a response body; `none` for server-sent events that may pause."),
], one_of: &[]};

/// `tls` of an upstream.
#[rustfmt::skip]
pub static UPSTREAM_TLS: Section = Section { name: "upstream_tls", about: "TLS towards an upstream.", keys: &[
    or("system", "ca", Kind::Either(&Kind::Word(&["system"]), &Kind::File), "The roots to trust: `system`, or a PEM file."),
    key("certificate", Kind::File, "The client certificate chain, PEM; with `key`."),
    key("key", Kind::File, "The client certificate's private key, PEM."),
    key("server_name", Kind::Text, "The name to verify; absent: the address's host."),
], one_of: &[]};

/// `ejection` of an upstream.
#[rustfmt::skip]
pub static EJECTION: Section = Section { name: "ejection", about: "Passive ejection of a failing server.", keys: &[
    or("5", "failures", Kind::Count(1, 1_000_000, None), "Failures in a row: connect errors, resets before a response head, timeouts."),
    or("10s", "rest", Kind::Duration("1ms", "1h", None), "For how long it is left alone."),
], one_of: &[]};

/// `identity`.
#[rustfmt::skip]
pub static IDENTITY: Section = Section { name: "identity", about: "Who may be who.", keys: &[
    or("bound", "certificate_and_token", Kind::Word(&["bound", "coexist"]), "What a client certificate and a token together must be: bound (RFC 8705), or free to be of different parties."),
    or("10000", "token_cache", Kind::Count(0, 10_000_000, None), "Verified tokens kept, for each worker."),
    or("{}", "providers", Kind::Map(&Kind::Section(&PROVIDER)), "The token issuers, by name: the principal's `provider`."),
], one_of: &[]};

/// A value of `providers`.
#[rustfmt::skip]
pub static PROVIDER: Section = Section { name: "provider", about: "A token issuer (RFC 7519, RFC 8725, RFC 9068).", keys: &[
    must("issuer", Kind::Text, "`iss`, compared byte for byte."),
    must("audience", Kind::OneOrMany(&Kind::Text), "`aud` must hold one of these."),
    must("algorithms", Kind::OneOrMany(&Kind::Word(ALGORITHMS)), "The accepted algorithms. HS* only with `keys: { secret: … }`, and then only HS*."),
    or("[at+jwt, jwt]", "types", Kind::Either(&Kind::Word(&["any"]), &Kind::OneOrMany(&Kind::Text)), "The accepted `typ` header values; `any`: it is not looked at."),
    must("keys", Kind::Section(&KEYS), "Where the keys come from: one of `file`, `set`, `url`, `discovery` and `secret`."),
    or("30s", "leeway", Kind::Duration("0s", "60s", None), "Allowed clock difference, at most 60s."),
    or("1h", "max_lifetime", Kind::Duration("1s", "8760h", None), "The longest `exp - iat`."),
    or("{}", "claims", Kind::Section(&CLAIMS), "JSON Pointers from claims to the principal's parts; the first that is present wins."),
    must("agents", Kind::OneOrMany(&Kind::Text), "The agent names that this provider may assert, as globs: `*` is any bytes but `/`, `**` any. No two providers' may overlap."),
], one_of: &[]};

/// `algorithms` of a provider.
pub const ALGORITHMS: &[&str] = &[
    "ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "HS256",
    "HS384", "HS512",
];

/// `keys` of a provider.
#[rustfmt::skip]
pub static KEYS: Section = Section { name: "keys", about: "A provider's keys: one of `file`, `set`, `url`, `discovery` and `secret`.", keys: &[
    key("file", Kind::File, "A JWK set (RFC 7517) in a file, which is watched."),
    key("set", Kind::JwkSet, "A JWK set written here."),
    key("url", Kind::Text, "A JWK set by URL: https, or http to loopback."),
    key("discovery", Kind::Either(&Kind::Flag, &Kind::Text), "The issuer's metadata names the URL: `true` for `{issuer}/.well-known/openid-configuration`, or its URL."),
    key("secret", Kind::Section(&SECRET), "A secret shared with the issuer, for HS*."),
    or("10m", "refresh", Kind::Duration("10s", "24h", None), "With `url` and `discovery`: fetched again after this."),
    or("1h", "max_stale", Kind::Duration("10s", "168h", None), "With `url` and `discovery`: used no longer than this after the last good fetch."),
    or("system", "ca", Kind::Either(&Kind::Word(&["system"]), &Kind::File), "With `url` and `discovery`: the roots to trust, `system` or a PEM file."),
], one_of: &["file", "set", "url", "discovery", "secret"]};

/// `secret` of a provider's keys.
#[rustfmt::skip]
pub static SECRET: Section = Section { name: "secret", about: "A secret: `file` or `env`.", keys: &[
    key("file", Kind::File, "The file that holds it; one line break at its end is dropped."),
    key("env", Kind::Text, "The environment variable that holds it."),
], one_of: &["file", "env"]};

/// `claims` of a provider.
#[rustfmt::skip]
pub static CLAIMS: Section = Section { name: "claims", about: "Which claims become which part of the principal.", keys: &[
    or("[/act/sub, /sub]", "agent", Kind::OneOrMany(&Kind::Text), "The agent that acts."),
    or("[]", "user", Kind::OneOrMany(&Kind::Text), "The person on whose behalf it acts."),
    or("[]", "workload", Kind::OneOrMany(&Kind::Text), "The workload that it runs in."),
    or("[/sid]", "session", Kind::OneOrMany(&Kind::Text), "The session."),
    or("[]", "task", Kind::OneOrMany(&Kind::Text), "The task."),
    or("[/groups]", "groups", Kind::OneOrMany(&Kind::Text), "The groups."),
], one_of: &[]};

/// `audit`.
#[rustfmt::skip]
pub static AUDIT: Section = Section { name: "audit", about: "The record of decisions.", keys: &[
    or("audit.jsonl", "to", Kind::File, "A file that is appended to, or `stdout`."),
    or("written", "durability", Kind::Word(&["strict", "written", "buffered"]), "When a record counts as kept: on the disk or in the kernel before the request is forwarded, or in a bounded queue."),
    or("256MiB", "rotate_at", Kind::Size("1MiB", "1024GiB", Some("never")), "Rotate the file past this size, or `never`."),
    or("never", "rotate_every", Kind::Duration("1m", "8760h", Some("never")), "Rotate the file once its first record is so old, or `never`."),
    or("8", "keep", Kind::Count(1, 10_000, Some("all")), "Rotated files kept, or `all`; each is named by the number of its first record."),
    or("false", "compress", Kind::Flag, "Whether rotated files are compressed (gzip)."),
    or("off", "checkpoints", Kind::Either(&Kind::Word(&["off"]), &Kind::Section(&CHECKPOINTS)), "Signed checkpoints over the log, or `off`."),
    or("8192", "queue", Kind::Count(1, 1_048_576, None), "Records held in `strict` and `buffered` before requests wait."),
    or("100", "refusals_per_second", Kind::Count(0, 1_000_000, None), "Refusals before identity that get a record of their own; those above are counted."),
    or("auto", "node", Kind::Text, "This node's name in each record; `auto`: the host's name."),
    or("[]", "fields", Kind::List(&Kind::Section(&AUDIT_FIELDS)), "What records tell of the fields that policies judged in a body; empty: no values."),
    key("fields_key", Kind::Section(&SECRET), "The key of `as: hmac`: at least 32 bytes, by `file` or `env`."),
    or("off", "ship", Kind::Either(&Kind::Word(&["off"]), &Kind::Section(&SHIP)), "Where the file's records are sent as well, over OTLP/HTTP, or `off`."),
], one_of: &[]};

/// `ship` of the audit record.
#[rustfmt::skip]
pub static SHIP: Section = Section { name: "ship", about: "Shipping the audit file's records over OTLP/HTTP; the file stays the truth.", keys: &[
    must("endpoint", Kind::Text, "The receiver's base URL, such as `https://collector:4318`; `/v1/logs` and `/v1/traces` are added."),
    or("{}", "headers", Kind::Map(&Kind::Section(&HEADER_VALUE)), "Headers of each request, such as a credential."),
    or("system", "ca", Kind::Either(&Kind::Word(&["system"]), &Kind::File), "With https: the roots to trust, `system` or a PEM file."),
    or("true", "logs", Kind::Flag, "Whether each record is sent as a log record."),
    or("true", "traces", Kind::Flag, "Whether each decision of a sampled trace is sent as a span; traces that begin here are sampled then."),
    or("1s", "every", Kind::Duration("10ms", "1h", None), "The longest that a record waits for others."),
    or("512", "batch", Kind::Count(1, 8_192, None), "Records sent at once."),
    or("10s", "timeout", Kind::Duration("100ms", "5m", None), "The longest time for one request, connecting included."),
    or("gzip", "compression", Kind::Word(&["gzip", "none"]), "How requests are compressed."),
], one_of: &[]};

/// An item of `fields`.
#[rustfmt::skip]
pub static AUDIT_FIELDS: Section = Section { name: "audit_fields", about: "Fields of bodies, and how records tell them where these policies judged them.", keys: &[
    must("fields", Kind::OneOrMany(&Kind::Text), "Fields by name or glob: `body/branch`, `body/arguments/**`."),
    key("policies", Kind::OneOrMany(&Kind::Text), "Ids of policies, or globs; one of them must have judged the field. Absent: any."),
    must("as", Kind::Word(&["shown", "hmac"]), "`shown`: as it came, cut at 128 bytes; `hmac`: HMAC-SHA-256 of the whole value under `fields_key`. Where several rules fit, hmac counts."),
], one_of: &[]};

/// `checkpoints` of the audit log.
#[rustfmt::skip]
pub static CHECKPOINTS: Section = Section { name: "checkpoints", about: "Signed checkpoints over the audit log.", keys: &[
    must("key", Kind::File, "The signing key, as `portcullis audit init` makes it; readable by its owner alone."),
    or("audit.checkpoints", "to", Kind::File, "The file that they are appended to; a copy of it elsewhere is what holds the log to account."),
    or("10s", "every", Kind::Duration("100ms", "24h", None), "How long after one the next is made, where there are records for it."),
], one_of: &[]};

/// `admin`.
#[rustfmt::skip]
pub static ADMIN: Section = Section { name: "admin", about: "The admin listener.", keys: &[
    or("127.0.0.1:9901", "address", Kind::Text, "IP address and port; keep it on loopback."),
], one_of: &[]};

/// `limits`.
#[rustfmt::skip]
pub static LIMITS: Section = Section { name: "limits", about: "Bounds on what an outsider controls.", keys: &[
    or("100", "headers", Kind::Count(10, 1_000, None), "Header fields of a request."),
    or("32KiB", "header_bytes", Kind::Size("8KiB", "1MiB", None), "Bytes of a request's head, its target included."),
    or("1MiB", "judged_body", Kind::Size("1KiB", "256MiB", None), "Bytes of a body that a policy judges, encoded and decoded."),
    or("64MiB", "judged_bodies", Kind::Size("1KiB", "64GiB", None), "Bytes of judged bodies held at once, for each worker; at least `judged_body`."),
    or("none", "body", Kind::Size("0", "1024GiB", Some("none")), "Bytes of any request body, or `none`: what no policy judges is streamed."),
    or("64", "json_depth", Kind::Count(1, 256, None), "Nesting of a judged JSON body."),
    or("16384", "connections", Kind::Count(1, 1_000_000, None), "Connections open at once, over all listeners."),
    or("128", "streams", Kind::Count(1, 10_000, None), "HTTP/2 streams open at once on a connection."),
], one_of: &[]};

/// `timeouts`.
#[rustfmt::skip]
pub static TIMEOUTS: Section = Section { name: "timeouts", about: "Time bounds.", keys: &[
    or("10s", "header", Kind::Duration("100ms", "10m", None), "To the end of a request's head; for a TLS handshake likewise."),
    or("30s", "body", Kind::Duration("100ms", "1h", None), "The whole of a judged body."),
    or("60s", "idle", Kind::Duration("100ms", "24h", None), "The longest silence within a streamed request body, or of a reader that takes no more of a response."),
    or("75s", "keep_alive", Kind::Duration("100ms", "24h", None), "A connection without requests."),
    or("30s", "shutdown", Kind::Duration("0s", "1h", None), "How long a shutdown waits for requests under way."),
], one_of: &[]};

/// `log`.
#[rustfmt::skip]
pub static LOG: Section = Section { name: "log", about: "Logging, to standard error.", keys: &[
    or("text", "format", Kind::Word(&["text", "json"]), "How a line looks."),
    or("info", "filter", Kind::Text, "A tracing filter, such as `info` or `portcullis=debug,info`."),
], one_of: &[]};

/// Every section.
pub static SECTIONS: &[&Section] = &[
    &CONFIG,
    &LISTENER,
    &LISTENER_TLS,
    &CLIENTS,
    &ROUTE,
    &HEADER_VALUE,
    &UPSTREAM,
    &UPSTREAM_TLS,
    &EJECTION,
    &IDENTITY,
    &PROVIDER,
    &KEYS,
    &SECRET,
    &CLAIMS,
    &AUDIT,
    &CHECKPOINTS,
    &AUDIT_FIELDS,
    &SHIP,
    &ADMIN,
    &LIMITS,
    &TIMEOUTS,
    &LOG,
];
