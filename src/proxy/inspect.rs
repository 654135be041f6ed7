//! Reads a body that a policy judges; what nobody judges isn't touched.
//!
//! A judged body is read whole, within `limits.judged_body` and `timeouts.body`, while `limits.judged_bodies`
//! bounds what all requests of a worker hold at once. It is forwarded byte for byte as it was judged: a gzip
//! body therefore goes on decoded. Trailers are dropped.
//!
//! Bodies that grow into that room at once could each hold a part and wait for the others' for ever. So one of those
//! that wait may grow beside it, to its own limit: there is always one that comes to its end.
//!
//! What a head alone condemns (an announced length over the limit, an encoding that isn't decoded here) is a
//! [`Fault`] that the policies see, and not a byte is read. What breaks while it is read ends the request,
//! since it can't be handed on whole.

use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::respond::Refusal;
use crate::config::{Limits, Timeouts};
use crate::policy::{Fault, Reason};

/// A request body after inspection.
#[derive(Debug)]
pub enum Inspected<B> {
    /// Nobody asked for it.
    Left(B),
    /// Its head already says that it can't be judged; nothing was read.
    Unreadable(Fault, B),
    /// It was read.
    Whole(Whole),
}

/// A body in memory, as judged and as forwarded. It keeps its room for as long as anybody has it: while its response
/// streams, it is there to be judged again.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Its bytes, decoded.
    pub bytes: Bytes,
    /// Whether `Content-Encoding` no longer holds.
    pub decoded: bool,
    /// SHA-256 of the bytes; `None` where there are none.
    pub digest: Option<[u8; 32]>,
    _room: Arc<Held>,
}

/// Room for judged bodies, shared by the requests of a worker.
#[derive(Debug, Clone)]
pub struct Room {
    blocks: Arc<Semaphore>,
    total: u32,
    /// The place of the one that may grow beside the room.
    beside: Arc<Semaphore>,
}

/// What a body holds of the room.
#[derive(Debug, Default)]
struct Held {
    blocks: Option<OwnedSemaphorePermit>,
    beside: Option<OwnedSemaphorePermit>,
}

/// Room is counted in blocks, so that any size fits the semaphore's counter.
const BLOCK: usize = 1024;

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Room {
        let total = blocks(bytes);
        Room {
            blocks: Arc::new(Semaphore::new(total as usize)),
            total,
            beside: Arc::new(Semaphore::new(1)),
        }
    }

    /// Makes what is held room for so many bytes, waiting until the deadline. Room is taken as bytes come, so that a
    /// head that announces much holds nothing.
    async fn grow(&self, held: &mut Held, bytes: usize, deadline: Instant) -> Result<(), Refusal> {
        let more = self.missing(held, bytes);
        if more == 0 || held.beside.is_some() {
            return Ok(());
        }
        // Who holds nothing yet keeps nobody from going on, and waits for the room.
        let holds = held.blocks.is_some();
        let grown = async {
            tokio::select! {
                biased;
                taken = self.blocks.clone().acquire_many_owned(more) => held.add(taken.ok()?),
                place = self.beside.clone().acquire_owned(), if holds => held.beside = Some(place.ok()?),
            }
            Some(())
        };
        match timeout_at(deadline, grown).await {
            Ok(Some(())) => Ok(()),
            Ok(None) | Err(_) => Err(Refusal::detailed(Reason::Unavailable, "judged_bodies")),
        }
    }

    /// How many blocks are missing for so many bytes. A body larger than all the room there is has all of it.
    fn missing(&self, held: &Held, bytes: usize) -> u32 {
        let has = held.blocks.as_ref().map_or(0, |held| held.num_permits());
        let wanted = blocks(bytes).min(self.total);
        wanted.saturating_sub(u32::try_from(has).unwrap_or(u32::MAX))
    }

    /// The body is whole: gives back what it no longer needs, and the place beside the room where there is room now.
    fn settle(&self, held: &mut Held, bytes: usize) {
        if let Some(held) = &mut held.blocks {
            let spare = held.num_permits().saturating_sub(blocks(bytes) as usize);
            drop(held.split(spare));
        }
        if held.beside.is_some()
            && let Ok(taken) = self
                .blocks
                .clone()
                .try_acquire_many_owned(self.missing(held, bytes))
        {
            held.add(taken);
            held.beside = None;
        }
    }
}

impl Held {
    fn add(&mut self, taken: OwnedSemaphorePermit) {
        match &mut self.blocks {
            Some(held) => held.merge(taken),
            None => self.blocks = Some(taken),
        }
    }
}

fn blocks(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(BLOCK))
        .unwrap_or(u32::MAX)
        .clamp(
            1,
            u32::try_from(Semaphore::MAX_PERMITS >> 8).unwrap_or(u32::MAX),
        )
}

