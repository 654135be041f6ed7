//! Why a request is refused: the closed lists of DESIGN 6.

use std::fmt;

/// The reason of a denial: what a caller, a record and a metric see. The list is closed and documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The request can be read in two ways; a [`Fault`] tells where.
    AmbiguousRequest,
    /// No credential came, and nothing here is open to everybody.
    NoCredentials,
    /// A credential came and is not good.
    InvalidToken,
    /// No permit holds.
    NoPolicy,
    /// A forbid applies.
    Forbidden,
    /// A permit would hold under an approval.
    ApprovalRequired,
    /// Only its time window keeps a permit from holding.
    OutsideWindow,
    /// The right was revoked.
    Revoked,
    /// A limit has no room.
    LimitReached,
    /// The body is longer than what may be judged or passed.
    BodyTooLarge,
    /// The body's content type or encoding is none that the policy judges.
    UnsupportedBody,
    /// An obligation of the permit can't be met.
    ObligationFailed,
    /// Something that a decision needs is away: keys, audit, store.
    Unavailable,
    /// The upstream failed before it answered.
    UpstreamFailed,
    /// The upstream didn't answer in time.
    UpstreamTimeout,
}

impl Reason {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Reason; 15] = [
        Reason::AmbiguousRequest,
        Reason::NoCredentials,
        Reason::InvalidToken,
        Reason::NoPolicy,
        Reason::Forbidden,
        Reason::ApprovalRequired,
        Reason::OutsideWindow,
        Reason::Revoked,
        Reason::LimitReached,
        Reason::BodyTooLarge,
        Reason::UnsupportedBody,
        Reason::ObligationFailed,
        Reason::Unavailable,
        Reason::UpstreamFailed,
        Reason::UpstreamTimeout,
    ];

    /// The name on the wire: snake case.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::AmbiguousRequest => "ambiguous_request",
            Reason::NoCredentials => "no_credentials",
            Reason::InvalidToken => "invalid_token",
            Reason::NoPolicy => "no_policy",
            Reason::Forbidden => "forbidden",
            Reason::ApprovalRequired => "approval_required",
            Reason::OutsideWindow => "outside_window",
            Reason::Revoked => "revoked",
            Reason::LimitReached => "limit_reached",
            Reason::BodyTooLarge => "body_too_large",
            Reason::UnsupportedBody => "unsupported_body",
            Reason::ObligationFailed => "obligation_failed",
            Reason::Unavailable => "unavailable",
            Reason::UpstreamFailed => "upstream_failed",
            Reason::UpstreamTimeout => "upstream_timeout",
        }
    }

    /// The reason of this name.
    pub fn from_code(code: &str) -> Option<Reason> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

// One line a fault: its doc, name, code and reason stand together.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $code:literal => $reason:ident,)*) => {
        /// What makes a request ambiguous or a body unreadable: the `detail` code of a denial.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every fault, in the order of their declaration.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];

            /// The detail code on the wire.
            pub const fn code(self) -> &'static str {
                match self { $(Fault::$name => $code,)* }
            }

            /// The reason that a denial for this fault gives.
            pub const fn reason(self) -> Reason {
                match self { $(Fault::$name => Reason::$reason,)* }
            }
        }
    };
}

