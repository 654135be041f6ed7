//! An OTLP/HTTP receiver that answers as it is told, and remembers what it took.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// Far longer than anything takes when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a request is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// 200 and an empty message; the request counts.
    Take,
    /// The same, with these bytes for a response, whatever they are; the request counts.
    TakeAndSay(Vec<u8>),
    /// The request counts, and the connection closes without an answer.
    TakeAndClose,
    /// The answer, and then the connection closes; the request counts.
    TakeAndLeave,
    /// These bytes for a response; the request doesn't count.
    Say(String),
    /// The connection closes without an answer; the request doesn't count.
    Close,
    /// Nothing ever comes.
    Hang,
}

/// A status without more.
pub(crate) fn status(status: u16, headers: &str) -> Reply {
    Reply::Say(format!(
        "HTTP/1.1 {status} So\r\n{headers}content-length: 0\r\n\r\n"
    ))
}

/// What a request is answered with where nothing was said for it.
type Rule = Box<dyn Fn(&Request) -> Reply + Send>;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: String,
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) spans: Vec<Span>,
    /// `service.name` and the others of each resource.
    pub(crate) resources: Vec<Vec<KeyValue>>,
    /// Which connection it came on.
    pub(crate) connection: usize,
}

/// The receiver; it ends with the process.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

struct State {
    replies: VecDeque<Reply>,
    rule: Rule,
    taken: Vec<Request>,
    asked: usize,
}

impl Receiver {
    /// Takes all, but for what `rule` says.
    pub(crate) fn start(rule: impl Fn(&Request) -> Reply + Send + 'static) -> Receiver {
        Receiver::behind(None, rule)
    }

    /// The same over TLS, where there is some.
    pub(crate) fn behind(
        tls: Option<Arc<rustls::ServerConfig>>,
        rule: impl Fn(&Request) -> Reply + Send + 'static,
    ) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Receiver {
            address: listener.local_addr().unwrap(),
            shared: Arc::new((
                Mutex::new(State {
                    replies: VecDeque::new(),
                    rule: Box::new(rule),
                    taken: Vec::new(),
                    asked: 0,
                }),
                Condvar::new(),
            )),
        };
        let serving = receiver.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (serving, tls, stream) = (serving.clone(), tls.clone(), stream.unwrap());
                std::thread::spawn(move || match tls {
                    None => serving.serve(number, stream),
                    Some(tls) => {
                        let tls = rustls::ServerConnection::new(tls).unwrap();
                        serving.serve(number, rustls::StreamOwned::new(tls, stream));
                    }
                });
            }
        });
        receiver
    }

    pub(crate) fn taking() -> Receiver {
        Receiver::start(|_| Reply::Take)
    }

    /// What the next requests are answered with, before the rule is asked.
    pub(crate) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.0.lock().unwrap().replies.extend(replies);
    }

    /// Waits until what was taken is as wanted, and gives it back.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        self.wait(what, |state| wanted(&state.taken)).taken.clone()
    }

    /// Waits until so many requests came, taken or not.
    pub(crate) fn asked(&self, times: usize) {
        drop(self.wait("requests", |state| state.asked >= times));
    }

    /// Waits until these records are there, in this order where none came twice.
    pub(crate) fn records(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<LogRecord> {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let taken = self.until(&format!("records {numbers:?}"), |taken| {
            logs(taken).len() >= numbers.len()
        });
        let found = logs(&taken);
        assert_eq!(found.iter().map(seq).collect::<Vec<_>>(), numbers);
        found
    }

    /// Waits for so many spans.
    pub(crate) fn spans(&self, count: usize) -> Vec<Span> {
        let all = |taken: &[Request]| -> Vec<Span> {
            taken
                .iter()
                .flat_map(|request| request.spans.clone())
                .collect()
        };
        all(&self.until("spans", |taken| all(taken).len() >= count))
    }

    fn wait(
        &self,
        what: &str,
        wanted: impl Fn(&State) -> bool,
    ) -> std::sync::MutexGuard<'_, State> {
        let (state, changed) = &*self.shared;
        let end = Instant::now() + PATIENCE;
        let mut state = state.lock().unwrap();
        while !wanted(&state) {
            let left = end.saturating_duration_since(Instant::now());
            let numbers: Vec<u64> = logs(&state.taken).iter().map(seq).collect();
            assert!(!left.is_zero(), "in vain: {what}; there are {numbers:?}");
            state = changed.wait_timeout(state, left).unwrap().0;
        }
        state
    }

    fn serve(&self, connection: usize, stream: impl Read + Write) {
        let mut reader = BufReader::new(stream);
        while let Some(mut request) = read(&mut reader) {
            request.connection = connection;
            let reply = {
                let mut state = self.shared.0.lock().unwrap();
                let reply = state.replies.pop_front();
                let reply = reply.unwrap_or_else(|| (state.rule)(&request));
                state.asked += 1;
                if matches!(
                    reply,
                    Reply::Take | Reply::TakeAndSay(_) | Reply::TakeAndClose | Reply::TakeAndLeave
                ) {
                    state.taken.push(request);
                }
                self.shared.1.notify_all();
                reply
            };
            let (bytes, goes_on) = match reply {
                Reply::Take => (EMPTY.as_bytes().to_vec(), true),
                Reply::TakeAndSay(bytes) => (bytes, true),
                Reply::TakeAndLeave => (EMPTY.as_bytes().to_vec(), false),
                Reply::Say(text) => (text.into_bytes(), true),
                Reply::TakeAndClose | Reply::Close => (Vec::new(), false),
                Reply::Hang => {
                    // until the other side has enough
                    let _gone = reader.read(&mut [0]);
                    return;
                }
            };
            if reader.get_mut().write_all(&bytes).is_err() || !goes_on {
                return;
            }
        }
    }
}

