//! One reading of a request: what is judged is what is forwarded.

use super::fault::Fault;

/// Method, host, path and query in their one form.
#[derive(Clone, Debug)]
pub struct Canonical {
    _todo: (),
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
    /// Normalises.
    pub fn new(
        method: &str,
        host: &str,
        path: &str,
        query: Option<&str>,
    ) -> Result<Canonical, Fault> {
        let _ = (method, host, path, query);
        Err(Fault::TargetForm)
    }
}
