//! A file of the log: its first line, its name once it is closed, and where the others are.
//!
//! The first line is no record. It says where in the log the file begins: the number and hash of the record before, and
//! the tree up to there, so that a file can be checked and continued when the ones before it are gone. It is written in
//! one way only, and read by writing it again: no byte of it can be another.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::encode::hex_of;
use super::record::{Sha256, VERSION};
use super::tree::{Hash, Tree, ZERO};

/// Where in a log a file begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The node's name.
    pub node: String,
    /// The number of the record before; 0 where there is none.
    pub seq: u64,
    /// The hash of the record before.
    pub prev: Hash,
    /// The tree of the records before. Its size is `seq`, unless records were lost.
    pub tree: Tree,
}

#[derive(Deserialize)]
struct Shape {
    node: String,
    seq: u64,
    size: u64,
    prev: Sha256,
    tree: Vec<Sha256>,
}

impl Segment {
    /// A log's beginning.
    pub fn first(node: &str) -> Segment {
        Segment {
            node: node.to_owned(),
            seq: 0,
            prev: ZERO,
            tree: Tree::default(),
        }
    }

    /// One record further: that of this hash.
    pub(super) fn advance(&mut self, leaf: Hash) {
        self.seq += 1;
        self.prev = leaf;
        self.tree.push(leaf);
    }

    /// The line, without its line feed.
    pub fn line(&self) -> serde_json::Result<String> {
        let node = serde_json::to_string(&self.node)?;
        let (seq, size, prev) = (self.seq, self.tree.size(), hex_of(&self.prev));
        let mut line = format!(
            r#"{{"v":{VERSION},"kind":"segment","node":{node},"seq":{seq},"size":{size},"prev":"{prev}","tree":["#
        );
        for (index, root) in self.tree.roots().iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(line, "{comma}\"{}\"", hex_of(root)); // to a String, which takes everything
        }
        line.push_str("]}");
        Ok(line)
    }

    /// Reads a line, without its line feed; `None` where it isn't exactly what [`line`](Self::line) writes.
    pub fn parse(line: &[u8]) -> Option<Segment> {
        let shape: Shape = serde_json::from_slice(line).ok()?;
        let roots = shape.tree.into_iter().map(|root| root.0).collect();
        let segment = Segment {
            node: shape.node,
            seq: shape.seq,
            prev: shape.prev.0,
            tree: Tree::restore(shape.size, roots)?,
        };
        (segment.line().ok()?.as_bytes() == line).then_some(segment)
    }

    /// The name of the log's file at `path` once it is closed: that of its first record.
    pub fn closed(&self, path: &Path) -> PathBuf {
        suffixed(path, &format!(".{:016}", self.seq + 1))
    }
}

/// The lines of a log, but for those that begin a file.
pub fn records(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| Segment::parse(line.as_bytes()).is_none())
}

/// The log's closed files, the oldest first; of one that is also compressed, the one that isn't counts. What is no file,
/// such as a pipe that nobody ends, is none of them whatever its name.
pub fn closed_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let mut found: Vec<(u64, bool, PathBuf)> = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?;
        let file = entry.path();
        if let Some((first, compressed)) = closed_as(path, &file)
            && may_be_read(&entry)
        {
            found.push((first, compressed, file));
        }
    }
    found.sort_unstable();
    found.dedup_by_key(|(first, _, _)| *first);
    Ok(found.into_iter().map(|(_, _, file)| file).collect())
}

/// It is a file, or leads to one. What can't be told is left to be found out where it is read.
fn may_be_read(entry: &std::fs::DirEntry) -> bool {
    match entry.file_type() {
        Ok(of) if of.is_symlink() => {
            std::fs::metadata(entry.path()).map_or(true, |target| target.is_file())
        }
        of => of.map_or(true, |of| of.is_file()),
    }
}

/// The number of the first record of a closed file of this log, and whether it is compressed.
pub(crate) fn closed_as(log: &Path, file: &Path) -> Option<(u64, bool)> {
    let rest = file.file_name()?.as_encoded_bytes();
    let rest = rest.strip_prefix(log.file_name()?.as_encoded_bytes())?;
    let number = std::str::from_utf8(rest.strip_prefix(b".")?).ok()?;
    let (number, compressed) = match number.strip_suffix(COMPRESSED) {
        Some(number) => (number, true),
        None => (number, false),
    };
    let digits = number.len() >= 16 && number.bytes().all(|digit| digit.is_ascii_digit());
    Some((digits.then(|| number.parse().ok())??, compressed))
}

/// The path with something after its last name.
pub(super) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What the name of a compressed file ends in.
pub const COMPRESSED: &str = ".gz";

#[cfg(test)]
mod tests {
    use super::*;

    fn after(records: u8) -> Segment {
        let mut segment = Segment::first("n\"1");
        for number in 0..records {
            segment.prev = super::super::tree::leaf(&[number]);
            segment.tree.push(segment.prev);
            segment.seq += 1;
        }
        segment
    }

    #[test]
    fn a_header_is_read_back_and_in_no_other_spelling() {
        for records in [0, 1, 2, 3, 7, 8] {
            let segment = after(records);
            let line = segment.line().unwrap();
            assert_eq!(Segment::parse(line.as_bytes()), Some(segment));
            for other in [
                line.replace(':', ": "),
                line.replace("\"v\":1", "\"v\":2"),
                line.replace("n\\\"1", "n\\u00221"),
                line.replace("\"size\"", "\"extra\":1,\"size\""),
                format!("{line} "),
            ] {
                assert_eq!(Segment::parse(other.as_bytes()), None, "{other}");
            }
        }
        let first = Segment::first("n1").line().unwrap();
        let expected = format!(
            r#"{{"v":1,"kind":"segment","node":"n1","seq":0,"size":0,"prev":"{}","tree":[]}}"#,
            "0".repeat(64)
        );
        assert_eq!(first, expected);
    }

    #[test]
    fn closed_files_are_found_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let name = |seq| Segment { seq, ..after(0) }.closed(&path);
        let expected = [
            name(0),
            suffixed(&name(6), COMPRESSED),
            name(99),
            name(10_u64.pow(17)),
        ];
        assert!(expected[0].ends_with("audit.jsonl.0000000000000001"));
        let others = [
            suffixed(&name(99), COMPRESSED),
            suffixed(&name(6), ".gz.tmp"),
            suffixed(&path, ".1"),
            suffixed(&path, ".unchained-0000000000000001"),
            suffixed(&path, ".000000000000000x"),
            folder.path().join("other.jsonl.0000000000000001"),
            path.clone(),
        ];
        for file in expected.iter().chain(&others) {
            std::fs::write(file, "").unwrap();
        }
        assert_eq!(closed_files(&path).unwrap(), expected);
    }

    /// Whoever reads a pipe waits for a writer that never comes.
    #[test]
    fn what_is_no_file_is_no_closed_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let name = |seq| Segment { seq, ..after(0) }.closed(&path);
        let made = std::process::Command::new("mkfifo").arg(name(0)).status();
        assert!(made.unwrap().success());
        std::fs::create_dir(name(1)).unwrap();
        let link = |target: &Path, name: &Path| std::os::unix::fs::symlink(target, name).unwrap();
        link(&name(0), &name(2));
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "").unwrap();
        link(&elsewhere, &name(3));
        link(&folder.path().join("none"), &name(4));
        let _socket = std::os::unix::net::UnixListener::bind(name(5)).unwrap();
        // where it leads nowhere, whoever opens it says so
        assert_eq!(closed_files(&path).unwrap(), [name(3), name(4)]);
    }
}
