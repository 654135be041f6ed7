//! Heads that are too many, too large, or larger than they look.

use std::io::Write;
use std::time::Instant;

use crate::frames::{
    CONTINUATION, Client, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, bare, field, frame,
    head, indexed,
};
use crate::world::{PATIENCE, World, counted, of_kind};

const ENHANCE_YOUR_CALM: u32 = 11;

fn status(answer: &str) -> &str {
    answer.get(..12).unwrap_or(answer)
}

#[test]
fn http1_heads_are_bounded_in_number_and_size() {
    let world = World::new("");
    world.within(24, "heads that are too large", || {
        let many = |count: usize| {
            let fields: String = (0..count).map(|n| format!("x-{n}: y\r\n")).collect();
            World::head("GET /items/1", &format!("connection: close\r\n{fields}"))
        };
        assert_eq!(status(&world.raw(many(90))), "HTTP/1.1 200");
        assert_eq!(status(&world.raw(many(10_000))), "HTTP/1.1 431");
        for large in [
            format!(
                "GET /open HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
                "x".repeat(1 << 20)
            ),
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(1 << 20)),
            format!(
                "GET /open?{} HTTP/1.1\r\nhost: a\r\n\r\n",
                "a=b&".repeat(1 << 18)
            ),
            format!("{} /open HTTP/1.1\r\nhost: a\r\n\r\n", "G".repeat(1 << 20)),
            format!(
                "GET /open HTTP/1.1\r\nhost: {}\r\n\r\n",
                "a".repeat(1 << 20)
            ),
            format!(
                "GET /open HTTP/1.1\r\nhost: a\r\n{}: b\r\n\r\n",
                "a".repeat(1 << 20)
            ),
            "\r\n".repeat(1 << 19),
        ] {
            let answer = world.raw(&large);
            let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
            assert!(refused, "{}: {answer}", &large[..40]);
        }
        // Without an end, for as long as it is taken.
        let mut stream = world.connect();
        stream
            .write_all(b"GET /open HTTP/1.1\r\nhost: a\r\nx: ")
            .unwrap();
        while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    let records = world.close();
    assert!(counted(&records, "parser") > 0);
    assert_eq!(
        of_kind(&records, "outcome").len(),
        8 + 1 + 1,
        "the one of 90 fields"
    );
}

#[test]
fn trailers_are_bounded() {
    let world = World::new("");
    world.within(24, "floods of trailers", || {
        for path in ["POST /items", "PUT /files/f"] {
            for trailer in [
                "x: y\r\n",
                "x-a-longer-name: and-a-longer-value-in-it-as-well\r\n",
                "x",
            ] {
                let more = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
                let mut stream = world.connect();
                stream
                    .write_all(World::head(path, more).as_bytes())
                    .unwrap();
                stream
                    .write_all(b"d\r\n{\"name\":\"ok\"}\r\n0\r\n")
                    .unwrap();
                let piece = trailer.repeat(1000);
                while stream.write_all(piece.as_bytes()).is_ok() {}
            }
        }
        let mut client = Client::connect(&world, &[]);
        client.send(&frame(HEADERS, END_HEADERS, 1, &head("PUT", "/files/f")));
        let trailers: Vec<u8> = (0..500)
            .flat_map(|n| field(&format!("x-{n}"), "y"))
            .collect();
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
        client.answers();
    });
    world.close();
}

#[test]
fn http2_heads_are_bounded_in_number_and_size() {
    let world = World::new("");
    world.within(24, "HTTP/2 heads that are too large", || {
        // Too many small fields, and one that is too large: the request is refused, or the connection.
        let many: Vec<u8> = (0..600)
            .flat_map(|n| field(&format!("x{n}"), "y"))
            .collect();
        let large = field("x", &"x".repeat(16_000)).repeat(4);
        for more in [many, large] {
            let mut client = Client::connect(&world, &[]);
            send_head(&mut client, 1, &[bare("GET", "/open"), more].concat());
            let answered = client.wait(HEADERS);
            // `:status: 431` as a literal of an indexed name.
            let refused = answered.is_none_or(|f| {
                memchr::memmem::find(&f.payload, b"431").is_some() || huffman_431(&f.payload)
            });
            assert!(refused);
        }
    });
    let records = world.close();
    assert_eq!(
        of_kind(&records, "outcome").len(),
        8 + 1,
        "those of start and end"
    );
}

/// 431 in the Huffman code of RFC 7541: 4 is 011010, 3 is 011001, 1 is 00001.
fn huffman_431(payload: &[u8]) -> bool {
    memchr::memmem::find(payload, &[0b0110_1001, 0b1001_0000, 0b1111_1111]).is_some()
}

/// Sends a head over as many frames as it takes.
fn send_head(client: &mut Client, stream: u32, block: &[u8]) {
    let pieces: Vec<&[u8]> = block.chunks(16_384).collect();
    for (n, piece) in pieces.iter().enumerate() {
        let (kind, begin) = if n == 0 {
            (HEADERS, END_STREAM)
        } else {
            (CONTINUATION, 0)
        };
        let end = if n + 1 == pieces.len() {
            END_HEADERS
        } else {
            0
        };
        client.send(&frame(kind, begin | end, stream, piece));
    }
}

/// A field of 4 kB enters the table, and is then named by one byte, ten thousand times.
#[test]
fn small_frames_do_not_expand() {
    let world = World::new("");
    world.within(32, "an HPACK bomb", || {
        for _ in 0..4 {
            let mut client = Client::connect(&world, &[]);
            for n in 0..50 {
                let mut block = bare("GET", "/open");
                if n == 0 {
                    block.extend(indexed("x", &"x".repeat(4000)));
                }
                // The newest entry of the dynamic table has the index 62.
                block.extend([0x80 | 62; 10_000]);
                client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * n, &block));
            }
            client.answers();
        }
    });
    let records = world.close();
    assert_eq!(of_kind(&records, "outcome").len(), 8 + 1, "none went on");
}