/// A response with a message of the protocol.
pub(crate) fn message(message: &impl Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

/// All log records that were taken, in their order.
pub(crate) fn logs(taken: &[Request]) -> Vec<LogRecord> {
    taken
        .iter()
        .flat_map(|request| request.logs.clone())
        .collect()
}

/// The record's number.
pub(crate) fn seq(record: &LogRecord) -> u64 {
    let Some(Value::IntValue(seq)) = attribute(&record.attributes, "portcullis.seq") else {
        panic!("no number: {record:?}");
    };
    u64::try_from(seq).unwrap()
}

/// An attribute's value.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.clone()?.value
}

/// An attribute's text.
pub(crate) fn text(attributes: &[KeyValue], key: &str) -> String {
    match attribute(attributes, key) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

/// A record's line.
pub(crate) fn body(record: &LogRecord) -> &str {
    match &record.body {
        Some(AnyValue {
            value: Some(Value::StringValue(line)),
        }) => line,
        other => panic!("{other:?}"),
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let field = |name: &str| {
        head.lines()
            .find_map(|l| l.strip_prefix(name))
            .map(str::trim)
    };
    let mut body = vec![0; field("content-length:")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    if field("content-encoding:") == Some("gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    let (method, path) = head.lines().next()?.split_once(' ')?;
    assert_eq!(method, "post");
    assert_eq!(field("content-type:"), Some("application/x-protobuf"));
    let mut request = Request {
        path: path.split(' ').next()?.to_owned(),
        headers: head.clone(),
        ..Request::default()
    };
    if request.path.ends_with("/v1/logs") {
        for of in ExportLogsServiceRequest::decode(&*body)
            .unwrap()
            .resource_logs
        {
            request.resources.push(of.resource.unwrap().attributes);
            let records = of
                .scope_logs
                .into_iter()
                .flat_map(|scope| scope.log_records);
            request.logs.extend(records);
        }
    } else {
        for of in ExportTraceServiceRequest::decode(&*body)
            .unwrap()
            .resource_spans
        {
            request.resources.push(of.resource.unwrap().attributes);
            let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
            request.spans.extend(spans);
        }
    }
    Some(request)
}

const EMPTY: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
