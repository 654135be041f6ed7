//! An HTTP/2 client that sends whatever frames it is told to (RFC 9113), and headers without compression (RFC 7541).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::world::{World, token};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Settings that floods need.
pub const MAX_CONCURRENT: u16 = 3;
pub const WINDOW: u16 = 4;

#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    /// A connection with its preface and these settings sent.
    pub fn connect(world: &World, settings: &[(u16, u32)]) -> Client {
        let mut client = Client {
            stream: world.connect(),
            read: Vec::new(),
        };
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        client.send(PREFACE);
        client.send(&frame(SETTINGS, 0, 0, &payload));
        client
    }

    /// A connection on which the settings of both sides are in force.
    pub fn open(world: &World) -> Client {
        let mut client = Client::connect(world, &[]);
        assert!(client.answers());
        client
    }

    /// Sends; where the other side has gone, reading will tell.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame; `None` at the end of the connection. Settings and pings are answered.
    pub fn take(&mut self) -> Option<Frame> {
        loop {
            if let Some(found) = self.whole() {
                let answered = match found.kind {
                    SETTINGS | PING if found.flags & ACK == 0 => true,
                    _ => return Some(found),
                };
                if answered {
                    let payload: &[u8] = if found.kind == PING {
                        &found.payload
                    } else {
                        &[]
                    };
                    self.send(&frame(found.kind, ACK, 0, payload));
                }
                continue;
            }
            let mut piece = [0; 1 << 16];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(came) => self.read.extend_from_slice(&piece[..came]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("nothing comes, and no end")
                }
                Err(_) => return None,
            }
        }
    }

    fn whole(&mut self) -> Option<Frame> {
        let head = self.read.first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if self.read.len() < 9 + length {
            return None;
        }
        let found = Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload: self.read[9..9 + length].to_vec(),
        };
        self.read.drain(..9 + length);
        Some(found)
    }

    /// Reads until a frame of this kind; `None` where the connection ends without one.
    pub fn wait(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let found = self.take()?;
            if found.kind == kind {
                return Some(found);
            }
        }
    }

    /// Reads to the connection's end, and gives back the code of the last GOAWAY, if one came.
    pub fn end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(found) = self.take() {
            if found.kind == GOAWAY {
                let bytes = found.payload[4..8].try_into().unwrap();
                code = Some(u32::from_be_bytes(bytes));
            }
        }
        code
    }

    /// Whether a whole round trip still works on this connection.
    pub fn answers(&mut self) -> bool {
        self.send(&frame(PING, 0, 0, b"are you?"));
        while let Some(found) = self.take() {
            if found.kind == PING && found.payload == b"are you?" {
                return true;
            }
        }
        false
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A request's head as one frame.
pub fn request(stream: u32, method: &str, path: &str, end: bool) -> Vec<u8> {
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &head(method, path))
}

/// The fields of a request with a good token.
pub fn head(method: &str, path: &str) -> Vec<u8> {
    thread_local! {
        static BEARER: String = format!("Bearer {}", token("agent/7", json!({})));
    }
    let mut block = bare(method, path);
    BEARER.with(|bearer| block.extend(field("authorization", bearer)));
    if method == "POST" {
        block.extend(field("content-type", "application/json"));
    }
    block
}

/// The fields of a request without one.
pub fn bare(method: &str, path: &str) -> Vec<u8> {
    [
        field(":method", method),
        field(":scheme", "http"),
        field(":path", path),
        field(":authority", "a"),
    ]
    .concat()
}

/// A literal field that enters no table.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    literal(&mut bytes, name, value);
    bytes
}

/// A literal field that enters the dynamic table.
pub fn indexed(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0x40];
    literal(&mut bytes, name, value);
    bytes
}

fn literal(bytes: &mut Vec<u8>, name: &str, value: &str) {
    for text in [name, value] {
        length(bytes, text.len());
        bytes.extend_from_slice(text.as_bytes());
    }
}

/// An integer with a prefix of 7 bits (RFC 7541, section 5.1).
fn length(bytes: &mut Vec<u8>, mut length: usize) {
    if length < 127 {
        bytes.push(length as u8);
        return;
    }
    bytes.push(127);
    length -= 127;
    while length >= 128 {
        bytes.push((length % 128) as u8 | 128);
        length /= 128;
    }
    bytes.push(length as u8);
}
