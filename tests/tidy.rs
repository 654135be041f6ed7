//! What must be absent where (ARCHITECTURE.md), read off the source.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use portcullis::policy::matcher::Matcher;
use portcullis::policy::source::POLICY_KEYS;
use portcullis::policy::{Fault, Reason};

/// Every Rust file under a folder of `src`, but for test modules, without its `#[cfg(test)]` tail.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|e| e == "rs") && !is_test(&path) {
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default()
                .to_owned();
            found.push((path, code));
        }
    }
    found.sort();
    found
}

fn is_test(path: &Path) -> bool {
    path.components().any(|c| c.as_os_str() == "tests")
        || path.file_name().is_some_and(|n| n == "tests.rs")
}

/// Code without comments, line by line with its number.
fn lines(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    code.enumerate().map(|(n, line)| (n + 1, line))
}

/// The words of a line: `tokio::spawn(async` has `tokio`, `spawn`, `async`.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

#[test]
fn the_policy_core_does_no_io_has_no_async_and_reads_no_clock() {
    let absent = [
        "tokio",
        "hyper",
        "async",
        "await",
        "fs",
        "env",
        "net_io",
        "Instant",
        "SystemTime",
        "TcpStream",
        "File",
        "stdin",
        "thread",
        "println",
    ];
    let mut found = Vec::new();
    let core = sources("src/policy");
    assert!(core.len() > 15, "the core was found");
    for (path, code) in core.iter().chain(&[(
        PathBuf::from("src/policy.rs"),
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy.rs")).unwrap(),
    )]) {
        for (n, line) in lines(code) {
            for word in words(line).filter(|word| absent.contains(word)) {
                found.push(format!("{}:{n}: {word}", path.display()));
            }
            if line.contains("Timestamp::now") || line.contains("Zoned::now") {
                found.push(format!("{}:{n}: reads the clock", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_decide_makes_a_permit() {
    let made = |line: &str| {
        let bare = line
            .replace("Effect::Permit", "")
            .replace("Verdict::Permit", "");
        let signature = ["struct ", "impl ", "-> "]
            .iter()
            .any(|word| line.contains(word));
        bare.contains("Permit {") && words(&bare).any(|word| word == "Permit") && !signature
    };
    let mut places = Vec::new();
    for (path, code) in sources("src") {
        for (n, line) in lines(&code).filter(|(_, line)| made(line)) {
            places.push(format!("{}:{n}: {}", path.display(), line.trim()));
        }
    }
    assert!(!places.is_empty(), "the place was found");
    assert!(
        places
            .iter()
            .all(|place| place.contains("src/policy/decide.rs")),
        "{}",
        places.join("\n")
    );
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    // One is the reading of one form, the other one table and its tests.
    let known = ["src/policy/source.rs", "src/proxy/respond.rs"];
    let long: Vec<String> = sources("src")
        .into_iter()
        .map(|(path, code)| (path, code.lines().count()))
        .filter(|(path, count)| *count > 500 && !known.iter().any(|k| path.ends_with(k)))
        .map(|(path, count)| format!("{}: {count} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn nothing_is_left_open() {
    for (path, code) in sources("src") {
        for mark in ["todo!", "unimplemented!", "FIXME", "XXX"] {
            assert!(!code.contains(mark), "{} holds {mark}", path.display());
        }
        assert!(
            !code.contains("#[allow("),
            "{} silences a lint without a reason",
            path.display()
        );
    }
}

#[test]
fn the_documents_name_every_reason_detail_key_and_operator() {
    let read =
        |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (denials, policies) = (read("docs/denials.md"), read("docs/policies.md"));
    let codes = Reason::ALL
        .iter()
        .map(|r| r.code())
        .chain(Fault::ALL.iter().map(|f| f.code()));
    let missing: Vec<&str> = codes
        .filter(|code| !denials.contains(&format!("| `{code}` |")))
        .chain(
            POLICY_KEYS
                .iter()
                .copied()
                .filter(|key| !policies.contains(&format!("`{key}`"))),
        )
        .chain(
            Matcher::operators()
                .iter()
                .copied()
                .filter(|op| !policies.contains(&format!("`{op}`"))),
        )
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// `path`, or `path: function, function`, with `*` for whatever; paths stand below the package or its `src`.
#[test]
fn the_documents_name_files_and_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    let mut missing = Vec::new();
    for document in ["ARCHITECTURE.md", "SECURITY.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let code = text.split('`').skip(1).step_by(2);
        for name in code.filter(|code| code.contains('/') || code.contains(".rs")) {
            let (path, functions) = name.split_once(": ").unwrap_or((name, ""));
            let path = path.split(['*', '{']).next().unwrap();
            let found = [root.join(path), root.join("src").join(path)]
                .into_iter()
                .find(|path| path.exists());
            let Some(found) = found else {
                missing.push(format!("{document}: {name}"));
                continue;
            };
            named += 1;
            let functions = functions
                .split(", ")
                .filter(|function| !function.is_empty());
            let code = fs::read_to_string(&found).unwrap_or_default();
            let absent = functions.filter(|function| !code.contains(&format!("fn {function}(")));
            missing.extend(absent.map(|function| format!("{document}: {path}: {function}")));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(named > 60, "{named}");
}