faults! {
    /// The request target is neither an origin-form path nor an absolute URI of this host (RFC 9112, section 3.2), or
    /// it has a fragment.
    TargetForm = "target_form" => AmbiguousRequest,
    /// A byte outside RFC 3986's path characters.
    PathCharacter = "path_character" => AmbiguousRequest,
    /// `%` without two hex digits.
    PathEscape = "path_escape" => AmbiguousRequest,
    /// `.` or `..` as a segment, plain or encoded.
    PathDotSegment = "path_dot_segment" => AmbiguousRequest,
    /// `//`.
    PathEmptySegment = "path_empty_segment" => AmbiguousRequest,
    /// `\`, plain or encoded.
    PathBackslash = "path_backslash" => AmbiguousRequest,
    /// A control byte, plain or encoded.
    PathControl = "path_control" => AmbiguousRequest,
    /// Not UTF-8 once decoded.
    PathUtf8 = "path_utf8" => AmbiguousRequest,
    /// `;`, plain or encoded.
    PathSemicolon = "path_semicolon" => AmbiguousRequest,
    /// `%2F`.
    PathEncodedSlash = "path_encoded_slash" => AmbiguousRequest,
    /// `%25` before two hex digits.
    PathDoubleEncoding = "path_double_encoding" => AmbiguousRequest,
    /// The path has more segments, or more readings, than are looked at.
    PathTooComplex = "path_too_complex" => AmbiguousRequest,
    /// A byte that RFC 3986 doesn't allow in a query.
    QueryCharacter = "query_character" => AmbiguousRequest,
    /// A judged query name stands there twice.
    QueryDuplicate = "query_duplicate" => AmbiguousRequest,
    /// A judged query name stands beside a variant of itself (case, `[…]`, `.`/`_`).
    QueryVariant = "query_variant" => AmbiguousRequest,
    /// `;` in a judged query.
    QuerySemicolon = "query_semicolon" => AmbiguousRequest,
    /// More names in a judged query than some upstreams read.
    QueryTooComplex = "query_too_complex" => AmbiguousRequest,
    /// Bad percent-encoding or invalid UTF-8 in a judged query.
    QueryEncoding = "query_encoding" => AmbiguousRequest,
    /// No host, two hosts, or a host that isn't one.
    HostInvalid = "host_invalid" => AmbiguousRequest,
    /// `:authority` and Host differ.
    HostMismatch = "host_mismatch" => AmbiguousRequest,
    /// A method that isn't `[A-Z-]+`, or CONNECT or TRACE.
    MethodRefused = "method_refused" => AmbiguousRequest,
    /// A header, a query parameter or a judged body's field that overrides the method.
    MethodOverride = "method_override" => AmbiguousRequest,
    /// A header that may stand once stands twice.
    HeaderDuplicate = "header_duplicate" => AmbiguousRequest,
    /// A header name with `_`.
    HeaderName = "header_name" => AmbiguousRequest,
    /// A judged header that isn't UTF-8.
    HeaderEncoding = "header_encoding" => AmbiguousRequest,
    /// A header value that begins or ends with a space or a tab, which the next reader would take off.
    HeaderValue = "header_value" => AmbiguousRequest,
    /// A Connection header that nominates an end-to-end header.
    ConnectionNominates = "connection_nominates" => AmbiguousRequest,
    /// Not HTTP/1.1 or HTTP/2, a head that isn't RFC 9112's to the byte, a transfer coding other than `chunked`, a
    /// length beside it, twice or not canonical, a header of an HTTP/1.1 connection on HTTP/2, or an expectation
    /// other than `100-continue`.
    Framing = "framing" => AmbiguousRequest,
    /// An upgrade that is no WebSocket handshake (RFC 6455), or one that arrives broken.
    Upgrade = "upgrade" => AmbiguousRequest,
    /// Not JSON (RFC 8259).
    JsonSyntax = "json_syntax" => AmbiguousRequest,
    /// A byte order mark.
    JsonBom = "json_bom" => AmbiguousRequest,
    /// Not UTF-8.
    JsonUtf8 = "json_utf8" => AmbiguousRequest,
    /// A key twice in an object, in or above a judged value.
    JsonDuplicateKey = "json_duplicate_key" => AmbiguousRequest,
    /// A key that equals a judged key but for case, or that holds a NUL.
    JsonKeyCase = "json_key_case" => AmbiguousRequest,
    /// Half of a surrogate pair.
    JsonSurrogate = "json_surrogate" => AmbiguousRequest,
    /// Something after the document.
    JsonTrailing = "json_trailing" => AmbiguousRequest,
    /// Nested more deeply than the limit.
    JsonDepth = "json_depth" => AmbiguousRequest,
    /// Not `application/x-www-form-urlencoded`, not UTF-8 once decoded, or brackets that don't close.
    FormSyntax = "form_syntax" => AmbiguousRequest,
    /// More names in a form than some upstreams read.
    FormTooComplex = "form_too_complex" => AmbiguousRequest,
    /// A judged form field twice, or beside a variant of itself.
    FormDuplicate = "form_duplicate" => AmbiguousRequest,
    /// A body that stopped before its end.
    BodyIncomplete = "body_incomplete" => AmbiguousRequest,
    /// A body that expands to something else than its encoding says.
    BodyEncoding = "body_encoding" => AmbiguousRequest,
    /// A body over the limit.
    BodyTooLarge = "body_too_large" => BodyTooLarge,
    /// A content type that the policy doesn't judge.
    ContentType = "content_type" => UnsupportedBody,
    /// A content encoding that isn't decoded here.
    ContentEncoding = "content_encoding" => UnsupportedBody,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
