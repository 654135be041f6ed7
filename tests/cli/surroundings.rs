//! The command line among other programs: readers that go, terminals, health checks.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::Folder;

#[test]
fn a_reader_that_goes_is_no_error() {
    let folder = Folder::new();
    let mut child = folder
        .program("schema policy")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!((status.code(), &*err), (Some(0), ""));
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let folder = Folder::new();
    // Not a terminal: no colours, whatever is set.
    for arguments in ["check good", "test good"] {
        let ended = folder.run(arguments);
        assert!(!ended.out.contains('\u{1b}'), "{}", ended.out);
    }
    // `script` gives it one. (util-linux; passed over elsewhere.)
    let program = env!("CARGO_BIN_EXE_portcullis");
    let on_a_terminal = |plain: &str| {
        let line = format!("{program} check good");
        let mut script = Command::new("script");
        script
            .args(["-qec", &line, "/dev/null"])
            .current_dir(folder.0.path());
        script.env("NO_COLOR", plain).stdin(Stdio::null());
        script
            .output()
            .ok()
            .filter(|o| o.status.success())
            .map(|o| o.stdout)
    };
    let (Some(coloured), Some(plain)) = (on_a_terminal(""), on_a_terminal("1")) else {
        return eprintln!("passed over: no `script` here");
    };
    assert!(
        coloured.starts_with(b"\x1b[32mok\x1b[0m 1 policies"),
        "{coloured:?}"
    );
    assert!(plain.starts_with(b"ok 1 policies"), "{plain:?}");
}

#[test]
fn health_is_asked_over_http() {
    let folder = Folder::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for status in ["200 OK", "503 Service Unavailable"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            // to its end: what is left unread when a connection closes resets it
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            heads.push(String::from_utf8(head).unwrap());
            // in one piece: who has read the status needs no more
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
        heads
    });
    folder.check(&format!("check --health http://{address}"), 0, "", "");
    let err = format!("portcullis: http://{address}/readyz: status 503");
    folder.check(
        &format!("check --health http://{address}/readyz"),
        1,
        "",
        &err,
    );
    let heads = served.join().unwrap();
    assert!(
        heads[0].starts_with(&format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n")),
        "{heads:?}"
    );
    assert!(heads[1].starts_with("GET /readyz HTTP/1.1\r\n"));
    let err = format!("portcullis: http://{address}/: Connection refused (os error 111)");
    folder.check(&format!("check --health http://{address}"), 1, "", &err);
    let err = "portcullis: expected a URL such as http://127.0.0.1:9901, found https://localhost/";
    folder.check("check --health https://localhost/", 1, "", err);
}
