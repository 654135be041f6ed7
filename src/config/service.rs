//! The sections about the process: policies, audit, admin, limits, timeouts, workers and log.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use super::load::Loader;
use super::raw::{ADMIN, AUDIT, CHECKPOINTS, LIMITS, LOG, TIMEOUTS};
use super::read::Reader;
use super::{
    Audit, AuditTarget, Checkpoints, Durability, Limits, Listener, Log, Timeouts, fields,
    listeners, secrets, ship,
};
use crate::audit::note::Signer;
use crate::yaml::{At, Yaml};

/// The policy files and folders, each of which exists.
pub(super) fn policies(file: &Reader<'_>, cx: &mut Loader<'_>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let Some(at) = file.value("policies") else {
        return paths;
    };
    let items = at.one_or_many();
    if items.is_empty() {
        cx.problem(&at, "expected at least one file or folder");
    }
    for item in &items {
        let Some(path) = cx.path(item) else {
            continue;
        };
        if paths.contains(&path) {
            cx.problem(item, "this path stands here twice");
        } else if std::fs::metadata(&path).is_err() {
            let shown = path.display();
            cx.problem(item, format!("there is no file or folder {shown}"));
        }
        cx.watch(path.clone());
        paths.push(path);
    }
    paths
}

/// The record of decisions.
pub(super) fn audit(file: &Reader<'_>, cx: &mut Loader<'_>) -> Option<Audit> {
    let at = file.value("audit")?;
    let reader = Reader::open(&at, &AUDIT, cx)?;
    let to = reader.value("to")?;
    let to = match to.is_word("stdout") {
        true => AuditTarget::Stdout,
        false => AuditTarget::File(cx.path(&to).unwrap_or_default()),
    };
    let durability = match reader.word("durability", cx) {
        "strict" => Durability::Strict,
        "buffered" => Durability::Buffered,
        _ => Durability::Written,
    };
    let stdout = to == AuditTarget::Stdout;
    if let Some(at) = reader.written("durability").filter(|_| stdout)
        && durability == Durability::Strict
    {
        cx.problem(&at, "`strict` needs a file: standard output is on no disk");
    }
    let checkpoints = reader
        .value("checkpoints")
        .filter(|at| !at.is_word("off"))
        .and_then(|at| {
            if stdout {
                cx.problem(&at, "checkpoints need a log in a file");
            }
            checkpoints(&at, &to, cx)
        });
    let node = reader.text("node", cx).unwrap_or_default();
    if node.len() > 253 || node.chars().any(char::is_control) {
        let wanted = "expected at most 253 bytes without control characters";
        cx.problem(&reader.value("node")?, wanted);
    }
    let fields = fields::read(&reader, cx);
    Some(Audit {
        to,
        durability,
        rotate_at: reader.size("rotate_at", cx),
        rotate_every: reader.duration("rotate_every", cx),
        keep: reader
            .count("keep", cx)
            .and_then(|keep| u32::try_from(keep).ok()),
        compress: reader.flag("compress", cx),
        checkpoints,
        queue: usize::try_from(reader.count("queue", cx)?).ok()?,
        refusals_per_second: u32::try_from(reader.count("refusals_per_second", cx)?).ok()?,
        node: match node {
            "auto" => host_name(cx).into(),
            node => node.into(),
        },
        fields,
        ship: ship::read(&reader, cx),
    })
}

/// Signed checkpoints, with their key.
fn checkpoints(at: &At<'_>, log: &AuditTarget, cx: &mut Loader<'_>) -> Option<Checkpoints> {
    if matches!(at.node.value, Yaml::Text(_)) {
        cx.problem(at, "expected `off`, or a mapping with `key`");
        return None;
    }
    let reader = Reader::open(at, &CHECKPOINTS, cx)?;
    let key_at = reader.value("key")?;
    let text = secrets::owned(&key_at, cx)?;
    let signer = match Signer::parse(&text) {
        Ok(signer) => signer,
        Err(error) => {
            cx.problem(&key_at, error.to_string());
            return None;
        }
    };
    let to_at = reader.value("to")?;
    let to = cx.path(&to_at)?;
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .as_encoded_bytes()
            .to_owned()
    };
    if let AuditTarget::File(log) = log
        && to.parent() == log.parent()
        && name(&to).starts_with(&name(log))
    {
        cx.problem(
            &to_at,
            "this is the name of the log, or begins as those of its files do",
        );
    }
    Some(Checkpoints {
        signer: Arc::new(signer),
        to,
        every: reader.duration("every", cx)?,
    })
}

