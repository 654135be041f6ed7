//! Secrets from files and the environment, and the headers that carry them.
//!
//! No message, `Debug` or log shows a secret or says more about it than its kind and length.

use std::path::Path;

use http::{HeaderName, HeaderValue};

use super::load::Loader;
use super::raw::{HEADER_VALUE, SECRET};
use super::read::Reader;
use super::{Secret, SecretSource};
use crate::yaml::{At, Yaml};

/// The environment, as far as a configuration may ask it.
pub trait Env {
    /// The variable's text; `None` where it isn't set or isn't UTF-8.
    fn var(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl<F: Fn(&str) -> Option<String>> Env for F {
    fn var(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// The secret of a provider.
pub(super) fn secret(at: &At<'_>, cx: &mut Loader<'_>) -> Option<Secret> {
    let reader = Reader::open(at, &SECRET, cx)?;
    let (source, at) = reader.the_one(cx)?;
    let bytes = fetch(&at, source, cx)?;
    Some(Secret(bytes.into()))
}

/// The headers of a route's `set_headers`.
pub(super) fn headers(at: &At<'_>, cx: &mut Loader<'_>) -> Vec<(HeaderName, SecretSource)> {
    let mut headers: Vec<(HeaderName, SecretSource)> = Vec::new();
    let Some(entries) = at.entries(&mut cx.problems) else {
        return headers;
    };
    for (key, at) in entries {
        let name = match admissible(&key.text, "set") {
            Ok(name) => Some(name),
            Err(message) => {
                cx.problems.add(Some(key.mark), at.key(), message);
                None
            }
        };
        let value = header_value(&at, name.as_ref(), cx);
        let (Some(name), Some(value)) = (name, value) else {
            continue;
        };
        if headers.iter().any(|(other, _)| *other == name) {
            let message = format!("the header {name} stands here twice; names ignore case");
            cx.problems.add(Some(key.mark), at.key(), message);
        }
        headers.push((name, SecretSource { value }));
    }
    headers
}

/// A header name that the configuration may name, to be `set` or `forwarded`; the error says why not.
fn admissible(text: &str, verb: &str) -> Result<HeaderName, String> {
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        return Err("expected a header name (RFC 9110, section 5.1)".to_owned());
    };
    let lower = name.as_str();
    if is_hop_by_hop(lower) {
        return Err(format!("{lower} frames the connection; it can't be {verb}"));
    }
    if ["content-type", "content-encoding", "content-length", "host"].contains(&lower) {
        let instead = if lower == "host" {
            "; use `upstream_host`"
        } else {
            ""
        };
        return Err(format!(
            "{lower} tells what was judged; it can't be {verb}{instead}"
        ));
    }
    if is_override(lower) {
        return Err(format!(
            "{lower} changes what was judged; it can't be {verb}"
        ));
    }
    if is_own(lower) {
        return Err(format!("{lower} is the proxy's own; it can't be {verb}"));
    }
    Ok(name)
}

/// A client header's name that a route may forward; the error says why not.
pub(super) fn forwardable(text: &str) -> Result<HeaderName, String> {
    let name = admissible(text, "forwarded")?;
    let lower = name.as_str();
    if lower == "any" {
        return Err("write `forward_headers: any` for all".to_owned());
    }
    if lower == "authorization" {
        return Err("authorization is the credential; write `forward_credential: true`".to_owned());
    }
    if lower.contains('_') {
        return Err("a name with `_` is refused wherever it comes from".to_owned());
    }
    if ["x-real-ip", "x-original-url", "x-rewrite-url"].contains(&lower) {
        return Err(format!("{lower} as sent by a client is always removed"));
    }
    Ok(name)
}

fn header_value(
    at: &At<'_>,
    name: Option<&HeaderName>,
    cx: &mut Loader<'_>,
) -> Option<HeaderValue> {
    let reader = Reader::open(at, &HEADER_VALUE, cx)?;
    let prefix = match reader.value("prefix").map(|at| (at, &at.node.value)) {
        Some((_, Yaml::Text(prefix))) => prefix.as_bytes().to_vec(),
        Some((at, _)) => {
            cx.problem(&at, "expected text");
            return None;
        }
        None => Vec::new(),
    };
    let (source, at) = reader.the_one(cx)?;
    if source == "value" && name.is_some_and(|name| is_credential(name.as_str())) {
        cx.warn(
            &at,
            "a credential in the configuration itself; better name a `file` or an `env`",
        );
    }
    let secret = fetch(&at, source, cx)?;
    // Receivers drop blanks around a value (RFC 9110, section 5.5), so a secret with some isn't what it says.
    if secret.first().is_some_and(u8::is_ascii_whitespace)
        || secret.last().is_some_and(u8::is_ascii_whitespace)
    {
        cx.problem(&at, "the value begins or ends with a blank or a line break");
        return None;
    }
    match HeaderValue::from_bytes(&[prefix, secret].concat()) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Some(value)
        }
        Err(_) => {
            cx.problem(
                &at,
                "the value holds a line break or control byte, which no header may",
            );
            None
        }
    }
}

fn fetch(at: &At<'_>, source: &str, cx: &mut Loader<'_>) -> Option<Vec<u8>> {
    let bytes = match source {
        "file" => {
            let (path, bytes) = cx.file(at)?;
            warn_if_open(at, &path, cx);
            without_line_break(bytes)
        }
        "env" => {
            let name = super::read::text(at, cx)?;
            match cx.env.var(name) {
                Some(text) => text.into_bytes(),
                None => {
                    let message = "the environment variable isn't set, or isn't UTF-8";
                    cx.problem(at, message);
                    return None;
                }
            }
        }
        _ => super::read::text(at, cx)?.as_bytes().to_vec(),
    };
    if bytes.is_empty() {
        cx.problem(at, "the secret is empty");
        return None;
    }
    Some(bytes)
}

/// The text of a key that no one but its owner may read: what it signs is as good as its keeping.
pub(super) fn owned(at: &At<'_>, cx: &mut Loader<'_>) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let (path, bytes) = cx.file(at)?;
    let shown = path.display();
    let mode = std::fs::metadata(&path).map(|meta| meta.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        cx.problem(
            at,
            format!("others may read or write {shown}; chmod 600 it"),
        );
        return None;
    }
    String::from_utf8(bytes).ok().or_else(|| {
        cx.problem(at, format!("{shown} isn't text"));
        None
    })
}

