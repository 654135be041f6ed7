//! The recording upstream: it keeps every byte, reads strictly what it was sent, and answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::case::as_latin1;
use super::client::{CONTROL, CONTROL_PATH};
use crate::harness::until;

/// The upstream, and what has come since the last look.
pub struct Recording {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    /// Each connection's bytes that are part of no whole request.
    pending: Vec<Vec<u8>>,
    /// Connections that ended within a request.
    cut: usize,
    /// Tunnels that are open.
    tunnels: usize,
    /// What no client of this upstream may send.
    faults: Vec<String>,
}

/// A request as it came, its bytes as characters. Names are lower-cased.
#[derive(Clone, Default)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether it was answered before its body was read.
    pub early: bool,
}

impl Request {
    pub fn values(&self, name: &str) -> Vec<&str> {
        let of_name = self.headers.iter().filter(|(n, _)| n == name);
        of_name.map(|(_, value)| &**value).collect()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        for (name, value) in &self.headers {
            write!(f, ", {name}: {value:?}")?;
        }
        write!(f, ", {:?}", as_latin1(&self.body))
    }
}

impl Recording {
    pub async fn start() -> Recording {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut seen = shared.lock().unwrap();
                    seen.pending.push(Vec::new());
                    seen.pending.len() - 1
                };
                tokio::spawn(serve(stream, number, shared.clone()));
            }
        });
        Recording { address, seen }
    }

    /// Forgets what connections have ended within a request. What was sent before this is called has been read.
    pub async fn forget_cut(&self) {
        // A round of its own: what came to the upstream earlier is looked at earlier.
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(CONTROL.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        self.seen.lock().unwrap().cut = 0;
    }

    /// The requests that came, but for controls. Bytes beside them are an error.
    pub async fn take(&self) -> Result<Vec<Request>, String> {
        until("a tunnel ends", || self.seen.lock().unwrap().tunnels == 0).await;
        let mut seen = self.seen.lock().unwrap();
        let faults = std::mem::take(&mut seen.faults);
        let mut pending = Vec::new();
        for bytes in &mut seen.pending {
            pending.extend(std::mem::take(bytes));
        }
        let mut requests = std::mem::take(&mut seen.requests);
        requests.retain(|request| request.target != CONTROL_PATH);
        let cut = std::mem::take(&mut seen.cut);
        if !faults.is_empty() || !pending.is_empty() || cut > 0 {
            let pending = as_latin1(&pending);
            return Err(format!(
                "the upstream got {pending:?} beside {requests:?}: {faults:?}"
            ));
        }
        Ok(requests)
    }
}

async fn serve(mut stream: TcpStream, number: usize, seen: Arc<Mutex<Seen>>) {
    let mut bytes = Vec::new();
    loop {
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            if !bytes.is_empty() {
                let mut seen = seen.lock().unwrap();
                seen.pending[number].clear();
                seen.cut += 1;
            }
            return;
        }
        loop {
            let (answer, end) = {
                let mut seen = seen.lock().unwrap();
                let (request, used) = match read(&bytes) {
                    Read::Whole(request, used) => (request, used),
                    Read::Part => {
                        seen.pending[number] = bytes.clone();
                        break;
                    }
                    Read::Bad(why) => {
                        seen.faults.push(format!("{why}: {:?}", as_latin1(&bytes)));
                        return;
                    }
                };
                bytes.drain(..used);
                seen.pending[number].clear();
                let answer = answer(&request);
                let end = request.early;
                seen.tunnels += usize::from(answer.starts_with("HTTP/1.1 101 "));
                seen.requests.push(request);
                (answer, end)
            };
            let wrote = stream.write_all(answer.as_bytes()).await;
            if answer.starts_with("HTTP/1.1 101 ") {
                let _ = stream.read_to_end(&mut bytes).await;
                let mut seen = seen.lock().unwrap();
                seen.requests.last_mut().unwrap().body = bytes;
                seen.tunnels -= 1;
                return;
            }
            if end {
                let _ = stream.shutdown().await;
                // Read on, so that no reset overtakes the answer.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                return;
            }
            if wrote.is_err() || bytes.is_empty() {
                break;
            }
        }
    }
}

/// What this request is answered: 101 to a handshake, else its own target as the body.
fn answer(request: &Request) -> String {
    if let ([key], [_]) = (
        &request.values("sec-websocket-key")[..],
        &request.values("upgrade")[..],
    ) {
        let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
        let hash = aws_lc_rs::digest::digest(sha1, text.as_bytes());
        let accept = BASE64_STANDARD.encode(hash);
        return format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
        );
    }
    let length = request.target.len();
    let body = if request.method == "HEAD" {
        ""
    } else {
        &request.target
    };
    let close = if request.early {
        "connection: close\r\n"
    } else {
        ""
    };
    format!("HTTP/1.1 200 OK\r\n{close}content-length: {length}\r\n\r\n{body}")
}

enum Read {
    Whole(Request, usize),
    Part,
    Bad(&'static str),
}

/// Reads one request, as strictly as RFC 9112 lets a server be.
fn read(bytes: &[u8]) -> Read {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Read::Part;
    };
    let head = as_latin1(&bytes[..end]);
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return Read::Bad("a control character in the head");
    }
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else {
        return Read::Bad("no request line");
    };
    let mut request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        early: target.starts_with("/early"),
        ..Request::default()
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Read::Bad("no header line");
        };
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Read::Bad("no header name");
        }
        let value = value.trim_matches([' ', '\t']).to_owned();
        request.headers.push((name.to_ascii_lowercase(), value));
    }
    if request.values("host").len() != 1 {
        return Read::Bad("not one host");
    }
    let body = &bytes[end + 4..];
    let (lengths, codings) = (
        request.values("content-length"),
        request.values("transfer-encoding"),
    );
    let (body, used) = match (&lengths[..], &codings[..]) {
        _ if request.early => (body.to_vec(), body.len()),
        ([], []) => (Vec::new(), 0),
        ([length], []) => {
            let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
            let Some(length) = length.parse().ok().filter(|_| digits) else {
                return Read::Bad("no length");
            };
            match body.get(..length) {
                Some(body) => (body.to_vec(), length),
                None => return Read::Part,
            }
        }
        ([], ["chunked"]) => match chunks(body) {
            Ok(Some(read)) => read,
            Ok(None) => return Read::Part,
            Err(why) => return Read::Bad(why),
        },
        _ => return Read::Bad("two framings"),
    };
    request.body = body;
    Read::Whole(request, end + 4 + used)
}

/// Reads chunks without extensions and trailers.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = bytes[at..].windows(2).position(|w| w == b"\r\n") else {
            return Ok(None);
        };
        let size = as_latin1(&bytes[at..at + line]);
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("no chunk size");
        }
        let size = usize::from_str_radix(&size, 16).map_err(|_| "no chunk size")?;
        at += line + 2;
        let Some(piece) = bytes.get(at..at + size + 2) else {
            return Ok(None);
        };
        let Some(data) = piece.strip_suffix(b"\r\n") else {
            return Err("a chunk without its end, or trailers");
        };
        body.extend(data);
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}