/// CVE-2024-27316 and its kin: CONTINUATION frames without end.
#[test]
fn continuations_are_bounded() {
    let world = World::new("");
    world.within(24, "floods of CONTINUATION", || {
        let block = bare("GET", "/open");
        let fill: Vec<u8> = field("x", &"x".repeat(900)).repeat(17);
        for piece in [Vec::new(), field("x", "y"), fill] {
            let mut client = Client::connect(&world, &[]);
            client.send(&frame(HEADERS, END_STREAM, 1, &block));
            let piece = frame(CONTINUATION, 0, 1, &piece);
            let batch = piece.repeat(64);
            let began = Instant::now();
            while client.send(&batch) {
                assert!(began.elapsed() < PATIENCE, "taken for ever");
            }
        }
        // The end tells why.
        let mut client = Client::connect(&world, &[]);
        client.send(&frame(HEADERS, END_STREAM, 1, &block));
        for _ in 0..64 {
            client.send(&frame(CONTINUATION, 0, 1, b""));
        }
        let told = client.wait(GOAWAY);
        assert!(told.is_none_or(|f| f.payload[4..8] == ENHANCE_YOUR_CALM.to_be_bytes()));
    });
    let records = world.close();
    assert_eq!(of_kind(&records, "outcome").len(), 8 + 1);
}

#[test]
fn frames_on_streams_that_never_were_end_the_connection() {
    let world = World::new("");
    for bytes in [
        frame(RST_STREAM, 0, 1, &[0; 4]),
        frame(CONTINUATION, END_HEADERS, 1, b""),
        frame(0, 0, 1, b"data"),
        frame(HEADERS, END_HEADERS, 2, &bare("GET", "/open")),
        frame(HEADERS, END_HEADERS, 0, &bare("GET", "/open")),
        frame(0, 0, 0, b"data"),
        frame(GOAWAY, 0, 1, &[0; 8]),
        frame(HEADERS, END_HEADERS, 1, &[0x80]),
        frame(HEADERS, END_HEADERS, 1, &[0xff; 64]),
    ] {
        let mut client = Client::connect(&world, &[]);
        client.send(&bytes);
        assert!(client.end().is_some_and(|code| code != 0), "{bytes:?}");
    }
    world.close();
}