/// Editors and `echo` end a file with a line break that is no part of the secret; one is dropped, never more.
fn without_line_break(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

/// Warns where a file that holds a secret may be read by everybody.
#[cfg(unix)]
pub(super) fn warn_if_open(at: &At<'_>, path: &Path, cx: &mut Loader<'_>) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map(|meta| meta.permissions().mode());
    if let Ok(mode) = mode
        && mode & 0o004 != 0
    {
        let shown = path.display();
        cx.warn(at, format!("everybody may read {shown}; chmod 600 it"));
    }
}

/// Warns where a file that holds a secret may be read by everybody; not known on this system.
#[cfg(not(unix))]
pub(super) fn warn_if_open(_: &At<'_>, _: &Path, _: &mut Loader<'_>) {}

/// RFC 9110, section 7.6.1, and what frames a message.
fn is_hop_by_hop(name: &str) -> bool {
    [
        "connection",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
    .contains(&name)
}

fn is_override(name: &str) -> bool {
    [
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    ]
    .contains(&name)
}

fn is_own(name: &str) -> bool {
    name == "forwarded" || name.starts_with("x-forwarded-") || name.starts_with("x-portcullis-")
}

fn is_credential(name: &str) -> bool {
    ["auth", "cookie", "key", "password", "secret", "token"]
        .iter()
        .any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_goes() {
        for (bytes, expected) in [
            ("k", "k"),
            ("k\n", "k"),
            ("k\r\n", "k"),
            ("k\n\n", "k\n"),
            ("k\r", "k\r"),
            ("\n", ""),
        ] {
            assert_eq!(without_line_break(bytes.into()), expected.as_bytes());
        }
    }

    #[test]
    fn names() {
        for (name, why) in [
            ("a b", "expected a header name"),
            ("Connection", "frames the connection"),
            ("transfer-encoding", "frames the connection"),
            ("TE", "frames the connection"),
            ("Host", "use `upstream_host`"),
            ("content-length", "tells what was judged"),
            ("Content-Type", "tells what was judged"),
            ("X-HTTP-Method-Override", "changes what was judged"),
            ("x-forwarded-for", "the proxy's own"),
            ("Forwarded", "the proxy's own"),
            ("x-portcullis-id", "the proxy's own"),
        ] {
            let error = admissible(name, "set").unwrap_err();
            assert!(error.contains(why), "{name}: {error}");
            assert!(forwardable(name).is_err(), "{name}");
        }
        for (name, why) in [
            ("authorization", "forward_credential"),
            ("any", "forward_headers: any"),
            ("x_team", "`_`"),
            ("x-real-ip", "always removed"),
        ] {
            assert!(admissible(name, "set").is_ok(), "{name}");
            let error = forwardable(name).unwrap_err();
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}
