//! `prefix`, `suffix` and `contains`.

use super::compare::{self, text};
use super::glob::NEVER_SEGMENTS;
use super::{Scope, segments};
use crate::policy::json::Json;
use crate::policy::value::{Truth, Value};

/// Whether the text begins with one of these.
pub(super) fn prefix(prefixes: &[Box<str>], value: &str) -> Truth {
    // Asked once, and only where a prefix speaks of segments.
    let mut ambiguous = None;
    compare::any(prefixes.iter().map(|prefix| {
        if prefix.contains('/') && *ambiguous.get_or_insert_with(|| segments::is_ambiguous(value)) {
            return Truth::Indeterminate;
        }
        value.starts_with(&**prefix).into()
    }))
}

/// Whether the text ends with one of these.
pub(super) fn suffix(suffixes: &[Box<str>], value: &str) -> Truth {
    let mut suffixes = suffixes.iter();
    suffixes.any(|suffix| value.ends_with(&**suffix)).into()
}

/// Whether one of these is a part of the text, or an element of the list.
pub(super) fn contains<S: Scope>(parts: &[Json], value: Value<'_>, scope: &S) -> Truth {
    let Some(value) = text(value) else {
        return compare::any(
            parts
                .iter()
                .map(|part| compare::member(part.into(), value, scope)),
        );
    };
    compare::any(parts.iter().map(|part| {
        match part.as_text() {
            Some(part) => memchr::memmem::find(value.as_bytes(), part.as_bytes())
                .is_some()
                .into(),
            None => Truth::Indeterminate,
        }
    }))
}

/// Refuses a prefix that promises nothing, or another thing than it seems to.
pub(super) fn check_prefix(prefix: &str) -> Result<(), String> {
    if prefix.contains('/') && segments::begins_ambiguous(prefix) {
        return Err(NEVER_SEGMENTS.to_owned());
    }
    let Some((scheme, rest)) = segments::split_scheme(prefix) else {
        return Ok(());
    };
    match segments::split_authority(rest) {
        ("", _) | (_, true) => Ok(()),
        (authority, false) => Err(format!(
            "ends inside a URL's authority, so that `{scheme}://{authority}.other` would match; write `{prefix}/`, or use `url: {{ host: … }}`"
        )),
    }
}
