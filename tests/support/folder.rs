//! A test's folder: when it goes, whatever was asserted before, every audit log in it is held against the schema.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use self::audit_schema::check;

#[path = "audit_schema.rs"]
pub(crate) mod audit_schema;

pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A second panic would hide the first.
        if std::thread::panicking() {
            return;
        }
        for file in logs(self.path()) {
            // What isn't text is a compressed file, or what a test put there.
            if let Ok(text) = fs::read_to_string(&file) {
                check(&text);
            }
        }
    }
}

/// Every file below the folder that is called `audit.…`, but for what lies beside a log and isn't one.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).into_iter().flatten();
    for path in entries.map_while(Result::ok).map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = ["checkpoints", "key", "torn", "shipped"];
        let is_log = name.starts_with("audit.") && !beside.iter().any(|end| name.ends_with(end));
        if path.is_dir() {
            found.extend(logs(&path));
        } else if path.is_file() && is_log {
            found.push(path);
        }
    }
    found
}
