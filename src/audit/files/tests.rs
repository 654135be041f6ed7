//! A log whose files change while they are opened and while they are read.

use std::fs;
use std::io::Write as _;

use super::*;

/// A log of which each file holds two records.
struct Log {
    folder: tempfile::TempDir,
    seq: u64,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Rotate,
    Compress,
    Remove,
    /// A rotation ended halfway: the current file has both names.
    Link,
    /// By another tool: there is no current file for a while.
    MoveAway,
}

impl Log {
    /// Files that begin with 1, 3, 5 and 7; the second is compressed.
    fn new() -> Log {
        let mut log = Log {
            folder: tempfile::tempdir().unwrap(),
            seq: 0,
        };
        fs::write(log.path(), log.next()).unwrap();
        for _ in 0..3 {
            log.change(Change::Rotate);
        }
        log.compress(&log.closed(3));
        log
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    fn closed(&self, first: u64) -> PathBuf {
        suffixed(&self.path(), &format!(".{first:016}"))
    }

    fn next(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..2 {
            self.seq += 1;
            let seq = self.seq;
            text += &format!(
                "{{\"v\":1,\"kind\":\"event\",\"node\":\"n1\",\"seq\":{seq},\"at\":\"2026-11-22T09:00:00.000000Z\",\"event\":\"stop\"}}\n"
            );
        }
        text
    }

    fn compress(&self, file: &Path) {
        let staged = suffixed(file, ".gz.tmp");
        let to = File::create(&staged).unwrap();
        let mut gz = flate2::write::GzEncoder::new(to, flate2::Compression::fast());
        gz.write_all(&fs::read(file).unwrap()).unwrap();
        gz.finish().unwrap();
        fs::rename(staged, suffixed(file, COMPRESSED)).unwrap();
        fs::remove_file(file).unwrap();
    }

    fn change(&mut self, change: Change) {
        let current = self.closed(self.seq - 1);
        match change {
            Change::Rotate => {
                let _linked_already = fs::hard_link(self.path(), current);
                let staged = self.folder.path().join("staged");
                fs::write(&staged, self.next()).unwrap();
                fs::rename(staged, self.path()).unwrap();
            }
            Change::Compress => {
                for file in closed_files(&self.path()).unwrap() {
                    if !file.as_os_str().as_encoded_bytes().ends_with(b".gz") {
                        self.compress(&file);
                    }
                }
            }
            Change::Remove => {
                if let Some(oldest) = closed_files(&self.path()).unwrap().first() {
                    fs::remove_file(oldest).unwrap();
                }
            }
            Change::Link => {
                let _linked_already = fs::hard_link(self.path(), current);
            }
            Change::MoveAway => fs::rename(self.path(), current).unwrap(),
        }
    }
}

fn numbers(parts: &[Part]) -> Vec<u64> {
    let mut found = Vec::new();
    for part in parts {
        let mut input = part.open().unwrap();
        let mut lines = Lines::default();
        while let Some(line) = lines.next(&mut input).unwrap() {
            found.push(View::parse(str::from_utf8(line.text).unwrap()).unwrap().seq);
        }
    }
    found
}

#[test]
fn no_record_is_missed_or_twice_whenever_the_files_change() {
    use Change::*;
    for changes in [
        &[Rotate][..],
        &[Rotate, Rotate],
        &[Compress],
        &[Remove],
        &[Remove, Remove, Remove],
        &[Link],
        &[MoveAway],
        &[Rotate, Compress, Remove],
        &[Compress, Rotate, Rotate, Remove],
    ] {
        for at in 1.. {
            let mut log = Log::new();
            let path = log.path();
            let mut calls = 0;
            let parts = parts_while(&path, &mut || {
                calls += 1;
                if calls == at {
                    changes.iter().for_each(|change| log.change(*change));
                }
            });
            let parts = parts.unwrap();
            if calls < at {
                break;
            }
            // and while they are read
            for change in [Compress, Remove, Remove] {
                log.change(change);
            }
            let found = numbers(&parts);
            let first = found.first().copied().unwrap_or_default();
            assert!(
                [1, 3, 5, 7].contains(&first),
                "{changes:?} at {at}: {found:?}"
            );
            let last = found.last().copied().unwrap_or_default();
            assert!(last >= 8 && last % 2 == 0, "{changes:?} at {at}: {found:?}");
            let whole: Vec<u64> = (first..=last).collect();
            assert_eq!(found, whole, "{changes:?} at {at}");
        }
    }
}

#[test]
fn a_log_that_never_rests_is_not_half_listed() {
    let log = Log::new();
    let path = log.path();
    let never = parts_while(&path, &mut || {
        let staged = path.with_extension("staged");
        fs::write(&staged, "").unwrap();
        fs::rename(staged, &path).unwrap();
    });
    let error = never.unwrap_err().to_string();
    assert!(
        error.ends_with("its files change faster than they can be opened"),
        "{error}"
    );
}

#[test]
fn more_files_than_may_be_open() {
    let mut log = Log::new();
    for _ in 0..HELD + 5 {
        log.change(Change::Rotate);
    }
    let parts = parts(&log.path()).unwrap();
    assert_eq!(
        parts.iter().filter(|part| part.held.is_some()).count(),
        HELD + 1
    );
    log.change(Change::Compress);
    assert_eq!(numbers(&parts), (1..=log.seq).collect::<Vec<_>>());
}

#[test]
fn what_is_not_there_is_told_where_it_is_read() {
    let log = Log::new();
    let gone = log.closed(6);
    std::os::unix::fs::symlink(log.path().with_file_name("none"), &gone).unwrap();
    let parts = parts(&log.path()).unwrap();
    let unread: Vec<_> = parts.iter().filter(|part| part.open().is_err()).collect();
    assert_eq!((parts.len(), unread.len()), (5, 1));
    assert_eq!(unread[0].path, gone);
    fs::remove_file(log.path()).unwrap();
    assert!(
        super::parts(&log.path()).unwrap().len() == 4,
        "only closed ones"
    );
    let none = super::parts(&log.path().with_file_name("other.jsonl"));
    assert_eq!(none.unwrap_err().source.kind(), ErrorKind::NotFound);
}
