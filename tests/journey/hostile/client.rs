//! Bytes over a socket, and what comes back as answers of HTTP/1.1.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

use super::case::{Case, Verdict, as_latin1};
use crate::harness::PATIENCE;

pub const CONTROL_PATH: &str = "/-/control";
pub const CONTROL: &str = "GET /-/control HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\r\n";

/// What a client got over one connection.
#[derive(Debug, Default)]
pub struct Talk {
    pub answers: Vec<Answer>,
    /// What came after them and is no answer to a control.
    pub extra: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// Whether a 100 came before it.
    pub continued: bool,
}

impl Talk {
    /// The answer to a stream, if there was one.
    pub fn of(answer: Option<Answer>) -> Talk {
        Talk {
            answers: answer.into_iter().collect(),
            extra: Vec::new(),
        }
    }
}

/// Sends a case, and reads its answers and what follows them.
pub async fn talk(address: SocketAddr, pieces: &[&[u8]], case: &Case) -> Result<Talk, String> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (read, mut write) = stream.into_split();
    let mut talk = Talk::default();
    let mut reader = Reader {
        read,
        came: Vec::new(),
        ended: false,
    };
    let mut closes = false;
    let reading = async {
        for (i, expect) in case.expect.iter().enumerate() {
            let closed = matches!(
                expect.verdict,
                Verdict::Closed(_) | Verdict::Ended | Verdict::Cut { .. }
            );
            closes |= closed || expect.unanswered;
            if expect.unanswered || matches!(expect.verdict, Verdict::Closed(None)) {
                break;
            }
            let bodiless = expect.bodiless || (i == 0 && pieces.concat().starts_with(b"HEAD "));
            let Some(answer) = reader.answer(bodiless).await else {
                break;
            };
            talk.answers.push(answer);
        }
    };
    // Both at once: a gateway that answers early may stop to read.
    let writing = async {
        for piece in pieces {
            if write.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        if case.end {
            let _ = write.shutdown().await;
        }
        // Kept open: its drop would be an end.
        write
    };
    let both = async { tokio::join!(reading, writing) };
    let hangs = |what: &str| format!("{what} never came");
    let ((), mut write) = timeout(PATIENCE, both)
        .await
        .map_err(|_| hangs("an answer"))?;
    let tunnel = talk
        .answers
        .last()
        .is_some_and(|answer| answer.status == 101);
    if tunnel {
        let _ = write.shutdown().await;
    } else if !closes && !case.end && !reader.ended {
        // It still serves, or it has ended: the write may fail.
        let _ = write.write_all(CONTROL.as_bytes()).await;
    }
    let rest = async { while reader.more().await {} };
    timeout(PATIENCE, rest)
        .await
        .map_err(|_| hangs("the connection's end"))?;
    if tunnel {
        return Ok(talk);
    }
    match parse(&reader.came, false) {
        Some((answer, used)) if answer.body == CONTROL_PATH.as_bytes() && !closes => {
            talk.extra = reader.came.split_off(used);
        }
        _ => talk.extra = reader.came,
    }
    Ok(talk)
}

struct Reader {
    read: OwnedReadHalf,
    came: Vec<u8>,
    ended: bool,
}

impl Reader {
    /// The next answer; `None` where the connection ends before it does.
    async fn answer(&mut self, bodiless: bool) -> Option<Answer> {
        let mut continued = false;
        loop {
            match parse(&self.came, bodiless) {
                Some((answer, used)) => {
                    self.came.drain(..used);
                    if answer.status != 100 {
                        return Some(Answer {
                            continued,
                            ..answer
                        });
                    }
                    continued = true;
                }
                None if !self.more().await => return None,
                None => {}
            }
        }
    }

    /// Reads on; false at the end. A reset is as good as an end.
    async fn more(&mut self) -> bool {
        self.ended |= !matches!(self.read.read_buf(&mut self.came).await, Ok(1..));
        !self.ended
    }
}

/// The first answer of these bytes, and how long it is; `None` while it isn't whole.
fn parse(bytes: &[u8], bodiless: bool) -> Option<(Answer, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = as_latin1(&bytes[..end]);
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let lower = head.to_ascii_lowercase();
    let field = |name: &str| {
        Some(
            lower
                .split(&format!("\r\n{name}: "))
                .nth(1)?
                .lines()
                .next()?
                .to_owned(),
        )
    };
    let mut answer = Answer {
        status,
        ..Answer::default()
    };
    if bodiless || status < 200 || status == 204 || status == 304 {
        return Some((answer, end));
    }
    if field("transfer-encoding").is_some() {
        let mut at = end;
        loop {
            let line = bytes[at..].windows(2).position(|w| w == b"\r\n")?;
            let size = usize::from_str_radix(&as_latin1(&bytes[at..at + line]), 16).ok()?;
            at += line + 2;
            answer.body.extend(bytes.get(at..at + size)?);
            bytes.get(at + size..at + size + 2)?;
            at += size + 2;
            if size == 0 {
                return Some((answer, at));
            }
        }
    }
    let length = field("content-length").map_or(0, |length| length.parse().unwrap());
    answer.body = bytes.get(end..end + length)?.to_vec();
    Some((answer, end + length))
}
