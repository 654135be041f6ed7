//! Finds and reads policy files, and the cases beside them.
//!
//! A path is a file, or a folder that stands for every `*.yaml` below it (or `*.yml`, in any letters: a forbid in a file
//! that was passed over would be missed by nobody) but `cases.yaml` and configurations
//! (known by their `listeners`, which no policy file has). Hidden files and folders are passed over: Kubernetes
//! keeps the versions of a mounted ConfigMap in such. Order doesn't matter
//! to policies; it is by name, so that problems come in the same order every time.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::policy::{PolicySet, SourceFile};
use crate::yaml::{Problem, Problems, Yaml, parse};

/// The name of a file of cases.
pub const CASES: &str = "cases.yaml";

/// What is found under some paths.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Policy files.
    pub policies: BTreeSet<PathBuf>,
    /// Files of cases: those below a folder, and those beside a file.
    pub cases: BTreeSet<PathBuf>,
    /// Configurations in the folders, which are passed over.
    pub passed_over: BTreeSet<PathBuf>,
}

impl Found {
    /// Looks under the paths, and into the files of folders.
    ///
    /// # Errors
    /// The paths that can't be looked at, and those that are too large a tree to be meant.
    pub fn under(paths: &[PathBuf]) -> Result<Found, Vec<Problem>> {
        let mut found = Found::listed(paths)?;
        // A file that was named is meant, whatever it is: reading it tells what is wrong.
        let passed_over = found.policies.iter().filter(|path| {
            !paths.contains(path) && text(path).is_ok_and(|text| is_configuration(&text))
        });
        found.passed_over = passed_over.cloned().collect();
        let passed_over = &found.passed_over;
        found.policies.retain(|path| !passed_over.contains(path));
        Ok(found)
    }

    /// Looks under the paths without opening a file, so that configurations stand among the policies.
    ///
    /// # Errors
    /// As [`under`](Found::under).
    pub fn listed(paths: &[PathBuf]) -> Result<Found, Vec<Problem>> {
        let mut found = Found::default();
        let mut problems = Vec::new();
        for path in paths {
            if let Err((path, error)) = found.add(path, 0) {
                problems.extend(unreadable(&path, &error));
            }
        }
        if problems.is_empty() {
            Ok(found)
        } else {
            Err(problems)
        }
    }

    fn add(&mut self, path: &Path, depth: usize) -> Result<(), (PathBuf, io::Error)> {
        let wrong = |error| (path.to_owned(), error);
        if !fs::metadata(path).map_err(wrong)?.is_dir() {
            let cases = path.with_file_name(CASES);
            if path.file_name() == Some(OsStr::new(CASES)) {
                self.cases.insert(path.to_owned());
            } else {
                self.policies.insert(path.to_owned());
                if depth == 0 && cases.is_file() {
                    self.cases.insert(cases);
                }
            }
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(wrong(io::Error::other(
                "the folders are nested too deeply; does a link lead back up?",
            )));
        }
        for entry in fs::read_dir(path).map_err(wrong)? {
            let inner = entry.map_err(wrong)?.path();
            let hidden = inner
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && (inner.is_dir() || is_yaml(&inner)) {
                self.add(&inner, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// Whether a file in a folder is meant: by any way to write YAML's ending.
fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| {
        ["yaml", "yml"]
            .iter()
            .any(|yaml| ending.eq_ignore_ascii_case(yaml))
    })
}

/// Reads policy files.
///
/// # Errors
/// Those that can't be read.
pub fn read<'p>(
    paths: impl IntoIterator<Item = &'p PathBuf>,
) -> Result<Vec<SourceFile>, Vec<Problem>> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match text(path) {
            Ok(text) if is_configuration(&text) => {
                let mut found = Problems::new(path.display().to_string());
                found.add_file(CONFIGURATION);
                problems.extend(found.into_vec());
            }
            Ok(text) => files.push(SourceFile {
                name: path.display().to_string().into(),
                text,
            }),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(files)
    } else {
        Err(problems)
    }
}

/// Reads one file.
///
/// # Errors
/// It can't be read, is too large, or isn't UTF-8.
pub fn text(path: &Path) -> Result<String, Vec<Problem>> {
    let read = fs::metadata(path).and_then(|found| {
        if found.len() > MAX_FILE {
            return Err(io::Error::other("the file is larger than 256 MiB"));
        }
        String::from_utf8(fs::read(path)?).map_err(|_| io::Error::other("the file isn't UTF-8"))
    });
    read.map_err(|error| unreadable(path, &error))
}

/// Compiles the policies under the paths.
///
/// # Errors
/// Every problem of every file.
pub fn load(paths: &[PathBuf]) -> Result<PolicySet, Vec<Problem>> {
    PolicySet::load(&read(&Found::under(paths)?.policies)?)
}

/// Whether this is a configuration. Only what surely is one is taken for one, since it is then no policy.
fn is_configuration(text: &str) -> bool {
    // Most files don't hold the word, and aren't read twice.
    if memchr::memmem::find(text.as_bytes(), b"listeners").is_none() {
        return false;
    }
    let root = parse(text, &mut Problems::new(""));
    let Some(Yaml::Map(entries)) = root.map(|root| root.value) else {
        return false;
    };
    entries.iter().any(|(key, _)| key.text == "listeners")
}

fn unreadable(path: &Path, error: &io::Error) -> Vec<Problem> {
    let mut problems = Problems::new(path.display().to_string());
    problems.add_file(format!("can't be read: {error}"));
    problems.into_vec()
}

const CONFIGURATION: &str =
    "this is a configuration, not a policy file; `portcullis check --config` takes it";
const MAX_DEPTH: usize = 32;
const MAX_FILE: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_its_policies_and_its_cases() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in [
            "a/policy.yaml",
            "a/cases.yaml",
            "b/more.yaml",
            "b/notes.txt",
            "b/notes.yaml.bak",
            "b/deny.YML",
            "b/short.yml",
            "b/loud.YAML",
            "b/gateway.yaml",
            ".hidden/policy.yaml",
            ".x.yaml",
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let gateway = root.join("b/gateway.yaml");
        fs::write(&gateway, "version: 1\nlisteners: []\npolicies: [.]\n").unwrap();
        let names = |set: &BTreeSet<PathBuf>| -> Vec<String> {
            let short = |p: &PathBuf| p.strip_prefix(root).unwrap().display().to_string();
            set.iter().map(short).collect()
        };
        let found = Found::under(&[root.to_owned()]).unwrap();
        let policies = [
            "a/policy.yaml",
            "b/deny.YML",
            "b/loud.YAML",
            "b/more.yaml",
            "b/short.yml",
        ];
        assert_eq!(names(&found.policies), policies);
        assert_eq!(names(&found.cases), ["a/cases.yaml"]);
        assert_eq!(names(&found.passed_over), ["b/gateway.yaml"]);
        let problems = load(&[gateway]).unwrap_err();
        assert_eq!(problems[0].message, CONFIGURATION);
        // The word alone doesn't make it one.
        fs::write(root.join("b/more.yaml"), "about: [listeners\n").unwrap();
        assert!(
            Found::under(&[root.join("b")])
                .unwrap()
                .policies
                .contains(&root.join("b/more.yaml"))
        );
        let found = Found::under(&[root.join("a/policy.yaml")]).unwrap();
        assert_eq!(names(&found.policies), ["a/policy.yaml"]);
        assert_eq!(names(&found.cases), ["a/cases.yaml"]);
        let problems = Found::under(&[root.join("none")]).unwrap_err();
        assert!(problems[0].message.starts_with("can't be read"));
    }
}
