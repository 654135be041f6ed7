//! One reading of a request: what is judged is what is forwarded (DESIGN 4).
//!
//! A [`Canonical`] is made once, before anything else looks at the request, and both the judgement and the
//! forwarded request line come from it. Where two parsers could read one request differently there is a
//! [`Fault`], never a guess: nothing is merged, resolved or repaired. Two rewrites are made, because RFC 3986
//! (section 6.2.2) calls both forms the same: the host is lower-cased, and in the path unreserved triplets
//! are decoded while the others' hex digits are upper-cased.
//!
//! What real APIs need although parsers differ on it (`%2F`, `;`, `%25HH`, empty segments) is kept opaque:
//! [`uses`](Canonical::uses) names it, a route must let it stand, and [`readings`](Canonical::readings) lists
//! how else an upstream might take the path, so that forbids can match those too.
//!
//! Deliberately absent: resolving dot segments, merging slashes, Unicode normalisation, IDNA, what file systems
//! make of names (trailing dots, short names, streams), and any second chance for a path that failed.

pub mod headers;
pub mod query;

mod host;
mod path;
mod readings;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use http::{HeaderMap, Method, Uri, Version};

use self::host::Authority;
pub(crate) use self::host::{
    check as check_host, check_end as check_host_end, check_part as check_host_part,
};
use self::path::Path;
use super::fault::Fault;

pub use self::query::Query;

/// Method, host, path and query in their one form.
#[derive(Clone)]
pub struct Canonical {
    method: Method,
    /// `host[:port]/path[?query]`, in one piece of memory.
    text: String,
    /// Where in `text` the host ends.
    host_end: usize,
    /// Where in `text` the path begins.
    path_start: usize,
    /// Where in `text` the path ends; what follows is `?` and the query, or nothing.
    path_end: usize,
    port: Option<u16>,
    path: Path,
}

/// What a route lets stand in a path although parsers differ on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opaque {
    /// `%2F` inside a segment.
    pub encoded_slash: bool,
    /// `;` plain or encoded.
    pub semicolon: bool,
    /// `%25` before two hex digits.
    pub encoded_percent: bool,
    /// Empty segments.
    pub empty_segments: bool,
}

/// One reading of a path as pieces: where `%2F` may be read as `/`, a segment is of several pieces. An empty
/// last piece stands for a trailing slash that only this reading sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The pieces, decoded.
    pub pieces: Vec<Piece>,
}

/// A piece of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its text, decoded.
    pub text: Box<str>,
    /// Whether it begins a segment (else `%2F` stood before it).
    pub begins: bool,
}

