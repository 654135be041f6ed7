//! What holds for any path, and what other parsers say.

use proptest::prelude::*;

use super::*;

/// Every text that an upstream might come to by decoding, cutting parameters and splitting, however often: a
/// cruder way to the same end than the readings.
fn dots_by_some_detour(path: &str) -> bool {
    let mut texts = vec![path.to_owned()];
    for _ in 0..4 {
        let last = texts.last().unwrap();
        let mut next = Vec::new();
        let mut i = 0;
        while i < last.len() {
            let byte =
                path::escaped_byte(last.as_bytes(), i).filter(|_| last.as_bytes()[i] == b'%');
            next.push(byte.unwrap_or(last.as_bytes()[i]));
            i += if byte.is_some() { 3 } else { 1 };
        }
        texts.push(String::from_utf8_lossy(&next).into_owned());
    }
    texts.iter().any(|text| {
        text.split(['/', '\\']).any(|segment| {
            let cut = segment.split(';').next().unwrap();
            [segment, cut].iter().any(|s| matches!(*s, "." | ".."))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn canonical_is_idempotent_and_free_of_dot_segments(
        path in "/(/|\\.|%2[eEfF5]|%25|%3b|;|a|2|e|f|F|5|%5c|%c3%a9|%61|%20|c){0,12}",
    ) {
        if let Ok(canonical) = of_path(&path) {
            let again = of_path(canonical.path()).unwrap();
            prop_assert_eq!(again.path(), canonical.path());
            prop_assert_eq!(again.readings(), canonical.readings());
            prop_assert_eq!(again.uses(), canonical.uses());
            let segments: Vec<_> = (0..canonical.segments()).map(|i| canonical.segment(i)).collect();
            prop_assert_eq!(segments, (0..again.segments()).map(|i| again.segment(i)).collect::<Vec<_>>());
            prop_assert!(!dots_by_some_detour(&path), "{}", path);
            for piece in canonical.readings().iter().flat_map(|r| &r.pieces) {
                prop_assert!(!matches!(&*piece.text, "." | ".."), "{} {:?}", path, piece);
            }
            prop_assert_eq!(canonical.readings().is_empty(), canonical.uses() == Opaque::default());
        }
    }

    #[test]
    fn a_path_is_its_segments(path in "/[a/]{0,8}") {
        let canonical = of_path(&path).unwrap();
        let segments: Vec<_> = (0..canonical.segments()).map(|i| canonical.segment(i)).collect();
        let end = if canonical.trailing_slash() { "/" } else { "" };
        prop_assert_eq!(format!("/{}{}", segments.join("/"), end), path);
    }

    #[test]
    fn nothing_panics(method in ".{0,8}", host in ".{0,20}", path in "/.{0,40}", query in ".{0,40}") {
        let _ = Canonical::new(&method, &host, &path, Some(&query));
        let parsed = Query::parse(Some(&query));
        for name in parsed.names() {
            let _ = parsed.value(name);
        }
    }
}

/// The WHATWG URL standard's cases as an oracle: a path or host that we take is one that browsers read the same way.
#[test]
#[expect(
    clippy::print_stderr,
    reason = "the figures, and that it was passed over"
)]
fn whatwg_reads_what_we_accept_alike() {
    let folder = std::env::var("PORTCULLIS_VECTORS").unwrap_or_else(|_| "../shared/vectors".into());
    let Ok(text) = std::fs::read_to_string(format!("{folder}/url/urltestdata.json")) else {
        eprintln!("passed over: no {folder}/url/urltestdata.json");
        return;
    };
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let (mut paths, mut hosts, mut refused) = (0, 0, 0);
    for case in &cases {
        let text = |key: &str| case[key].as_str();
        let (Some(input), Some(pathname)) = (text("input"), text("pathname")) else {
            continue;
        };
        if !matches!(text("protocol"), Some("http:" | "https:")) {
            continue;
        }
        let rest = ["http://", "https://"]
            .iter()
            .find_map(|scheme| input.strip_prefix(scheme))
            .or_else(|| input.starts_with('/').then_some(input));
        let Some(rest) = rest else { continue };
        let (host, target) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        let path = target.split(['?', '#']).next().unwrap();
        if let Ok(ours) = Canonical::new("GET", host, "/", None) {
            assert_eq!(Some(ours.host()), text("hostname"), "{input}");
            hosts += 1;
        }
        match of_path(path)
            .ok()
            .filter(|ours| ours.uses() == Opaque::default())
        {
            Some(ours) => {
                let theirs = of_path(pathname).unwrap_or_else(|fault| panic!("{input}: {fault}"));
                assert_eq!(ours.path(), theirs.path(), "{input}");
                paths += 1;
            }
            None => refused += 1,
        }
    }
    eprintln!("{paths} paths and {hosts} hosts read alike, {refused} paths refused");
    assert!(paths > 30 && hosts > 30);
}
