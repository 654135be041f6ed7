//! Servers that do what a script says, byte by byte, on blocking sockets: a thread for each connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What upstreams saw: trace id and target of each request whose head came.
pub type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// A connection as a script has it.
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    seen: Seen,
}

/// A request's head.
pub struct Head(pub String);

/// Starts a server; it lives as long as the test's process. `number` counts its connections from 0.
pub fn serve(
    seen: &Seen,
    script: impl Fn(usize, &mut Wire) -> io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    serve_on(listener, seen, script)
}

/// The same on a socket that is there.
pub fn serve_on(
    listener: TcpListener,
    seen: &Seen,
    script: impl Fn(usize, &mut Wire) -> io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    let (script, seen) = (Arc::new(script), seen.clone());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (script, seen) = (script.clone(), seen.clone());
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                // A script never outlives a test by much.
                stream.set_read_timeout(Some(LONGEST)).unwrap();
                stream.set_write_timeout(Some(LONGEST)).unwrap();
                let buffer = Vec::new();
                // An error is a gateway that went away first, which is its right.
                let _gone = script(
                    number,
                    &mut Wire {
                        stream,
                        buffer,
                        seen,
                    },
                );
            });
        }
    });
    address
}

/// A server that behaves: answers each request on a connection with 200, after reading its body.
pub fn behaved(seen: &Seen) -> SocketAddr {
    serve(seen, |_, wire| {
        while let Some(head) = wire.head()? {
            wire.body(&head)?;
            if let Some((_, millis)) = head.target().split_once("?ms=") {
                std::thread::sleep(Duration::from_millis(millis.parse().unwrap()));
            }
            wire.write("HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\nfrom the upstream")?;
        }
        Ok(())
    })
}

impl Wire {
    /// The next request's head, which is noted; `None` at the end of the connection.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if self.more()? == 0 {
                return Ok(None);
            }
        };
        let rest = self.buffer.split_off(end);
        let head = std::mem::replace(&mut self.buffer, rest);
        let head = Head(String::from_utf8(head).unwrap());
        let noted = (head.trace(), head.target().to_owned());
        self.seen.lock().unwrap().push(noted);
        Ok(Some(head))
    }

    /// Reads a request's body; its length.
    pub fn body(&mut self, head: &Head) -> io::Result<usize> {
        if head.field("transfer-encoding").is_some() {
            // Enough for what is sent here: nobody sends the end of chunks as data.
            loop {
                if let Some(at) = find(&self.buffer, b"0\r\n\r\n") {
                    self.buffer.drain(..at + 5);
                    return Ok(at);
                }
                if self.more()? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        let length = head
            .field("content-length")
            .map_or(0, |l| l.parse().unwrap());
        while self.buffer.len() < length {
            if self.more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.buffer.drain(..length);
        Ok(length)
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Holds the connection open until the other side closes it.
    pub fn hang(&mut self) -> io::Result<()> {
        while self.more()? > 0 {
            self.buffer.clear();
        }
        Ok(())
    }

    /// Ends the connection with RST.
    pub fn reset(&mut self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    fn more(&mut self) -> io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let read = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(read)
    }
}

impl Head {
    pub fn target(&self) -> &str {
        self.0.split(' ').nth(1).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The trace id; empty where none was sent, as by a fetch of keys.
    pub fn trace(&self) -> String {
        let parent = self.field("traceparent").unwrap_or_default();
        parent.split('-').nth(1).unwrap_or_default().to_owned()
    }
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// Longer than any test waits for an upstream.
pub const LONGEST: Duration = Duration::from_secs(60);