/// Reads the body if it is wanted.
///
/// # Errors
/// 413 where a body of unannounced length passes the limit, 400 where it stops before its end or takes too
/// long or doesn't decode, 503 where there is no room.
pub async fn inspect<B>(
    wanted: bool,
    headers: &HeaderMap,
    body: B,
    room: &Room,
    limits: &Limits,
    timeouts: &Timeouts,
) -> Result<Inspected<B>, Refusal>
where
    B: Body<Data = Bytes>,
{
    if !wanted {
        return Ok(Inspected::Left(body));
    }
    let Some(gzip) = encoding(headers) else {
        return Ok(Inspected::Unreadable(Fault::ContentEncoding, body));
    };
    let announced = body.size_hint().exact();
    if announced.is_some_and(|length| length > limits.judged_body as u64) {
        return Ok(Inspected::Unreadable(Fault::BodyTooLarge, body));
    }
    let deadline = Instant::now() + bounded(timeouts.body);
    let mut held = Held::default();
    let collected = collect(body, limits.judged_body, room, &mut held, deadline);
    let mut bytes = match timeout_at(deadline, collected).await {
        Ok(read) => read?,
        Err(_) => return Err(Refusal::from(Fault::BodyIncomplete)),
    };
    let decoded = gzip && !bytes.is_empty();
    if decoded {
        // For as long as it is decoded there are two of it.
        let most = bytes.len().saturating_add(limits.judged_body);
        room.grow(&mut held, most, deadline).await?;
        bytes = gunzip(&bytes, limits.judged_body)?;
    }
    room.settle(&mut held, bytes.len());
    let digest = (!bytes.is_empty()).then(|| sha256(&bytes));
    Ok(Inspected::Whole(Whole {
        bytes,
        decoded,
        digest,
        _room: Arc::new(held),
    }))
}

/// Whether the body is gzip; `None` for what isn't decoded here, several codings among it.
fn encoding(headers: &HeaderMap) -> Option<bool> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"gzip") => Some(true),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"identity") => Some(false),
        _ => None,
    }
}

