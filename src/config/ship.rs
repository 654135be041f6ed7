//! `audit.ship`: where the audit file's records are sent as well.

use http::Uri;
use http::uri::Scheme;

use super::load::Loader;
use super::raw::SHIP;
use super::read::{Reader, text};
use super::{Ship, secrets, tls, upstreams};
use crate::yaml::Yaml;

/// The section under `audit`; `None` where it is off.
pub(super) fn read(audit: &Reader<'_>, cx: &mut Loader<'_>) -> Option<Ship> {
    let at = audit.value("ship")?;
    if at.is_word("off") {
        return None;
    }
    if matches!(at.node.value, Yaml::Text(_)) {
        cx.problem(&at, "expected `off`, or a mapping with `endpoint`");
        return None;
    }
    if audit.value("to").is_some_and(|to| to.is_word("stdout")) {
        let message =
            "records are shipped from the file; expected `audit.to` to be one, not stdout";
        cx.problem(&at, message);
    }
    let reader = Reader::open(&at, &SHIP, cx)?;
    let headers = match reader.value("headers") {
        Some(at) => secrets::headers(&at, cx),
        None => Vec::new(),
    };
    let (logs, traces) = (reader.flag("logs", cx), reader.flag("traces", cx));
    if !logs && !traces {
        let message = "neither `logs` nor `traces`; write `ship: off` for nothing";
        cx.problem(reader.at(), message);
    }
    let every = reader.duration("every", cx);
    let batch = reader.count("batch", cx);
    let timeout = reader.duration("timeout", cx);
    let gzip = reader.word("compression", cx) == "gzip";
    let endpoint = endpoint(&reader, cx);
    let ca = reader.written("ca");
    let http = endpoint
        .as_ref()
        .map(|url| url.scheme() == Some(&Scheme::HTTP));
    let tls = match (http, ca) {
        (Some(true), Some(at)) => {
            cx.problem(&at, "roots are for an https endpoint; this one is http");
            None
        }
        (Some(true), None) | (None, None) => None,
        (Some(false), _) | (None, Some(_)) => Some(tls::fetch(&reader, cx)?),
    };
    Some(Ship {
        endpoint: endpoint?,
        headers,
        tls,
        logs,
        traces,
        every: every?,
        batch: usize::try_from(batch?).ok()?,
        timeout: timeout?,
        gzip,
    })
}

fn endpoint(reader: &Reader<'_>, cx: &mut Loader<'_>) -> Option<Uri> {
    let at = reader.written("endpoint")?;
    let url = match upstreams::url(text(&at, cx)?) {
        Ok(url) => url,
        Err(message) => {
            cx.problem(&at, message.replace("set_headers", "headers"));
            return None;
        }
    };
    if url.query().is_some() {
        cx.problem(&at, "expected no query");
        return None;
    }
    if url.path().ends_with("/v1/logs") || url.path().ends_with("/v1/traces") {
        let message = "expected the base URL; /v1/logs and /v1/traces are added to it";
        cx.problem(&at, message);
        return None;
    }
    if url.scheme() == Some(&Scheme::HTTP) && !upstreams::is_loopback(&url) {
        let message = "records and credentials go to this host in the clear; better use https";
        cx.warn(&at, message);
    }
    Some(url)
}
