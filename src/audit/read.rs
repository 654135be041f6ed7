//! Records read back: for `demo`'s readable log, and for whoever looks into a file.
//!
//! What is read is judged as little as possible: fields that are missing or unknown do no harm, as long as
//! the line is a record of a version known here. [`describe`] is safe to print: text that could move a
//! terminal's cursor or turn the reading direction is escaped. [`visible`] does the same to any text.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::encode;
use super::line::is_hidden;
use super::record::{Decision, End, Envelope, Event, Outcome, SinkState, VERSION, Verdict};

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A decision.
    Decision(Envelope, Box<Decision<'static>>),
    /// An outcome.
    Outcome(Envelope, Box<Outcome<'static>>),
    /// An event and its time.
    Event(Envelope, Timestamp, Event<'static>),
}

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or not of the schema's shape.
    #[error("not an audit record: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A later version of the schema.
    #[error("an audit record of version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// A file's header, which isn't meant to be a record; see [`Segment`](super::segment::Segment).
    #[error("a file's header, not a record")]
    Header,
    /// A kind of record that version 1 doesn't have.
    #[error("an audit record of an unknown kind")]
    Kind,
}

#[derive(Deserialize)]
struct Head {
    v: u32,
    kind: String,
    #[serde(flatten)]
    envelope: Envelope,
}

#[derive(Deserialize)]
struct Timed {
    #[serde(with = "encode::time")]
    at: Timestamp,
    #[serde(flatten)]
    event: Event<'static>,
}

impl Record {
    /// Reads one line, with or without its line feed.
    pub fn parse(line: &str) -> Result<Record, ReadError> {
        let Head { v, kind, envelope } = serde_json::from_str(line)?;
        if v != VERSION {
            return Err(ReadError::Version(v));
        }
        Ok(match kind.as_str() {
            "decision" => Record::Decision(envelope, serde_json::from_str(line)?),
            "outcome" => Record::Outcome(envelope, serde_json::from_str(line)?),
            "event" => {
                let Timed { at, event } = serde_json::from_str(line)?;
                Record::Event(envelope, at, event)
            }
            "segment" => return Err(ReadError::Header),
            _ => return Err(ReadError::Kind),
        })
    }

    /// Node and number.
    pub fn envelope(&self) -> &Envelope {
        match self {
            Record::Decision(envelope, _)
            | Record::Outcome(envelope, _)
            | Record::Event(envelope, _, _) => envelope,
        }
    }
}

/// One line for humans, without a line feed.
pub fn describe(record: &Record) -> String {
    describe_with(record, |_, word| word.to_owned())
}

/// How a record went, for who colours it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As wished: permitted, complete, in force.
    Good,
    /// Denied, failed, refused.
    Bad,
    /// To be looked at: cut short, or not known.
    Odd,
}

/// The same with the word that tells how it went as `paint` wants it.
pub fn describe_with(record: &Record, paint: impl Fn(Tone, &str) -> String) -> String {
    let mut line = Line(String::with_capacity(160), &paint);
    match record {
        Record::Decision(_, decision) => line.decision(decision),
        Record::Outcome(_, outcome) => line.outcome(outcome),
        Record::Event(_, at, event) => line.event(*at, event),
    }
    line.0
}

/// Any text, escaped where it could speak to a terminal.
pub fn visible(text: &str) -> String {
    let mut line = Line(String::with_capacity(text.len()), &|_, _| String::new());
    line.text(text);
    line.0
}

/// A JSON text as one line that can't speak to a terminal: what the writer would have escaped is. As JSON it is the
/// same; a line of ours comes back as it is.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    let hides = |c: char| c < ' ' || is_hidden(c);
    if !json.contains(hides) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            // within a text JSON doesn't let them stand, so this one is between two parts
            c if c < ' ' => shown.push(' '),
            c if is_hidden(c) => {
                let _ = write!(shown, "\\u{:04x}", u32::from(c)); // to a String, which takes everything
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

struct Line<'p>(String, &'p dyn Fn(Tone, &str) -> String);

