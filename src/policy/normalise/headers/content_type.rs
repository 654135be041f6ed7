//! Content-Type, as far as a judged body needs it (RFC 9110, section 8.3).

use std::borrow::Cow;

use http::{HeaderMap, header};

use crate::policy::fault::Fault;

/// A content type. A malformed one has an empty essence and fits nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType<'h> {
    /// `type/subtype`, lower-cased.
    pub essence: Cow<'h, str>,
    /// The `charset` parameter.
    pub charset: Charset,
    /// Whether there are parameters other than `charset`.
    pub other_parameters: bool,
}

/// The `charset` parameter of a content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// There is none.
    Absent,
    /// UTF-8.
    Utf8,
    /// Something else.
    Other,
}

impl ContentType<'_> {
    /// Whether this is the wanted essence, in UTF-8, without further parameters.
    pub fn fits(&self, essence: &str) -> bool {
        self.essence == essence
            && !essence.is_empty()
            && self.charset != Charset::Other
            && !self.other_parameters
    }
}

/// Reads Content-Type; two of them are [`Fault::HeaderDuplicate`], and a malformed one fits nothing.
pub fn content_type(headers: &HeaderMap) -> Result<Option<ContentType<'_>>, Fault> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Fault::HeaderDuplicate);
    }
    Ok(first.map(|value| {
        let parsed = value.to_str().ok().and_then(parse);
        parsed.unwrap_or(ContentType {
            essence: Cow::Borrowed(""),
            charset: Charset::Other,
            other_parameters: false,
        })
    }))
}

fn parse(text: &str) -> Option<ContentType<'_>> {
    let (essence, mut parameters) = text.split_once(';').unwrap_or((text, ""));
    let essence = essence.trim_matches(WHITESPACE);
    let (kind, subtype) = essence.split_once('/')?;
    if !is_token(kind) || !is_token(subtype) {
        return None;
    }
    let mut found = ContentType {
        essence: lower_case(essence),
        charset: Charset::Absent,
        other_parameters: false,
    };
    while !parameters.is_empty() {
        parameters = parameters.trim_start_matches(WHITESPACE);
        if let Some(rest) = parameters.strip_prefix(';') {
            parameters = rest;
            continue;
        }
        if parameters.is_empty() {
            break;
        }
        let (name, rest) = parameters.split_once('=')?;
        let (value, rest) = parameter_value(rest)?;
        if !is_token(name) {
            return None;
        }
        if !name.eq_ignore_ascii_case("charset") {
            found.other_parameters = true;
        } else if found.charset != Charset::Absent {
            // which of two counts is anybody's guess
            return None;
        } else if value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8") {
            found.charset = Charset::Utf8;
        } else {
            found.charset = Charset::Other;
        }
        let rest = rest.trim_start_matches(WHITESPACE);
        parameters = if rest.is_empty() {
            rest
        } else {
            rest.strip_prefix(';')?
        };
    }
    Some(found)
}

/// A parameter's value, a token or a quoted string without its quotes, and what follows it. A quoted string
/// with escapes is malformed here: nothing that is compared needs one.
fn parameter_value(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) = quoted.split_once('"')?;
        return (!value.contains('\\')).then_some((value, rest));
    }
    let end = text
        .find(|c| c == ';' || WHITESPACE.contains(&c))
        .unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end)?;
    is_token(value).then_some((value, rest))
}

fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

const WHITESPACE: [char; 2] = [' ', '\t'];
