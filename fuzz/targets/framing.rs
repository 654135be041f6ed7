//! A connection's bytes past the gate, and then to hyper: whatever request both let through, hyper tells just as a
//! naive strict reader (RFC 9112) does: method, target, header lines and body, and no request that isn't there. However
//! the bytes are cut on their way, the gate says the same.
//!
//! The first byte chooses the cuts, what follows is the connection.

#![no_main]

#[path = "framing/naive.rs"]
mod naive;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use libfuzzer_sys::fuzz_target;
use portcullis::policy::Fault;
use portcullis::proxy::framing::{Followed, Framing, Heads};

use self::naive::{Body, Message};

/// What a head may take; hyper's buffers are larger.
const MOST: usize = 4_096;

fuzz_target!(|data: &[u8]| {
    let Some((cuts, bytes)) = data.split_first() else {
        return;
    };
    let (messages, verdicts) = naive::read(bytes);
    let whole = follow(&[bytes]);
    assert_eq!(
        verdicts_of(&whole.heads),
        verdicts,
        "the gate and the naive reader"
    );
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    let pieces: Vec<&[u8]> = bytes.chunks(2 + usize::from(*cuts) % 64).collect();
    for way in [&single, &pieces] {
        let other = follow(way);
        assert_eq!(verdicts_of(&other.heads), verdicts, "in pieces");
        // Of a line that breaks a body a part may have gone on, but never its end.
        assert!(other.handed_on >= whole.handed_on);
        assert!(!bytes[whole.handed_on..other.handed_on].contains(&b'\n'));
    }
    heads_are_httparses(bytes, &messages);
    for way in [&vec![bytes], &single] {
        let passed = follow(way);
        let served = serve(&bytes[..passed.handed_on], &passed.heads);
        let mut expected = messages.iter();
        for request in &served {
            let message = expected
                .next()
                .expect("hyper tells of a request that isn't there");
            message_is(request, message);
        }
    }
});

struct Passed {
    heads: Heads,
    handed_on: usize,
}

/// The bytes past the gate, piece by piece.
fn follow(pieces: &[&[u8]]) -> Passed {
    let heads = Heads::default();
    let mut framing = Framing::new(MOST);
    let mut handed_on = 0;
    for piece in pieces {
        match framing.follow(piece, &heads) {
            Followed::All => handed_on += piece.len(),
            Followed::Broken(fine) => {
                assert!(fine <= piece.len());
                handed_on += fine;
                break;
            }
        }
    }
    Passed { heads, handed_on }
}

/// What each request on the connection would be told, to the first refusal.
fn verdicts_of(heads: &Heads) -> Vec<Result<(), Fault>> {
    let mut verdicts = Vec::new();
    loop {
        let verdict = heads.serve();
        verdicts.push(verdict);
        if verdict.is_err() {
            return verdicts;
        }
    }
}

/// The parser that hyper uses reads the same lines in each head that passes.
fn heads_are_httparses(bytes: &[u8], messages: &[Message<'_>]) {
    for message in messages {
        let mut lines = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut lines);
        match request.parse(&bytes[message.start..]) {
            Ok(httparse::Status::Complete(length)) => {
                assert_eq!(
                    message.start + length,
                    message.body_start,
                    "where the head ends"
                );
                assert_eq!(request.method.map(str::as_bytes), Some(message.method));
                assert_eq!(request.path.map(str::as_bytes), Some(message.target));
                let lines = request.headers.iter();
                let lines: Vec<(&[u8], &[u8])> =
                    lines.map(|h| (h.name.as_bytes(), h.value)).collect();
                assert_eq!(lines, message.fields);
            }
            Ok(httparse::Status::Partial) => panic!("a head that ended, and not to httparse"),
            // It may refuse more: characters of the target, too many lines.
            Err(_) => {}
        }
    }
}

/// A request as hyper told it.
struct Told {
    method: String,
    target: String,
    headers: HeaderMap,
    /// The content, and whether it ended as a body ends.
    body: (Vec<u8>, bool),
}

/// hyper's server over these bytes; requests from the first that the gate refuses on are not looked at.
fn serve(bytes: &[u8], heads: &Heads) -> Vec<Told> {
    let told = Rc::new(RefCell::new(Vec::new()));
    let refused = Rc::new(RefCell::new(false));
    let service = service_fn(|request: Request<Incoming>| {
        let (told, refused) = (Rc::clone(&told), Rc::clone(&refused));
        async move {
            if *refused.borrow() || heads.serve().is_err() {
                *refused.borrow_mut() = true;
                let mut response = Response::new(Empty::<Bytes>::new());
                let close = http::HeaderValue::from_static("close");
                response
                    .headers_mut()
                    .insert(http::header::CONNECTION, close);
                return Ok::<_, Infallible>(response);
            }
            let (head, mut body) = request.into_parts();
            let (mut content, mut whole) = (Vec::new(), true);
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => content.extend_from_slice(&frame.into_data().unwrap_or_default()),
                    Err(_) => whole = false,
                }
            }
            told.borrow_mut().push(Told {
                method: head.method.to_string(),
                target: head.uri.to_string(),
                headers: head.headers,
                body: (content, whole),
            });
            Ok(Response::new(Empty::<Bytes>::new()))
        }
    });
    let io = Wire { bytes };
    let connection = pin!(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
    let mut connection = connection;
    // Each time it yields, it asks to be called again; the wire never makes it wait.
    for _ in 0..10_000 {
        let polled = connection
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            return told.take();
        }
    }
    panic!("the connection doesn't end");
}

fn message_is(told: &Told, message: &Message<'_>) {
    assert_eq!(told.method.as_bytes(), message.method);
    if message.target.starts_with(b"/") {
        assert_eq!(told.target.as_bytes(), message.target);
    }
    let mut expected: Vec<(Vec<u8>, &[u8])> = message
        .fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), *value))
        .collect();
    let headers = told.headers.iter();
    let mut found: Vec<(Vec<u8>, &[u8])> = headers
        .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes()))
        .collect();
    // Lines of one name keep their order.
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, expected);
    match (&message.body, &told.body) {
        (Body::Whole(content), (found, true)) => assert_eq!(found, content),
        // hyper bounds extensions and trailers, and may break what is fine.
        (Body::Whole(content), (found, false)) => assert!(content.starts_with(found)),
        (Body::Partial(content), (found, false)) => assert!(content.starts_with(found)),
        (Body::Partial(_), (_, true)) => panic!("a body that has no end ended"),
    }
}

/// The bytes, and then the end of the connection; what is written is lost.
struct Wire<'b> {
    bytes: &'b [u8],
}

impl Read for Wire<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.bytes.len().min(buf.remaining());
        let (now, later) = self.bytes.split_at(count);
        buf.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
