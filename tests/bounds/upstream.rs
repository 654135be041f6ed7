//! An upstream of few words: plain threads, and paths that say how it behaves.
//!
//! - `/held`: reads the request, and answers once it is let go.
//! - `/unread`: reads the head and not a byte more until it is let go.
//! - `/large/{n}`: answers with n MiB.
//! - anything else: reads the request and answers `ok`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What it counts, and whether it lets go.
#[derive(Default)]
pub struct Upstream {
    /// Requests of which the head came.
    pub heads: AtomicUsize,
    /// Connections that were taken.
    pub connections: AtomicUsize,
    /// Whether what is held is let go.
    pub released: AtomicBool,
}

impl Upstream {
    pub fn start() -> (Arc<Upstream>, SocketAddr) {
        let upstream = Arc::new(Upstream::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = upstream.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let serving = serving.clone();
                std::thread::Builder::new()
                    .stack_size(128 * 1024)
                    .spawn(move || serving.serve(stream))
                    .unwrap();
            }
        });
        (upstream, address)
    }

    pub fn heads(&self) -> usize {
        self.heads.load(Ordering::SeqCst)
    }

    pub fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }

    /// Until the other side has gone, or something isn't understood.
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut read = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = find(&read, b"\r\n\r\n") {
                    break at + 4;
                }
                more(&mut stream, &mut read)?;
            };
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            read.drain(..end);
            self.heads.fetch_add(1, Ordering::SeqCst);
            let path = head.split(' ').nth(1)?.to_owned();
            if path.starts_with("/unread") {
                self.hold(&stream)?;
            }
            body(&head, &mut stream, &mut read)?;
            if path.starts_with("/held") {
                self.hold(&stream)?;
            }
            let megabytes: Option<usize> =
                path.strip_prefix("/large/").and_then(|n| n.parse().ok());
            let (length, piece) = match megabytes {
                Some(n) => (n << 20, vec![b'x'; 1 << 16]),
                None => (2, b"ok".to_vec()),
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).ok()?;
            let mut left: usize = length;
            while left > 0 {
                stream.write_all(&piece).ok()?;
                left -= piece.len();
            }
        }
    }

    /// Waits until it is let go; `None` where the other side went.
    fn hold(&self, stream: &TcpStream) -> Option<()> {
        let wait = Duration::from_millis(10);
        while !self.released.load(Ordering::SeqCst) {
            stream.set_nonblocking(true).ok()?;
            let gone = matches!(stream.peek(&mut [0]), Ok(0));
            stream.set_nonblocking(false).ok()?;
            if gone {
                return None;
            }
            std::thread::sleep(wait);
        }
        Some(())
    }
}

/// Reads a request's body away.
fn body(head: &str, stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    let field = |name: &str| {
        let line = head.lines().find(|line| line.starts_with(name))?;
        Some(line[name.len()..].trim().to_owned())
    };
    if let Some(length) = field("content-length:") {
        let mut left: usize = length.parse().ok()?;
        loop {
            let here = left.min(read.len());
            read.drain(..here);
            left -= here;
            if left == 0 {
                return Some(());
            }
            more(stream, read)?;
        }
    }
    if field("transfer-encoding:").is_some() {
        loop {
            let line = loop {
                if let Some(at) = find(read, b"\r\n") {
                    break at;
                }
                more(stream, read)?;
            };
            let size = usize::from_str_radix(std::str::from_utf8(&read[..line]).ok()?, 16).ok()?;
            while read.len() < line + 2 + size + 2 {
                more(stream, read)?;
            }
            read.drain(..line + 2 + size + 2);
            if size == 0 {
                return Some(());
            }
        }
    }
    Some(())
}

fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 1 << 16];
    let came = stream.read(&mut piece).ok().filter(|came| *came > 0)?;
    read.extend_from_slice(&piece[..came]);
    Some(())
}

pub fn find(all: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(all, part)
}