/// The admin listener's address; it must not be one of the listeners'.
pub(super) fn admin(
    file: &Reader<'_>,
    others: &[Listener],
    cx: &mut Loader<'_>,
) -> Option<SocketAddr> {
    let at = file.value("admin")?;
    if at.is_word("off") {
        return None;
    }
    if matches!(at.node.value, Yaml::Text(_)) {
        cx.problem(&at, "expected `off`, or a mapping with `address`");
        return None;
    }
    let reader = Reader::open(&at, &ADMIN, cx)?;
    let address_at = reader.value("address")?;
    let address = listeners::address(&address_at, cx)?;
    // Where the address is the default, the place to complain at is the file as a whole.
    let place = match (file.written("admin"), reader.written("address")) {
        (_, Some(at)) | (Some(at), None) => at,
        (None, None) => *file.at(),
    };
    let clash = |other: &&Listener| listeners::clash(other.address, address);
    if let Some(other) = others.iter().find(clash) {
        let other = &other.name;
        cx.problem(
            &place,
            format!("the admin address {address} is that of listener `{other}`"),
        );
    }
    if !address.ip().is_loopback() {
        cx.warn(
            &place,
            "the admin listener asks nobody who they are; keep it on loopback",
        );
    }
    Some(address)
}

/// Bounds on what an outsider controls.
pub(super) fn limits(file: &Reader<'_>, cx: &mut Loader<'_>) -> Option<Limits> {
    let at = file.value("limits")?;
    let reader = Reader::open(&at, &LIMITS, cx)?;
    let mut size = |key| usize::try_from(reader.size(key, cx)?).ok();
    let (judged_body, judged_bodies) = (size("judged_body")?, size("judged_bodies")?);
    let header_bytes = size("header_bytes")?;
    if judged_bodies < judged_body {
        let at = reader.written("judged_bodies");
        let at = at.or(reader.written("judged_body"));
        let message = "expected `judged_bodies` to be at least `judged_body`";
        cx.problem(&at.unwrap_or(*reader.at()), message);
    }
    Some(Limits {
        headers: usize::try_from(reader.count("headers", cx)?).ok()?,
        header_bytes,
        judged_body,
        judged_bodies,
        body: reader.size("body", cx),
        json_depth: usize::try_from(reader.count("json_depth", cx)?).ok()?,
        connections: usize::try_from(reader.count("connections", cx)?).ok()?,
        streams: u32::try_from(reader.count("streams", cx)?).ok()?,
    })
}

/// Time bounds.
pub(super) fn timeouts(file: &Reader<'_>, cx: &mut Loader<'_>) -> Option<Timeouts> {
    let at = file.value("timeouts")?;
    let reader = Reader::open(&at, &TIMEOUTS, cx)?;
    Some(Timeouts {
        header: reader.duration("header", cx)?,
        body: reader.duration("body", cx)?,
        idle: reader.duration("idle", cx)?,
        keep_alive: reader.duration("keep_alive", cx)?,
        shutdown: reader.duration("shutdown", cx)?,
    })
}

/// Threads that serve.
pub(super) fn workers(file: &Reader<'_>, cx: &mut Loader<'_>) -> usize {
    match file.count("workers", cx) {
        Some(count) => usize::try_from(count).unwrap_or(1),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Logging.
pub(super) fn log(file: &Reader<'_>, cx: &mut Loader<'_>) -> Option<Log> {
    let at = file.value("log")?;
    let reader = Reader::open(&at, &LOG, cx)?;
    let filter = reader.text("filter", cx)?.to_owned();
    if EnvFilter::builder().parse(&filter).is_err() {
        let wanted = "expected a tracing filter such as `info` or `portcullis=debug,info`";
        cx.problem(&reader.value("filter")?, wanted);
    }
    Some(Log {
        json: reader.word("format", cx) == "json",
        filter,
    })
}

/// The host's name. The standard library has no call for it.
fn host_name(cx: &Loader<'_>) -> String {
    let read = |path| std::fs::read_to_string(path).ok();
    read("/proc/sys/kernel/hostname")
        .or_else(|| read("/etc/hostname"))
        .or_else(|| cx.env.var("HOSTNAME"))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
