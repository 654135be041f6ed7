//! From a file's text to a [`Config`]: every section is read, every file that it names is brought in, and
//! either all of it holds or every problem is told.
//!
//! Paths are relative to the folder of the configuration file. What was read is listed in
//! [`Config::files`], to be watched; a change is answered by loading the whole again, so nothing in here
//! keeps state.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;

use super::raw::{CONFIG, IDENTITY};
use super::read::{NOWHERE, Reader};
use super::secrets::{Env, ProcessEnv};
use super::{Config, identity, listeners, routes, service, upstreams};
use crate::yaml::{At, Problem, Problems, parse};

impl Config {
    /// Loads a configuration file and all that it names. Every problem is told at once, in the file's order.
    pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
        let name = path.display().to_string();
        let text = read_file(path, MAX_CONFIG).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| "the file isn't UTF-8".to_owned())
        });
        let text = match text {
            Ok(text) => text,
            Err(message) => {
                let mut problems = Problems::new(name);
                problems.add_file(message);
                return Err(problems.into_vec());
            }
        };
        let base = path.parent().unwrap_or(Path::new(""));
        let mut config = Config::from_text(&name, &text, base, &ProcessEnv)?;
        config.files.insert(0, path.to_owned());
        Ok(config)
    }

    /// Loads a configuration from its text. `name` stands in problems, `base` is what paths are relative to.
    pub fn from_text(
        name: &str,
        text: &str,
        base: &Path,
        env: &dyn Env,
    ) -> Result<Config, Vec<Problem>> {
        let mut problems = Problems::new(name);
        let Some(root) = parse(text, &mut problems) else {
            return Err(problems.into_vec());
        };
        let mut cx = Loader {
            problems,
            warnings: Problems::new(name),
            files: Vec::new(),
            base,
            env,
            crypto: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            system_roots: None,
            now: jiff::Timestamp::now().as_second(),
        };
        let config = read(&At::root(&root), &mut cx);
        match (config, cx.problems.is_empty()) {
            (Some(mut config), true) => {
                config.files = cx.files;
                config.warnings = in_order(cx.warnings);
                Ok(config)
            }
            _ => Err(in_order(cx.problems)),
        }
    }
}

/// What the readers of the sections share.
pub(super) struct Loader<'e> {
    pub(super) problems: Problems,
    pub(super) warnings: Problems,
    pub(super) env: &'e dyn Env,
    /// The one crypto backend, passed on explicitly: no process default is ever installed or relied on.
    pub(super) crypto: Arc<CryptoProvider>,
    /// The system's roots, once they were asked for.
    pub(super) system_roots: Option<Arc<RootCertStore>>,
    /// Seconds since 1970, for warnings about certificates.
    pub(super) now: i64,
    files: Vec<PathBuf>,
    base: &'e Path,
}

impl Loader<'_> {
    /// Notes a problem with this value.
    pub(super) fn problem(&mut self, at: &At<'_>, message: impl Into<String>) {
        at.problem(&mut self.problems, message);
    }

    /// Notes something that works, but that someone should know of.
    pub(super) fn warn(&mut self, at: &At<'_>, message: impl Into<String>) {
        at.problem(&mut self.warnings, message);
    }

    /// The path that this value names.
    pub(super) fn path(&mut self, at: &At<'_>) -> Option<PathBuf> {
        let text = super::read::text(at, self)?;
        if text.contains('\0') {
            self.problem(at, "expected a path, found a NUL byte in it");
            return None;
        }
        Some(self.base.join(text))
    }

    /// The bytes of the file that this value names.
    pub(super) fn file(&mut self, at: &At<'_>) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.path(at)?;
        self.watch(path.clone());
        match read_file(&path, MAX_FILE) {
            Ok(bytes) => Some((path, bytes)),
            Err(message) => {
                self.problem(at, message);
                None
            }
        }
    }

    /// Lists a file or folder to be watched.
    pub(super) fn watch(&mut self, path: PathBuf) {
        if !self.files.contains(&path) {
            self.files.push(path);
        }
    }
}

fn read(at: &At<'_>, cx: &mut Loader<'_>) -> Option<Config> {
    let file = Reader::open(at, &CONFIG, cx)?;
    file.count("version", cx);
    let listeners = listeners::read(&file, cx);
    let upstreams = upstreams::read(&file, cx);
    let routes = routes::read(&file, &upstreams, cx);
    let nowhere = At::root(&NOWHERE);
    let identity = file.value("identity").unwrap_or(nowhere);
    let identity = Reader::open(&identity, &IDENTITY, cx).map(|reader| identity::read(&reader, cx));
    let admin = service::admin(&file, &listeners, cx);
    Some(Config {
        listeners,
        routes,
        upstreams,
        identity: identity.unwrap_or_default(),
        policies: service::policies(&file, cx),
        audit: service::audit(&file, cx)?,
        admin,
        limits: service::limits(&file, cx)?,
        timeouts: service::timeouts(&file, cx)?,
        workers: service::workers(&file, cx),
        log: service::log(&file, cx)?,
        files: Vec::new(),
        warnings: Vec::new(),
    })
}

/// A file's bytes, at most so many; the error is a message for the user.
fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let fail = |error: std::io::Error| {
        use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
        let kind = error.kind();
        if kind == NotFound {
            format!("there is no file {shown}")
        } else if kind == PermissionDenied {
            format!("no permission to read {shown}")
        } else if kind == IsADirectory {
            format!("{shown} is a folder; expected a file")
        } else {
            format!("{shown} can't be read: {kind}")
        }
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    // One more than is taken, so that a longer file is seen to be longer.
    file.take(most + 1).read_to_end(&mut bytes).map_err(fail)?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read > most) {
        return Err(format!(
            "{shown} is longer than {}",
            super::units::show_size(most)
        ));
    }
    Ok(bytes)
}

fn in_order(problems: Problems) -> Vec<Problem> {
    let mut found = problems.into_vec();
    found.sort_by_key(|problem| problem.mark.map(|mark| (mark.line, mark.column)));
    found.dedup();
    found
}

const MAX_CONFIG: u64 = 4 << 20;
const MAX_FILE: u64 = 16 << 20;
