//! One reading of a request: what is judged is what is forwarded.

pub mod headers;

use super::fault::Fault;

/// Method, host, path and query in their one form.
#[derive(Clone, Debug)]
pub struct Canonical {
    method: Box<str>,
    host: Box<str>,
    authority: Box<str>,
    target: Box<str>,
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

impl Canonical {
    /// Normalises method, host (with its port, if any), raw path and raw query.
    pub fn new(
        method: &str,
        host: &str,
        path: &str,
        query: Option<&str>,
    ) -> Result<Canonical, Fault> {
        let authority = host.to_ascii_lowercase().into_boxed_str();
        let host = authority.split(':').next().unwrap_or_default().into();
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        Ok(Canonical {
            method: method.into(),
            host,
            authority,
            target: target.into(),
        })
    }

    /// Host and port, as forwarded.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query: the request target as forwarded.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The host, lower-cased, without its port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path as judged and forwarded.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query as it came, and as it is forwarded.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// How many segments the path has; `/` has none.
    pub fn segments(&self) -> usize {
        0
    }

    /// The decoded text of a segment; empty past the end.
    pub fn segment(&self, index: usize) -> &str {
        let _ = index;
        ""
    }

    /// Whether the path ends in `/` (but for `/` itself).
    pub fn trailing_slash(&self) -> bool {
        false
    }

    /// What of the opaque things this path uses.
    pub fn uses(&self) -> Opaque {
        Opaque::default()
    }

    /// Refuses what the route does not let stand.
    pub fn admitted_by(&self, allowed: Opaque) -> Result<(), Fault> {
        let _ = allowed;
        Ok(())
    }

    /// Further readings of the path that an upstream might take; forbids match these too. Empty but where
    /// [`uses`](Self::uses) isn't.
    pub fn readings(&self) -> &[Reading] {
        &[]
    }
}

/// One reading of a path as pieces: where `%2F` may be read as `/`, a segment is of several pieces.
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
