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

/// Every file below the folder that is called `audit.…`.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).into_iter().flatten();
    for path in entries.map_while(Result::ok).map(|entry| entry.path()) {
        let named = |start| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(start))
        };
        if path.is_dir() {
            found.extend(logs(&path));
        } else if path.is_file() && named("audit.") {
            found.push(path);
        }
    }
    found
}
