//! Real files, and whatever is done to them between two looks.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use super::*;
use crate::audit::segment::{Segment, suffixed};

struct Log {
    _folder: tempfile::TempDir,
    path: PathBuf,
    follow: Option<Follow>,
}

fn line(seq: u64) -> String {
    format!(
        r#"{{"v":1,"kind":"event","node":"n","seq":{seq},"at":"2026-11-21T09:00:00.000000Z","event":"stop"}}"#
    )
}

fn header(seq: u64) -> String {
    let segment = Segment::first("n");
    segment
        .line()
        .unwrap()
        .replace("\"seq\":0", &format!("\"seq\":{seq}"))
}

impl Log {
    fn with(text: &str) -> Log {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, text).unwrap();
        Log {
            follow: Some(Follow::open(&path).unwrap()),
            _folder: folder,
            path,
        }
    }

    fn append(&self, text: &str) {
        append(&self.path, text);
    }

    /// What a rotation does.
    fn rotate(&self, first: u64) -> PathBuf {
        let closed = suffixed(&self.path, &format!(".{first:016}"));
        fs::rename(&self.path, &closed).unwrap();
        closed
    }

    /// The numbers of the lines that came, headers left out, and what happened.
    fn look(&mut self) -> (Vec<u64>, Vec<Change>) {
        let mut seqs = Vec::new();
        let changes = self
            .follow
            .as_mut()
            .unwrap()
            .poll(&mut |line| {
                seqs.extend(seq(line.text));
                Ok(())
            })
            .unwrap();
        (seqs, changes)
    }

    fn last(&self, most: usize) -> Vec<u64> {
        let follow = Follow::open(&self.path).unwrap();
        let lines = follow.last(most, |line| seq(line.text).is_some()).unwrap();
        lines.iter().map(|line| seq(line).unwrap()).collect()
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// `None` of a header; 0 of what isn't a record.
fn seq(line: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    let seq = value["seq"].as_u64().unwrap_or_default();
    (value["kind"] != "segment").then_some(seq)
}

fn lines(seqs: std::ops::RangeInclusive<u64>) -> String {
    seqs.map(|seq| line(seq) + "\n").collect()
}

fn compress(path: &Path) {
    let file = fs::File::create(suffixed(path, ".gz")).unwrap();
    let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gz.write_all(&fs::read(path).unwrap()).unwrap();
    gz.finish().unwrap();
    fs::remove_file(path).unwrap();
}

#[test]
fn half_a_line_waits_for_its_end() {
    let mut log = Log::with(&lines(1..=2));
    assert_eq!(log.look(), (vec![], vec![]));
    let three = line(3);
    let (begin, end) = three.split_at(30);
    log.append(begin);
    assert_eq!(log.look(), (vec![], vec![]));
    log.append(end);
    assert_eq!(log.look(), (vec![], vec![]));
    log.append("\n");
    log.append(&lines(4..=5));
    assert_eq!(log.look(), (vec![3, 4, 5], vec![]));

    // the writer takes back what it could write in part only
    log.append(begin);
    assert_eq!(log.look(), (vec![], vec![]));
    let file = OpenOptions::new().write(true).open(&log.path).unwrap();
    file.set_len(lines(1..=5).len() as u64).unwrap();
    assert_eq!(log.look(), (vec![], vec![]));
    log.append(&lines(6..=6));
    assert_eq!(log.look(), (vec![6], vec![]));
}

#[test]
fn a_file_that_begins_within_a_line_is_read_from_that_line_on() {
    let two = line(2);
    let (begin, end) = two.split_at(9);
    let mut log = Log::with(&(lines(1..=1) + begin));
    log.append(&format!("{end}\n"));
    assert_eq!(log.look(), (vec![2], vec![]));
}

#[test]
fn the_rest_of_a_rotated_file_comes_before_the_new_one() {
    let mut log = Log::with(&lines(1..=1));
    log.append(&lines(2..=2));
    let closed = log.rotate(1);
    // while nothing is at the path, or nothing in it, the old file may still grow
    assert_eq!(log.look(), (vec![2], vec![]));
    append(&closed, &lines(3..=3));
    log.append("");
    assert_eq!(log.look(), (vec![3], vec![]));
    append(&closed, &lines(4..=4));
    log.append(&format!("{}\n{}", header(4), lines(5..=5)));
    assert_eq!(log.look(), (vec![4, 5], vec![Change::Next]));
    log.append(&lines(6..=6));
    assert_eq!(log.look(), (vec![6], vec![]));
}

#[test]
fn files_that_came_and_went_between_two_looks_are_read() {
    for compressed in [false, true] {
        let mut log = Log::with(&format!("{}\n{}", header(0), lines(1..=1)));
        log.append(&lines(2..=2));
        let one = log.rotate(1);
        log.append(&format!("{}\n{}", header(2), lines(3..=4)));
        let two = log.rotate(3);
        log.append(&lines(5..=5)); // without a header
        let three = log.rotate(5);
        log.append(&format!("{}\n{}", header(5), lines(6..=6)));
        if compressed {
            [one, two, three].iter().for_each(|path| compress(path));
        }
        assert_eq!(log.look(), (vec![2, 3, 4, 5, 6], vec![Change::Next]));
        log.append(&lines(7..=7));
        assert_eq!(log.look(), (vec![7], vec![]));
    }
}

#[test]
fn a_file_that_is_removed_or_moved_elsewhere_is_read_to_its_end() {
    let mut log = Log::with(&lines(1..=1));
    log.append(&lines(2..=2));
    fs::remove_file(&log.path).unwrap();
    assert_eq!(log.look(), (vec![2], vec![]));
    assert_eq!(log.look(), (vec![], vec![]));
    log.append(&lines(3..=3));
    assert_eq!(log.look(), (vec![3], vec![Change::Next]));

    log.append(&(lines(4..=4) + line(5).split_at(20).0));
    fs::rename(&log.path, log.path.with_extension("elsewhere")).unwrap();
    log.append(&lines(5..=5));
    assert_eq!(log.look(), (vec![4, 5], vec![Change::Half, Change::Next]));
}

#[test]
fn a_file_that_is_emptied_is_read_from_its_beginning() {
    let mut log = Log::with(&lines(1..=5));
    fs::write(&log.path, "").unwrap();
    assert_eq!(log.look(), (vec![], vec![Change::Emptied]));
    log.append(&lines(6..=6));
    assert_eq!(log.look(), (vec![6], vec![]));
    // shorter, as long, and longer than it was
    for seqs in [7..=7, 8..=8, 9..=30] {
        log.append(&lines(6..=6));
        log.look();
        fs::write(&log.path, lines(seqs.clone())).unwrap();
        let (came, changes) = log.look();
        assert_eq!(changes, [Change::Emptied], "{seqs:?}");
        assert_eq!(came, seqs.collect::<Vec<u64>>());
    }
    let same = fs::read(&log.path).unwrap();
    fs::write(&log.path, same).unwrap();
    assert_eq!(log.look(), (vec![], vec![]));
}

#[test]
fn a_line_longer_than_any_record_is_passed_over() {
    let mut log = Log::with("");
    let piece = "x".repeat(3 << 20);
    for _ in 0..3 {
        log.append(&piece);
        assert_eq!(log.look(), (vec![], vec![]));
    }
    log.append("\n");
    log.append(&lines(1..=1));
    assert_eq!(log.look(), (vec![0, 1], vec![]));
}

#[test]
fn the_last_lines_are_found_from_the_end() {
    let many = 30_000;
    let log = Log::with(&(lines(1..=many) + "half"));
    assert!(lines(1..=many).len() as u64 > 2 * WINDOW);
    for most in [0, 1, 10, 15_000, 29_999, 30_000, 40_000] {
        let first = (many + 1).saturating_sub(most as u64).max(1);
        assert_eq!(log.last(most), (first..=many).collect::<Vec<_>>(), "{most}");
    }
    let follow = Follow::open(&log.path).unwrap();
    assert_eq!(follow.rest().unwrap(), b"half");
    // what is seldom is looked for further back
    let wanted = |line: &Line<'_>| seq(line.text) == Some(3);
    assert_eq!(follow.last(1, wanted).unwrap(), [line(3).into_bytes()]);
}

#[test]
fn the_last_lines_reach_into_rotated_files() {
    let log = Log::with(&format!("{}\n{}", header(0), lines(1..=3)));
    let one = log.rotate(1);
    log.append(&format!("{}\n{}", header(3), lines(4..=6)));
    log.rotate(4);
    compress(&one);
    log.append(&format!("{}\n", header(6)));
    assert_eq!(log.last(2), [5, 6]);
    log.append(&lines(7..=7));
    assert_eq!(log.last(2), [6, 7]);
    assert_eq!(log.last(5), [3, 4, 5, 6, 7]);
    assert_eq!(log.last(50), [1, 2, 3, 4, 5, 6, 7]);
    assert!(Follow::open(&suffixed(&one, ".gz")).is_err());
}

/// A writer and a reader at once: whatever the moment of a look, each line comes once and in order.
#[test]
fn nothing_is_lost_or_doubled_under_a_writer_that_rotates() {
    let mut log = Log::with(&format!("{}\n", header(0)));
    let path = log.path.clone();
    let writer = std::thread::spawn(move || {
        let mut first = 1;
        for seq in 1..=3_000_u64 {
            let text = line(seq) + "\n";
            let (one, two) = text.split_at(seq as usize % text.len());
            append(&path, one);
            append(&path, two);
            if seq % 37 == 0 {
                let staged = suffixed(&path, ".new");
                fs::write(&staged, header(seq) + "\n").unwrap();
                let closed = suffixed(&path, &format!(".{first:016}"));
                fs::hard_link(&path, &closed).unwrap();
                fs::rename(&staged, &path).unwrap();
                first = seq + 1;
                if seq % 2 == 0 {
                    compress(&closed);
                }
            }
        }
    });
    let mut came = Vec::new();
    loop {
        // before the look, or what comes between is missed
        let done = writer.is_finished();
        let (seqs, changes) = log.look();
        let next = |change: &Change| *change == Change::Next;
        assert!(changes.iter().all(next), "{changes:?}");
        if done && seqs.is_empty() {
            break;
        }
        came.extend(seqs);
    }
    writer.join().unwrap();
    let wrong = came.iter().zip(1..).find(|(came, due)| **came != *due);
    assert_eq!((wrong, came.len()), (None, 3_000));
}