impl Canonical {
    /// Normalises method, host (with its port, if any), raw path and raw query.
    ///
    /// The path must begin with `/`; the query comes without its `?`.
    pub fn new(
        method: &str,
        host: &str,
        path: &str,
        query: Option<&str>,
    ) -> Result<Canonical, Fault> {
        check_method(method)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Fault::MethodRefused)?;
        Self::build(method, &host::parse(host)?, path, query)
    }

    /// Normalises a request's head.
    ///
    /// The host is that of the target (`:authority`, absolute-form) or of the Host header; where both are
    /// there they must agree. Only HTTP/1.1 and HTTP/2 are read: HTTP/1.0 has neither Host nor chunks to rely
    /// on, so it is [`Fault::Framing`]. A fragment never gets here, since [`http::Uri`] drops it unseen.
    pub fn of(
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
    ) -> Result<Canonical, Fault> {
        check_method(method.as_str())?;
        let authority = host::of(uri, version, headers)?;
        let target = uri.path_and_query().ok_or(Fault::TargetForm)?;
        // `Uri` reads the empty path of `?query` as `/`, and a lone `*` as a path
        if !target.as_str().starts_with('/') {
            return Err(Fault::TargetForm);
        }
        Self::build(method.clone(), &authority, target.path(), target.query())
    }

    fn build(
        method: Method,
        authority: &Authority<'_>,
        raw_path: &str,
        query: Option<&str>,
    ) -> Result<Canonical, Fault> {
        let query_length = query.map_or(0, |query| query.len() + 1);
        let mut text =
            String::with_capacity(authority.host.len() + 6 + raw_path.len() + query_length);
        authority.write(&mut text);
        let path_start = text.len();
        let path = path::read(raw_path, &mut text)?;
        let path_end = text.len();
        if let Some(query) = query {
            query::check_characters(query)?;
            query::check_method_override(query)?;
            text.push('?');
            text.push_str(query);
        }
        Ok(Canonical {
            method,
            text,
            host_end: authority.host.len(),
            path_start,
            path_end,
            port: authority.port,
            path,
        })
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// The host, lower-cased, without its port; an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        self.text.get(..self.host_end).unwrap_or_default()
    }

    /// The port, where the client wrote one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host and port, as forwarded.
    pub fn authority(&self) -> &str {
        self.text.get(..self.path_start).unwrap_or_default()
    }

    /// The path as judged and forwarded.
    pub fn path(&self) -> &str {
        self.text
            .get(self.path_start..self.path_end)
            .unwrap_or_default()
    }

    /// The query as it came, and as it is forwarded.
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path_end..)?.strip_prefix('?')
    }

    /// Path and query: the request target as forwarded.
    pub fn target(&self) -> &str {
        self.text.get(self.path_start..).unwrap_or_default()
    }

    /// How many segments the path has; `/` has none.
    ///
    /// A path is `/`, its segments joined by `/`, and a `/` more where it has a
    /// [`trailing_slash`](Self::trailing_slash). So `/a/` is one segment, and where empty segments may stand,
    /// `//` is one empty segment with a trailing slash, `//a` is an empty segment and `a`, and `/a//` is `a`
    /// and an empty segment with a trailing slash.
    pub fn segments(&self) -> usize {
        self.path.segments()
    }

    /// The decoded text of a segment; empty past the end.
    pub fn segment(&self, index: usize) -> &str {
        self.path.segment(index, self.path())
    }

    /// The decoded text of several segments, joined by `/`; `None` where one of them holds a slash itself
    /// (`%2F`), so that the joined text could be read in two ways.
    pub fn joined(&self, range: Range<usize>) -> Option<Cow<'_, str>> {
        self.path.joined(range, self.path())
    }

    /// Whether the path ends in `/` (but for `/` itself).
    pub fn trailing_slash(&self) -> bool {
        self.path.trailing_slash
    }

    /// What of the opaque things this path uses.
    pub fn uses(&self) -> Opaque {
        self.path.uses
    }

    /// Refuses what the route does not let stand; the fault is that of the first in the order of [`Opaque`].
    pub fn admitted_by(&self, allowed: Opaque) -> Result<(), Fault> {
        let Opaque {
            encoded_slash,
            semicolon,
            encoded_percent,
            empty_segments,
        } = self.path.uses;
        if encoded_slash && !allowed.encoded_slash {
            return Err(Fault::PathEncodedSlash);
        }
        if semicolon && !allowed.semicolon {
            return Err(Fault::PathSemicolon);
        }
        if encoded_percent && !allowed.encoded_percent {
            return Err(Fault::PathDoubleEncoding);
        }
        if empty_segments && !allowed.empty_segments {
            return Err(Fault::PathEmptySegment);
        }
        Ok(())
    }

    /// Further readings of the path that an upstream might take; forbids match these too. Empty but where
    /// [`uses`](Self::uses) isn't. None of them has a dot segment, a backslash or a control character.
    pub fn readings(&self) -> &[Reading] {
        &self.path.readings
    }
}

/// Leaves the query out: clients put credentials there.
impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canonical")
            .field("method", &self.method)
            .field("authority", &self.authority())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

fn check_method(method: &str) -> Result<(), Fault> {
    let known = matches!(
        method,
        "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS"
    );
    if known {
        return Ok(());
    }
    if !names_a_method(method) || matches!(method, "CONNECT" | "TRACE") {
        return Err(Fault::MethodRefused);
    }
    Ok(())
}

/// Whether a text looks like a method. Where framing went wrong, what stands in its place may be anything.
pub fn names_a_method(text: &str) -> bool {
    (1..=LONGEST_METHOD).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'-'))
}

/// Bytes of a method. The longest registered one (`UPDATEREDIRECTREF`) has 17.
const LONGEST_METHOD: usize = 32;
