//! `listeners`: sockets with unique names, of which no two claim one address.

use std::net::{IpAddr, SocketAddr};

use super::load::Loader;
use super::raw::LISTENER;
use super::read::Reader;
use super::{Listener, tls};
use crate::yaml::At;

/// Reads the listeners.
pub(super) fn read(file: &Reader<'_>, cx: &mut Loader<'_>) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    let Some(list) = file.value("listeners") else {
        return listeners;
    };
    for at in list.items(&mut cx.problems) {
        let Some(listener) = listener(&at, &listeners, cx) else {
            continue;
        };
        listeners.push(listener);
    }
    if matches!(&list.node.value, crate::yaml::Yaml::List(items) if items.is_empty()) {
        cx.problem(&list, "expected at least one listener");
    }
    listeners
}

fn listener(at: &At<'_>, others: &[Listener], cx: &mut Loader<'_>) -> Option<Listener> {
    let reader = Reader::open(at, &LISTENER, cx)?;
    let tls_at = reader.written("tls");
    let tls = tls_at.as_ref().map(|at| tls::listener(at, cx));
    let address_at = reader.value("address")?;
    let address = address(&address_at, cx);
    let name = match reader.written("name") {
        Some(at) => name(&at, cx)?.to_owned(),
        None => address?.to_string(),
    };
    if others.iter().any(|other| *other.name == *name) {
        let at = reader.written("name").unwrap_or(address_at);
        cx.problem(&at, format!("a second listener named `{name}`"));
    }
    let address = address?;
    if let Some(other) = others.iter().find(|other| clash(other.address, address)) {
        let other = &other.name;
        cx.problem(&address_at, format!("listener `{other}` has this address"));
    }
    if tls.is_none() && !address.ip().is_loopback() {
        cx.warn(
            &address_at,
            "plain TCP on an address that others reach: tokens travel in clear",
        );
    }
    Some(Listener {
        name: name.into(),
        address,
        tls: tls.flatten(),
    })
}

/// An IP address with its port.
pub(super) fn address(at: &At<'_>, cx: &mut Loader<'_>) -> Option<SocketAddr> {
    let text = super::read::text(at, cx)?;
    let address = text.parse().ok();
    if address.is_none() {
        let wanted = "expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080";
        cx.problem(at, wanted);
    }
    address
}

/// A name as logs, metrics and records show it.
pub(super) fn name<'a>(at: &At<'a>, cx: &mut Loader<'_>) -> Option<&'a str> {
    let text = super::read::text(at, cx)?;
    if !is_name(text) {
        cx.problem(at, NAME);
        return None;
    }
    Some(text)
}

/// Whether the text can be a name.
pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// What a name is.
pub(super) const NAME: &str = "expected a name: at most 64 letters, digits, `-`, `_` and `.`";

/// Whether two sockets would take the same connections. Port 0 never does: it becomes a free one.
pub(super) fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |a: IpAddr, b: IpAddr| {
        a == b || a.is_unspecified() && (a.is_ipv4() == b.is_ipv4() || a.is_ipv6())
    };
    a.port() != 0 && a.port() == b.port() && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clashes() {
        for (a, b, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::1]:80", "127.0.0.1:80", false),
            ("[::1]:80", "0.0.0.0:80", false),
        ] {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(clash(a, b), expected, "{a} {b}");
            assert_eq!(clash(b, a), expected, "{b} {a}");
        }
    }
}
