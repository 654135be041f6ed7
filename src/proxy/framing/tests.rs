use super::*;

/// What a connection's bytes come to: heads that ended, the fault with its head's number, and how much of the bytes
/// may be handed on.
fn read(pieces: &[&[u8]]) -> (u64, Option<(u64, Fault)>, usize) {
    let heads = Heads::default();
    let mut framing = Framing::new(1024);
    let mut handed_on = 0;
    for piece in pieces {
        match framing.follow(piece, &heads) {
            Followed::All => handed_on += piece.len(),
            Followed::Broken(fine) => {
                handed_on += fine;
                break;
            }
        }
    }
    let ended = heads.ended.load(Ordering::Relaxed);
    let faulty = heads.faulty.load(Ordering::Relaxed);
    let fault = match heads.target.load(Ordering::Relaxed) {
        1 => Fault::TargetForm,
        _ => Fault::Framing,
    };
    (ended, (faulty > 0).then_some((faulty, fault)), handed_on)
}

/// The same however the bytes are cut; where a body breaks, no later than before its faulty line.
fn check(text: &str, ended: u64, fault: Option<(u64, Fault)>, broken: Option<usize>) {
    let bytes = text.as_bytes();
    let whole = read(&[bytes]);
    let expected = (ended, fault, broken.unwrap_or(bytes.len()));
    assert_eq!(whole, expected, "{text:?}");
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        let (heads, found, handed_on) = read(&[first, second]);
        assert_eq!((heads, found), (ended, fault), "{text:?} cut at {cut}");
        // A piece of a line goes on before its end tells that the line is wrong; hyper makes nothing of a piece.
        let least = broken.unwrap_or(bytes.len());
        let line_end = least + text.get(least..).unwrap().find('\n').unwrap_or(0);
        assert!(
            (least..=line_end.max(least)).contains(&handed_on),
            "{text:?} cut at {cut}: {handed_on}"
        );
    }
    let each: Vec<&[u8]> = bytes.chunks(1).collect();
    let (heads, found, _) = read(&each);
    assert_eq!((heads, found), (ended, fault), "{text:?} byte by byte");
}

const FINE: &[(&str, u64)] = &[
    ("", 0),
    ("GET / HT", 0),
    ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", 1),
    ("GET / HTTP/1.0\r\n\r\n", 1),
    (
        "\r\nGET / HTTP/1.1\r\n\r\n\r\nGET /b?c HTTP/1.1\r\nx:\r\n\r\n",
        2,
    ),
    (
        "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        2,
    ),
    (
        "POST / HTTP/1.1\r\nContent-Length:  5 \t\r\n\r\n#\n\n\r\rGET / HTTP/1.1\r\n\r\n",
        2,
    ),
    (
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\n\r\n\r\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        2,
    ),
    (
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n00a ; a = b;c;d=\"\\\"\t;\"\r\n0123456789\r\n000;x\r\na: b\r\nc:\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        2,
    ),
    (
        "POST / HTTP/1.1\r\ncontent-length: 999999999999999999\r\n\r\n\n\n",
        1,
    ),
];

#[test]
fn messages_follow_one_another() {
    for (text, heads) in FINE {
        check(text, *heads, None, None);
    }
}

const REQUEST_LINES: &[&str] = &[
    "GET / HTTP/1.1\n",
    "GET /\r\n",
    "GET  / HTTP/1.1\r\n",
    "GET / HTTP/1.1 \r\n",
    "GET / x HTTP/1.1\r\n",
    "GET\t/ HTTP/1.1\r\n",
    "GET /\t HTTP/1.1\r\n",
    " GET / HTTP/1.1\r\n",
    "GET  HTTP/1.1\r\n",
    "GET / HTTP/2.0\r\n",
    "GET / HTTP/1.2\r\n",
    "GET / HTTP/1.10\r\n",
    "GET / http/1.1\r\n",
    "G(T / HTTP/1.1\r\n",
    "GET /\r HTTP/1.1\r\n",
    "\nGET / HTTP/1.1\r\n",
    "\r\n\r\nGET / HTTP/1.1\r\n",
];