async fn collect<B: Body<Data = Bytes>>(
    body: B,
    limit: usize,
    room: &Room,
    held: &mut Held,
    deadline: Instant,
) -> Result<Bytes, Refusal> {
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Refusal::from(Fault::BodyIncomplete));
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + all.len() + data.len() > limit {
            return Err(Refusal::from(Fault::BodyTooLarge));
        }
        let length = first.len() + all.len() + data.len();
        room.grow(held, length, deadline).await?;
        if first.is_empty() && all.is_empty() {
            // A body that comes in one piece is never copied.
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Decodes one gzip member (RFC 1952) and nothing after it.
fn gunzip(bytes: &[u8], limit: usize) -> Result<Bytes, Refusal> {
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    let mut decoded = Vec::new();
    let read = decoder
        .by_ref()
        .take((limit as u64).saturating_add(1))
        .read_to_end(&mut decoded);
    if decoded.len() > limit {
        return Err(Refusal::from(Fault::BodyTooLarge));
    }
    // A second member is legal gzip, but decoders differ on it.
    if read.is_err() || !decoder.into_inner().is_empty() {
        return Err(Refusal::from(Fault::BodyEncoding));
    }
    Ok(Bytes::from(decoded))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    // SHA-256 is of 32 bytes, so the two always fit.
    if let Some(all) = digest.as_ref().first_chunk() {
        out = *all;
    }
    out
}

/// A duration that can be added to an instant without overflow.
fn bounded(duration: Duration) -> Duration {
    duration.min(Duration::from_secs(30 * 24 * 3600))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;

    use futures_util::stream;
    use http::HeaderValue;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    type Piece = Result<Frame<Bytes>, std::io::Error>;

    fn limits() -> Limits {
        Limits {
            headers: 100,
            header_bytes: 16384,
            judged_body: 100,
            judged_bodies: 4096,
            body: None,
            json_depth: 64,
            connections: 10,
            streams: 10,
        }
    }

    fn timeouts() -> Timeouts {
        let second = Duration::from_secs(1);
        Timeouts {
            header: second,
            body: Duration::from_secs(30),
            idle: second,
            keep_alive: second,
            shutdown: second,
        }
    }

    fn encoded(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(value))])
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn run<B: Body<Data = Bytes>>(headers: &HeaderMap, body: B) -> Result<String, String> {
        let room = Room::new(4096);
        match inspect(true, headers, body, &room, &limits(), &timeouts()).await {
            Ok(Inspected::Whole(whole)) => Ok(String::from_utf8(whole.bytes.to_vec()).unwrap()),
            Ok(Inspected::Unreadable(fault, _)) => Err(format!("unread {fault}")),
            Ok(Inspected::Left(_)) => Err("left".into()),
            Err(refusal) => Err(refusal.detail.unwrap_or_default().to_owned()),
        }
    }

    fn pieces(pieces: Vec<Piece>) -> impl Body<Data = Bytes> {
        StreamBody::new(stream::iter(pieces))
    }

    fn data(text: &'static str) -> Piece {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test]
    async fn a_body_is_read_whole_and_within_its_limit() {
        let plain = HeaderMap::new();
        let whole = run(&plain, pieces(vec![data("ab"), data("cd"), data("e")])).await;
        assert_eq!(whole.as_deref(), Ok("abcde"));
        let trailers = Ok(Frame::trailers(HeaderMap::new()));
        let whole = run(&plain, pieces(vec![data("ab"), trailers])).await;
        assert_eq!(whole.as_deref(), Ok("ab"));
        let exact = run(&plain, Full::new(Bytes::from(vec![b'x'; 100]))).await;
        assert_eq!(exact.map(|text| text.len()), Ok(100));
        let announced = run(&plain, Full::new(Bytes::from(vec![b'x'; 101]))).await;
        assert_eq!(announced, Err("unread body_too_large".into()));
        let long = "x".repeat(60).leak();
        let grown = run(&plain, pieces(vec![data(long), data(long)])).await;
        assert_eq!(grown, Err("body_too_large".into()));
        let cut = run(
            &plain,
            pieces(vec![data("ab"), Err(std::io::Error::other("gone"))]),
        )
        .await;
        assert_eq!(cut, Err("body_incomplete".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_ends_in_time() {
        let never = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let slow = run(&HeaderMap::new(), never).await;
        assert_eq!(slow, Err("body_incomplete".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_it_waits_and_gives_up() {
        let room = Room::new(100);
        let whole = || Full::new(Bytes::from_static(b"abc"));
        let plain = HeaderMap::new();
        let first = inspect(true, &plain, whole(), &room, &limits(), &timeouts()).await;
        let second = inspect(true, &plain, whole(), &room, &limits(), &timeouts()).await;
        assert_eq!(second.unwrap_err().reason, Reason::Unavailable);
        drop(first);
        let third = inspect(true, &plain, whole(), &room, &limits(), &timeouts()).await;
        assert!(matches!(third, Ok(Inspected::Whole(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_hold_all_the_room_in_parts_all_come_to_their_end() {
        let room = Room::new(4 * BLOCK);
        let limits = Limits {
            judged_body: 4 * BLOCK,
            ..limits()
        };
        let (plain, timeouts) = (HeaderMap::new(), timeouts());
        let one = || {
            // Each piece comes when all others have had their turn.
            let piece = |left: u32| async move {
                tokio::task::yield_now().await;
                let data = Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; BLOCK])));
                (left > 0).then(|| (data, left - 1))
            };
            let body = StreamBody::new(Box::pin(stream::unfold(3, piece)));
            inspect(true, &plain, body, &room, &limits, &timeouts)
        };
        let read = |got: Result<Inspected<_>, _>| matches!(got, Ok(Inspected::Whole(_)));
        let four = async {
            tokio::join!(
                async { read(one().await) },
                async { read(one().await) },
                async { read(one().await) },
                async { read(one().await) },
            )
        };
        assert_eq!(four.await, (true, true, true, true));
        assert_eq!(room.blocks.available_permits(), 4, "all is given back");
        assert_eq!(room.beside.available_permits(), 1);
    }

    #[tokio::test]
    async fn gzip_is_decoded_once_and_bounded() {
        let headers = encoded("GZIP");
        let body = |bytes: Vec<u8>| Full::new(Bytes::from(bytes));
        assert_eq!(run(&headers, body(gzip(b"{}"))).await.as_deref(), Ok("{}"));
        let bomb = run(&headers, body(gzip(&[b'x'; 5000]))).await;
        assert_eq!(bomb, Err("body_too_large".into()));
        let two = [gzip(b"{}"), gzip(b"[]")].concat();
        assert_eq!(run(&headers, body(two)).await, Err("body_encoding".into()));
        let mut cut = gzip(b"{\"a\":1}");
        cut.truncate(cut.len() - 4);
        assert_eq!(run(&headers, body(cut)).await, Err("body_encoding".into()));
        let plain = run(&headers, body(b"{}".to_vec())).await;
        assert_eq!(plain, Err("body_encoding".into()));
        assert_eq!(
            run(&encoded("identity"), body(b"{}".to_vec()))
                .await
                .as_deref(),
            Ok("{}")
        );
        for other in ["br", "gzip, gzip", "deflate", ""] {
            let refused = run(&encoded(other), body(b"{}".to_vec())).await;
            assert_eq!(refused, Err("unread content_encoding".into()), "{other}");
        }
        let mut twice = encoded("gzip");
        twice.append(
            header::CONTENT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        let refused = run(&twice, body(b"{}".to_vec())).await;
        assert_eq!(refused, Err("unread content_encoding".into()));
    }
}
