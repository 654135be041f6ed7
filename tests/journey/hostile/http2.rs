//! One stream of HTTP/2 (RFC 9113) as frames over a socket, its fields as HPACK literals (RFC 7541, 6.2.2), so that
//! anything can be sent. Of the answer only the status and the body are read.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::case::latin1;
use super::client::Answer;
use crate::harness::PATIENCE;

type Field = (Vec<u8>, Vec<u8>);

/// What is sent on the stream.
pub struct Stream {
    pub fields: Vec<Field>,
    pub body: Option<Vec<u8>>,
    pub trailers: Option<Vec<Field>>,
}

impl Stream {
    /// The stream that says what this head and these lines of HTTP/1.1 say.
    pub fn of(head: &str, lines: &[(String, String)], body: Option<Vec<u8>>) -> Stream {
        let (method, target) = head.split_once(' ').unwrap();
        let field = |name: &str, value: &str| (latin1(name), latin1(value));
        let mut fields = vec![
            field(":method", method),
            field(":scheme", "http"),
            field(":path", target),
        ];
        for (name, value) in lines {
            let value = value.trim_matches(' ');
            match &*name.to_ascii_lowercase() {
                "connection" => {}
                "host" => fields.insert(2, field(":authority", value)),
                name => fields.push(field(name, value)),
            }
        }
        Stream {
            fields,
            body,
            trailers: None,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(SETTINGS, 0, 0, &[], &mut bytes);
        let last = self.body.is_none() && self.trailers.is_none();
        headers(&self.fields, last, &mut bytes);
        let body = self.body.as_deref().unwrap_or_default();
        // Within the window that a server begins with, if it says nothing else (RFC 9113, 6.9.2).
        assert!(body.len() <= 65_535, "too long a body");
        let count = body.chunks(FRAME).count();
        for (i, piece) in body.chunks(FRAME).enumerate() {
            let last = i + 1 == count && self.trailers.is_none();
            frame(DATA, u8::from(last) * END_STREAM, 1, piece, &mut bytes);
        }
        if self.body.is_some() && count == 0 && self.trailers.is_none() {
            frame(DATA, END_STREAM, 1, &[], &mut bytes);
        }
        if let Some(trailers) = &self.trailers {
            headers(trailers, true, &mut bytes);
        }
        bytes
    }
}

/// Sends it, and reads its answer; none where the stream or the connection is ended instead.
pub async fn talk(address: SocketAddr, stream: &Stream) -> Result<Option<Answer>, String> {
    let sent = stream.bytes();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let talk = async {
        // It may be refused before its last byte.
        let _ = socket.write_all(&sent).await;
        answer(&mut socket).await
    };
    timeout(PATIENCE, talk)
        .await
        .map_err(|_| "an answer never came".to_owned())
}

async fn answer(socket: &mut TcpStream) -> Option<Answer> {
    let mut answer: Option<Answer> = None;
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        socket.read_exact(&mut payload).await.ok()?;
        let ours = u32::from_be_bytes(stream) == 1;
        match kind {
            HEADERS if ours && answer.is_none() => {
                answer = Some(Answer {
                    status: status(&payload),
                    ..Answer::default()
                });
            }
            DATA if ours => answer.as_mut()?.body.extend(&payload),
            RST_STREAM if ours => return None,
            SETTINGS | PING if flags & ACK == 0 => {
                let echoed = if kind == PING { &payload[..] } else { &[] };
                let mut bytes = Vec::new();
                frame(kind, ACK, 0, echoed, &mut bytes);
                socket.write_all(&bytes).await.ok()?;
            }
            _ => {}
        }
        if ours && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            return answer;
        }
    }
}

fn headers(fields: &[Field], last: bool, out: &mut Vec<u8>) {
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal without indexing, its name a literal as well.
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend(text);
        }
    }
    let mut kind = HEADERS;
    let mut flags = u8::from(last) * END_STREAM;
    let count = block.chunks(FRAME).count();
    for (i, piece) in block.chunks(FRAME).enumerate() {
        if i + 1 == count {
            flags |= END_HEADERS;
        }
        frame(kind, flags, 1, piece, out);
        (kind, flags) = (CONTINUATION, 0);
    }
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn length(length: usize, out: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(127) else {
        out.push(length as u8);
        return;
    };
    out.push(127);
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// The status, with which a header block begins: an index of the static table, or digits in Huffman's code.
fn status(block: &[u8]) -> u16 {
    match block {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [0x20..=0x3f, rest @ ..] => status(rest),
        [0x48..=0x4e | 0x08..=0x0e, length, rest @ ..] if length & 0x80 != 0 => {
            let mut bits = rest[..usize::from(length & 0x7f)]
                .iter()
                .flat_map(|byte| (0..8).rev().map(move |i| u16::from(byte >> i & 1)));
            let mut take =
                |count: usize| bits.by_ref().take(count).fold(0, |all, bit| all << 1 | bit);
            // RFC 7541, appendix B: 0, 1 and 2 have five bits, the other digits six.
            (0..3).fold(0, |number, _| {
                let code = take(5);
                let digit = if code < 3 {
                    code
                } else {
                    (code << 1 | take(1)) - 0b1_1001 + 3
                };
                number * 10 + digit
            })
        }
        [0x48..=0x4e | 0x08..=0x0e, 3, digits @ ..] => {
            String::from_utf8_lossy(&digits[..3]).parse().unwrap()
        }
        _ => panic!("no status: {block:?}"),
    }
}

const FRAME: usize = 16_384;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