const FIELDS: &[&str] = &[
    "a: b\n",
    "a: b\n\n",
    "\n",
    " a: b\r\n",
    "a: b\r\n c: d\r\n",
    "a: b\r\n\tc\r\n",
    "a : b\r\n",
    "a\r\n",
    ": b\r\n",
    "a: \rb\r\n",
    "a: \0\r\n",
    "a: \x7f\r\n",
    "\u{e9}: b\r\n",
    "content-length: +5\r\n",
    "content-length: -0\r\n",
    "content-length: 05\r\n",
    "content-length: 0x5\r\n",
    "content-length: 5,5\r\n",
    "content-length: 5 5\r\n",
    "content-length:\r\n",
    "content-length: 5;a\r\n",
    "content-length: 1000000000000000000\r\n",
    "content-length: 5\r\ncontent-length: 5\r\n",
    "content-length: 0\r\nContent-Length: 0\r\n",
    "content-length: 5\r\ncontent-length: 6\r\n",
    "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    "transfer-encoding: identity\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "transfer-encoding: chunked, chunked\r\n",
    "transfer-encoding: chunked;a=b\r\n",
    "transfer-encoding: \"chunked\"\r\n",
    "transfer-encoding: \x0bchunked\r\n",
    "transfer-encoding: chunked,\r\n",
    "transfer-encoding:\r\n",
    "transfer-encoding\r\n",
];

#[test]
fn a_head_that_leaves_a_choice_is_told() {
    for line in REQUEST_LINES {
        check(line, 0, Some((1, Fault::Framing)), None);
    }
    for fields in FIELDS {
        let alone = format!("POST / HTTP/1.1\r\n{fields}");
        check(&alone, 0, Some((1, Fault::Framing)), None);
        let second = format!("POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc{alone}");
        check(&second, 1, Some((2, Fault::Framing)), None);
    }
    for target in ["/#", "/a#b", "#", "http://a/#b"] {
        let line = format!("GET {target} HTTP/1.1\r\n");
        check(&line, 0, Some((1, Fault::TargetForm)), None);
    }
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(1024));
    check(&long, 0, Some((1, Fault::Framing)), None);
    // A WebSocket's frames after the upgrade are no head, and aren't kept to wait for the end of one.
    check("\u{1}\u{2}ab", 0, Some((1, Fault::Framing)), None);
}

/// Bodies that break at the mark `|`.
const CHUNKS: &[&str] = &[
    "|\r\n",
    "|\n",
    "|x\r\n",
    "|-1\r\n",
    "|+1\r\n",
    "|0x1\r\n",
    "| 1\r\n",
    "|1\n",
    "|1 \r\n",
    "|1 a\r\n",
    "|1;\r\n",
    "|1; \r\n",
    "|1;a;\r\n",
    "|1;a=\r\n",
    "|1;a=\"\r\n",
    "|1;a=\"b\r\n",
    "|1;a=\"b\"c\r\n",
    "|1;a=\"\\\r\n",
    "|1;a b\r\n",
    "|1;a\n",
    "|1;a\rb\r\n",
    "|1111111111111111\r\n",
    "3\r\nabc|\n",
    "3\r\nabc|d\r\n",
    "3\r\nabc|\r\r\n",
    "3\r\nabc|0\r\n\r\n",
    "3\r\nabc\r\n|\r\n",
    "0\r\n|a\r\n",
    "0\r\n| a: b\r\n",
    "0\r\na: b\r\n| c\r\n",
    "0\r\n|a : b\r\n",
    "0\r\n|\n",
    "0\r\na: b\r\n|\n",
];

#[test]
fn a_body_ends_where_its_framing_breaks() {
    let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunks in CHUNKS {
        let at = head.len() + chunks.find('|').unwrap();
        let text = format!("{head}{}", chunks.replacen('|', "", 1));
        let bytes = text.as_bytes();
        assert_eq!(read(&[bytes]), (1, None, at), "{text:?}");
        check(&text, 1, None, Some(at));
    }
    let long = format!("{head}1;{}\r\n", "a".repeat(5000));
    assert_eq!(read(&[long.as_bytes()]), (1, None, head.len()));
}

#[test]
fn each_request_is_served_by_a_head_that_was_seen() {
    let heads = Heads::default();
    let mut framing = Framing::new(1024);
    // hyper never tells of a request whose bytes have not passed; if it did, it would be refused.
    assert_eq!(heads.serve(), Err(Fault::Framing));
    let two = b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET /#a HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    assert_eq!(framing.follow(two, &heads), Followed::All);
    let turns = [(); 4].map(|()| heads.serve());
    assert_eq!(
        turns,
        [
            Ok(()),
            Err(Fault::TargetForm),
            Err(Fault::Framing),
            Err(Fault::Framing),
        ]
    );
}