impl Line<'_> {
    fn decision(&mut self, decision: &Decision<'_>) {
        self.time(decision.at);
        match decision.decision {
            Verdict::Permit => self.tone(Tone::Good, "permit"),
            Verdict::Deny => self.tone(Tone::Bad, "DENY  "),
        }
        let request = &decision.request;
        self.word(request.method.as_deref().unwrap_or("?"));
        self.word(request.path.as_deref().unwrap_or("?"));
        let names: Vec<&str> = request.query.iter().collect();
        if !names.is_empty() {
            self.0.push('?');
            self.text(&names.join("&"));
        }
        self.field("reason", decision.reason.map(|reason| reason.code()));
        self.field("detail", decision.detail.as_deref());
        for id in decision.policies.0.iter() {
            self.field("policy", Some(id));
        }
        for field in request.fields.iter() {
            self.field("field", Some(field));
        }
        for shadow in decision.shadow.0.iter() {
            let would = if shadow.effect == crate::policy::Effect::Permit {
                "would-permit"
            } else {
                "would-deny"
            };
            self.field(would, Some(&shadow.policy));
        }
        match &decision.principal {
            Some(principal) => {
                self.field("agent", principal.agent.as_deref());
                self.field("user", principal.user.as_deref());
                self.field("task", principal.task.as_deref());
            }
            None => self.word("anonymous"),
        }
        self.field("id", Some(&decision.id.to_string()));
    }

    fn outcome(&mut self, outcome: &Outcome<'_>) {
        self.time(outcome.at);
        match outcome.end {
            End::Complete => self.tone(Tone::Good, "done  "),
            End::ClientGone => self.tone(Tone::Odd, "client gone"),
            End::UpstreamFailed => self.tone(Tone::Bad, "upstream failed"),
            End::Cut => self.tone(Tone::Odd, "cut"),
            End::Aborted => self.tone(Tone::Odd, "aborted"),
            End::Unknown => self.tone(Tone::Odd, "unknown: the process died"),
        }
        if let Some(status) = outcome.status {
            self.word(&status.to_string());
        }
        self.word(&format!("{} bytes", outcome.bytes));
        if let Some(total) = outcome.total_us {
            self.word(&format!("in {}", duration(total)));
        }
        self.field("upstream", outcome.upstream.as_deref());
        self.field("id", Some(&outcome.id.to_string()));
    }

    fn event(&mut self, at: Timestamp, event: &Event<'_>) {
        self.time(at);
        match event {
            Event::Start(start) => {
                self.word("start, version");
                self.word(&start.version);
                self.word(&format!("with {} policies", start.policies));
                self.field("policy_set", Some(&start.policy_set));
            }
            Event::Stop {} => self.word("stop"),
            Event::Reload {
                ok,
                policy_set,
                policies,
                problems,
            } => {
                self.word(&match ok {
                    true => format!("reload, {policies} policies in force"),
                    false => format!("reload REFUSED for {problems} problems"),
                });
                self.field("policy_set", Some(policy_set));
            }
            Event::KeyChange { provider, keys } => {
                self.word(&format!("key change, {keys} keys"));
                self.field("provider", Some(provider));
            }
            Event::Refusals { counts } => {
                self.word("refused without a record of their own:");
                for refusals in counts {
                    self.field(&refusals.cause, Some(&refusals.count.to_string()));
                }
            }
            Event::Sink {
                state,
                error,
                since,
                count,
            } => {
                self.word(match state {
                    SinkState::Trouble => "sink FAILS, requests are refused",
                    SinkState::Recovered => "sink recovered; requests refused meanwhile:",
                    SinkState::Torn => "half a line cut off, bytes:",
                    SinkState::Unreadable => "lines that are no records:",
                    SinkState::Unlinked => "records that don't follow from the one before:",
                    SinkState::SetAside => "a log that didn't begin as one was set aside",
                    SinkState::Contradicted => "the log CONTRADICTS its last checkpoint",
                    SinkState::CheckpointFailed => "a checkpoint could not be written",
                    SinkState::KeepingFailed => "a closed file could not be looked after",
                    SinkState::RotationFailed => "the file could not be rotated",
                    SinkState::Removed => "the file was removed, and begun anew",
                });
                if let Some(count) = count {
                    self.word(&count.to_string());
                }
                self.field("since", since.map(|since| format!("{since:.0}")).as_deref());
                self.field("error", error.as_deref());
            }
        }
    }

    fn time(&mut self, at: Timestamp) {
        let _ = write!(self.0, "{at:.3}"); // to a String, which takes everything
    }

    /// A word of ours, painted.
    fn tone(&mut self, tone: Tone, word: &str) {
        self.0.push(' ');
        self.0.push_str(&(self.1)(tone, word));
    }

    fn word(&mut self, word: &str) {
        self.0.push(' ');
        self.text(word);
    }

    fn field(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.word(name);
            self.0.push('=');
            self.text(value);
        }
    }

    fn text(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_control() || is_formatting(c) {
                self.0.extend(c.escape_unicode());
            } else {
                self.0.push(c);
            }
        }
    }
}

/// Characters that are not seen, or change how others are: direction marks, separators, tags, byte order.
fn is_formatting(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn duration(time: Duration) -> String {
    match time.as_micros() {
        micros if micros < 1_000 => format!("{micros} µs"),
        micros if micros < 10_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
