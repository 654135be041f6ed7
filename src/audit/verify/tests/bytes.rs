//! Every byte of a small log and of its checkpoints changed in every way that is worth it, and random harm.

use std::io::Read as _;

use proptest::prelude::*;

use super::*;

/// What a byte is changed into: one that looks alike, the other case, no ASCII, the end of a line or of a text.
fn bent(byte: u8) -> impl Iterator<Item = u8> {
    let all = [byte ^ 1, byte ^ 0x20, byte ^ 0x80, b'\n', b'"'];
    all.into_iter().filter(move |other| *other != byte)
}

#[test]
fn every_byte_of_every_file_changed_is_found_where_it_is() {
    let log = Log::small();
    let folder = Folder::new();
    let whole = log.lines();
    for (file, content) in whole.iter().enumerate() {
        folder.put(&whole, log.checkpoints.as_bytes());
        let name = NAMES[file];
        let write = |bytes: &[u8]| match name.ends_with(".gz") {
            true => folder.write(name, &gzip(bytes)),
            false => folder.write(name, bytes),
        };
        let mut line = 1;
        for at in 0..content.len() {
            for byte in bent(content[at]) {
                let mut bytes = content.clone();
                bytes[at] = byte;
                write(&bytes);
                let report = folder.verify();
                let what = format!(
                    "{name}:{line} byte {at} {:?} to {:?}: {:#?}",
                    content[at] as char, byte as char, report.findings
                );
                assert!(!report.findings.is_empty(), "{what}");
                // the line, or the record in it, is named by one of the findings
                let seq = (line > 1).then(|| [0, 5, 9][file] + line - 1);
                let named = report.findings.iter().any(|found| {
                    let here = found
                        .file
                        .as_deref()
                        .is_some_and(|path| path.ends_with(name));
                    let record = seq.is_some_and(|seq| {
                        found
                            .records
                            .is_some_and(|(from, to)| (from..=to).contains(&seq))
                    });
                    record || (here && found.line == line)
                });
                assert!(named, "{what}");
                // and few others
                assert!(report.findings.len() <= 3, "{what}");
            }
            line += u64::from(content[at] == b'\n');
        }
    }
}

#[test]
fn every_byte_of_a_compressed_file_changed_is_found_or_means_nothing() {
    let log = Log::small();
    let folder = Folder::new();
    let whole = log.lines();
    folder.put(&whole, log.checkpoints.as_bytes());
    let packed = gzip(&whole[1]);
    for at in 0..packed.len() {
        for byte in bent(packed[at]) {
            let mut bytes = packed.clone();
            bytes[at] = byte;
            folder.write(NAMES[1], &bytes);
            let report = folder.verify();
            let mut same = Vec::new();
            let read = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut same);
            let unchanged = read.is_ok() && same == whole[1];
            assert_eq!(
                report.findings.is_empty(),
                unchanged,
                "{at}: {:#?}",
                report.findings
            );
        }
    }
    for cut in 0..packed.len() {
        folder.write(NAMES[1], &packed[..cut]);
        assert!(!folder.verify().findings.is_empty(), "{cut}");
    }
}

#[test]
fn every_byte_of_the_checkpoints_changed_is_told_and_does_not_blame_the_log() {
    let log = Log::small();
    let folder = Folder::new();
    folder.put(&log.lines(), b"");
    let whole = log.checkpoints.as_bytes();
    for at in 0..whole.len() {
        for byte in bent(whole[at]) {
            let mut bytes = whole.to_vec();
            bytes[at] = byte;
            folder.write("audit.checkpoints", &bytes);
            let report = folder.verify();
            assert!(
                !report.findings.is_empty(),
                "{at} {:?} to {:?}",
                whole[at] as char,
                byte as char
            );
            for found in &report.findings {
                let kind = matches!(found.kind, Kind::Checkpoint | Kind::WrongKey);
                let here = found
                    .file
                    .as_deref()
                    .is_some_and(|path| path.ends_with("audit.checkpoints"));
                assert!(kind && here, "{at}: {:#?}", report.findings);
            }
            // the others still count
            assert!(
                report.signed.unwrap().agree >= 3,
                "{at}: {:#?}",
                report.findings
            );
        }
    }
}

#[derive(Clone, Debug)]
enum Harm {
    Remove(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Double(prop::sample::Index, prop::sample::Index),
    Bend(prop::sample::Index, prop::sample::Index, u8),
    Break(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, String),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Harm::Remove),
        (at(), at()).prop_map(|(a, b)| Harm::Swap(a, b)),
        (at(), at()).prop_map(|(a, b)| Harm::Double(a, b)),
        (at(), at(), 1..=255_u8).prop_map(|(a, b, c)| Harm::Bend(a, b, c)),
        (at(), at()).prop_map(|(a, b)| Harm::Break(a, b)),
        (at(), "[ -~]{0,40}|\\{\"v\":1,\"kind\":\"event\",\"node\":\"n1\",\"seq\":[0-9]{1,20},\"prev\":\"0{64}\",\"x\":1\\}")
            .prop_map(|(a, text)| Harm::Insert(a, text)),
    ]
}

fn apply(lines: &mut Vec<Vec<u8>>, harm: &Harm) {
    if lines.is_empty() {
        return;
    }
    let count = lines.len();
    match harm {
        Harm::Remove(at) => {
            lines.remove(at.index(count));
        }
        Harm::Swap(a, b) => lines.swap(a.index(count), b.index(count)),
        Harm::Double(a, b) => {
            let copy = lines[a.index(count)].clone();
            lines.insert(b.index(count + 1), copy);
        }
        Harm::Bend(a, b, mask) => {
            let line = &mut lines[a.index(count)];
            if !line.is_empty() {
                let at = b.index(line.len());
                line[at] ^= mask;
            }
        }
        Harm::Break(a, b) => {
            let line = lines[a.index(count)].clone();
            let (left, right) = line.split_at(b.index(line.len() + 1));
            lines[a.index(count)] = left.to_vec();
            lines.insert(a.index(count) + 1, right.to_vec());
        }
        Harm::Insert(a, text) => lines.insert(a.index(count + 1), text.clone().into_bytes()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn whatever_is_done_is_found(harms in prop::collection::vec((0..3_usize, harm()), 1..6)) {
        let log = Log::small();
        let whole = log.lines();
        let mut files: Vec<Vec<Vec<u8>>> = whole
            .iter()
            .map(|content| content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
            .collect();
        for (file, harm) in &harms {
            apply(&mut files[*file], harm);
        }
        let contents: Vec<Vec<u8>> = files.iter().map(|lines| lines.join(&b'\n')).collect();
        let folder = Folder::new();
        folder.put(&contents, log.checkpoints.as_bytes());
        let report = folder.verify();
        // what a crash leaves at the end is told, and the record before it counts
        let end = contents[2].strip_prefix(&whole[2][..whole[2].len() - 1]);
        let torn = contents[..2] == whole[..2] && end.is_some_and(|end| !end.get(1..).unwrap_or_default().contains(&b'\n'));
        prop_assert!(contents == whole || torn || !report.findings.is_empty(), "{:?}", report.notes);
        prop_assert!(contents != whole || report.findings.is_empty());
    }
}
