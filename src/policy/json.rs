//! JSON as the policy core keeps it: claims, and those judged values that are containers.
//!
//! A document is read strictly (RFC 8259) by the scanner: what two readers could read differently is a fault,
//! a key twice in one object above all. There is deliberately no lenient mode and no serialiser.

pub(in crate::policy) mod fold;
pub(in crate::policy) mod scan;
mod strings;
pub(in crate::policy) mod tree;

#[cfg(test)]
pub(in crate::policy) mod tests;

use scan::Scanner;

use super::fault::Fault;

/// A JSON value (RFC 8259) that owns its parts. Numbers keep the text that they were written in, and an
/// object's keys are unique and in the order in which they came.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as written.
    Number(Box<str>),
    /// A string, unescaped.
    Text(Box<str>),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(Box<str>, Json)>),
}

impl Json {
    /// Reads one document: UTF-8 without a byte order mark, nothing after it, no key twice in an object, no half
    /// of a surrogate pair, and no more than `max_depth` containers within each other (512 at the most).
    pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Json, Fault> {
        let mut scanner = Scanner::new(bytes, max_depth)?;
        let first = scanner.next();
        let json = scanner.tree(first)?;
        scanner.end()?;
        Ok(json)
    }

    /// The member of this object, or `None` where there is none or this is no object.
    pub fn member(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(k, _)| **k == *key).map(|(_, v)| v),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Array(_) => None,
        }
    }

    /// The text, where this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// The value at a JSON Pointer, or `None` where it leads to nothing.
    pub fn at(&self, pointer: &Pointer) -> Option<&Json> {
        pointer
            .tokens()
            .iter()
            .try_fold(self, |value, token| match value {
                Json::Object(_) => value.member(token),
                Json::Array(items) => items.get(array_index(token)?),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => None,
            })
    }
}

/// A JSON Pointer (RFC 6901), unescaped into its reference tokens. `""` is the whole document.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer(Box<[Box<str>]>);

impl Pointer {
    /// Parses `""` or `/a/b~1c`; `None` where it is no pointer, or where `-` names the element after the last.
    pub fn parse(text: &str) -> Option<Pointer> {
        if text.is_empty() {
            return Some(Pointer(Box::default()));
        }
        let mut tokens = Vec::new();
        for raw in text.strip_prefix('/')?.split('/') {
            let mut token = String::with_capacity(raw.len());
            let mut chars = raw.chars();
            while let Some(c) = chars.next() {
                match (c, c == '~') {
                    (_, true) => token.push(match chars.next()? {
                        '0' => '~',
                        '1' => '/',
                        _ => return None,
                    }),
                    (c, false) => token.push(c),
                }
            }
            tokens.push(token.into_boxed_str());
        }
        Some(Pointer(tokens.into()))
    }

    /// The unescaped reference tokens.
    pub fn tokens(&self) -> &[Box<str>] {
        &self.0
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|t| write!(f, "/{}", t.replace('~', "~0").replace('/', "~1")))
    }
}

/// An array index as RFC 6901 writes it: no leading zero.
pub fn array_index(token: &str) -> Option<usize> {
    if token.len() > 1 && token.starts_with('0') || !token.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    token.parse().ok()
}

/// Whether two keys differ, but only in case (Unicode simple case folding).
pub fn equal_but_for_case(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return a != b && a.eq_ignore_ascii_case(b);
    }
    a != b && a.chars().map(fold::fold).eq(b.chars().map(fold::fold))
}
