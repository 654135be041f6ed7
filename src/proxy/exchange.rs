//! One request's account: what is known of it so far, and the two ways in which it ends.
//!
//! Each step of the journey is a method that adds to the account or refuses. [`Exchange::refuse`] is the one
//! exit of every refusal: it writes the one record, unless the decision is on record already, and answers by
//! the one table. On a permit the account goes over to the response, whose end closes it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use uuid::Uuid;

use super::accept::Connection;
use super::answer::Answer;
use super::identify::{self, Identified, IdentityError};
use super::inspect::{Inspected, Whole, inspect};
use super::judged::{Content, Judged};
use super::outcome::Outcome;
use super::respond::{Caller, Refusal, Stage, is_grpc, respond};
use super::trace::Trace;
use super::upstream::{RequestBody, StreamBody};
use super::wire::Busy;
use super::worker::{Live, Worker};
use crate::audit::record::{self, Early, JudgedField, Stages};
use crate::config::Route;
use crate::metrics::{self, RouteMetrics};
use crate::policy::normalise;
use crate::policy::{Canonical, Considered, Fault, Permit, Principal, Reason, Shadow, Verdict};

/// A request under way.
pub struct Exchange {
    pub(super) worker: Arc<Worker>,
    pub(super) connection: Arc<Connection>,
    pub(super) live: Arc<Live>,
    pub(super) id: Uuid,
    pub(super) started: Instant,
    pub(super) head: Parts,
    pub(super) trace: Trace,
    /// Set by `normalise`; from then on the headers are in it.
    pub(super) judged: Option<Arc<Judged>>,
    pub(super) route: Option<usize>,
    at: Timestamp,
    marked: Instant,
    stages: Stages,
    grpc: bool,
    body: Option<Incoming>,
    whole: Option<Whole>,
    identified: bool,
    shadow: Vec<Shadow>,
    fields: Vec<JudgedField>,
    template: Option<Arc<str>>,
    recorded: bool,
    busy: Option<Busy>,
    /// What the connection's bytes told of the head, which hyper does not tell.
    framing: Result<(), Fault>,
}

impl Exchange {
    /// Opens the account.
    pub fn accept(
        worker: &Arc<Worker>,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> Exchange {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let live = worker.live();
        let ship = live.snapshot.config.audit.ship.as_ref();
        let begins_sampled = ship.is_some_and(|ship| ship.traces);
        Exchange {
            live,
            worker: worker.clone(),
            connection: connection.clone(),
            id: Uuid::now_v7(),
            at: Timestamp::now(),
            trace: Trace::of(&head.headers, begins_sampled),
            grpc: is_grpc(head.version, &head.headers),
            body: (!body.is_end_stream()).then_some(body),
            busy: Some(connection.pulse.begin()),
            framing: connection
                .heads
                .as_ref()
                .map_or(Ok(()), |heads| heads.serve()),
            started,
            marked: started,
            stages: Stages::default(),
            head,
            judged: None,
            route: None,
            whole: None,
            identified: false,
            shadow: Vec::new(),
            fields: Vec::new(),
            template: None,
            recorded: false,
        }
    }

    /// What this request is judged by, to its end.
    pub fn live(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// The one reading of the request, and its route.
    pub fn normalise(&mut self) -> Result<(), Refusal> {
        self.framing?;
        let Parts {
            method,
            uri,
            version,
            headers,
            ..
        } = &self.head;
        normalise::headers::check(headers, *version)?;
        let websocket = normalise::headers::is_websocket(method, *version, headers)?;
        let canonical = Canonical::of(method, uri, *version, headers)?;
        let misdirected = self
            .connection
            .server_name
            .as_deref()
            .is_some_and(|name| name != canonical.host());
        let snapshot = &self.live.snapshot;
        self.route = snapshot.routes.find(canonical.host(), canonical.path());
        let opaque = self.route().map(|route| route.opaque).unwrap_or_default();
        let admitted = canonical.admitted_by(opaque);
        self.judged = Some(Arc::new(Judged {
            canonical,
            headers: std::mem::take(&mut self.head.headers),
            principal: None,
            client: self.connection.client.ip(),
            has_body: self.body.is_some(),
            websocket,
        }));
        self.stages.normalise = self.lap();
        if misdirected {
            return Err(Refusal::misdirected());
        }
        Ok(admitted?)
    }

    /// Who asks. With that, all is known that the request is judged by, but for its body.
    pub async fn identify(&mut self) -> Result<Arc<Judged>, Refusal> {
        let live = self.live();
        let principal = self.credential(&live).await?;
        self.identified = principal.is_some();
        let judged = self.judged.as_mut().ok_or_else(lost)?;
        // Nobody else has it yet, so nothing is copied.
        Arc::make_mut(judged).principal = principal;
        let judged = judged.clone();
        self.stages.identify = self.lap();
        Ok(judged)
    }

    /// Whether the credential still counts, by what is in force now: a client takes its time over a body, and a key, a
    /// certificate or a token may end within it.
    pub async fn identify_again(&mut self) -> Result<(), Refusal> {
        let newest = self.worker.live();
        self.credential(&newest).await.map(drop)
    }

    async fn credential(&mut self, live: &Live) -> Result<Option<Arc<Principal>>, Refusal> {
        let refused = |error: IdentityError| Refusal::detailed(error.reason(), error.code());
        if !self.connection.vouched(&live.snapshot) {
            return Err(refused(identify::Refusal::CertificateUntrusted.into()));
        }
        let judged = self.judged.as_ref().ok_or_else(lost)?;
        let identifier = &live.snapshot.identifier;
        let certificate = self.connection.certificate.as_ref();
        let found = identifier
            .identify(&live.tokens, &judged.headers, certificate, Timestamp::now())
            .await;
        let found = found.map_err(refused)?;
        Ok(found.map(|Identified { principal, .. }| principal))
    }

    /// The candidates that are left at this moment.
    pub fn consider<'c>(
        &mut self,
        live: &'c Live,
        judged: &'c Judged,
    ) -> Result<Considered<'c>, Refusal> {
        if self.route.is_none() {
            // Not 404: what lies behind is nobody's business who may not ask for it.
            return Err(Refusal::of(match judged.principal {
                Some(_) => Reason::NoPolicy,
                None => Reason::NoCredentials,
            }));
        }
        self.at = Timestamp::now();
        let candidates = live.snapshot.policies.consider(&judged.facts(self.at));
        let lap = self.lap();
        self.stages.r#match += lap;
        Ok(candidates)
    }

    /// The body, if a candidate judges it.
    pub async fn inspect(&mut self, wanted: bool, judged: &Judged) -> Result<Content, Refusal> {
        let Some(body) = self.body.take() else {
            return Ok(Content::Absent);
        };
        let config = &self.live.snapshot.config;
        let (limits, timeouts) = (&config.limits, &config.timeouts);
        let room = &self.live.room;
        let inspected = inspect(wanted, &judged.headers, body, room, limits, timeouts).await?;
        self.stages.inspect = self.lap();
        Ok(match inspected {
            Inspected::Left(body) => {
                self.body = Some(body);
                Content::Left
            }
            Inspected::Unreadable(fault, body) => {
                self.body = Some(body);
                Content::Fault(fault)
            }
            Inspected::Whole(whole) if whole.bytes.is_empty() => {
                // Of nothing, an encoding says too much.
                self.whole = whole.decoded.then_some(whole);
                Content::Absent
            }
            Inspected::Whole(whole) => {
                self.whole = Some(whole.clone());
                Content::Whole(whole)
            }
        })
    }

    /// The verdict.
    pub fn decide(
        &mut self,
        candidates: Considered<'_>,
        content: &Content,
    ) -> Result<Permit, Refusal> {
        let snapshot = &self.live.snapshot;
        let depth = snapshot.config.limits.json_depth;
        let (decision, fields) = content.decide(candidates, depth, &snapshot.redaction);
        self.shadow = decision.shadow;
        self.fields = fields;
        self.template = decision.template;
        self.stages.decide = self.lap();
        match decision.verdict {
            Verdict::Permit(permit) => Ok(permit),
            Verdict::Deny(denial) => Err(Refusal::from(denial)),
        }
    }

    /// Puts the permit on record. What comes back closes it.
    pub async fn record(&mut self, permit: &Permit) -> Result<Outcome, Refusal> {
        let mut decision = self.decision(record::Verdict::Permit);
        decision.policies = permit.policy().into();
        let audit = &self.worker.shared.audit;
        let kept = audit.decided(&decision).await;
        drop(decision);
        // Whatever happened to it, a second record would be one too many.
        self.recorded = true;
        let outcome = kept.map(|()| Outcome::open(self));
        let metrics = &self.worker.shared.metrics;
        metrics.stages(&self.stages);
        metrics.stage(metrics::Stage::Record, self.marked.elapsed());
        match outcome {
            Ok(outcome) => Ok(outcome),
            Err(error) => {
                tracing::debug!(%error, "no record, no request");
                self.metrics().denied(Reason::Unavailable);
                Err(Refusal::detailed(Reason::Unavailable, "audit"))
            }
        }
    }

    /// The one way out of every refusal.
    pub async fn refuse(mut self, refusal: Refusal) -> Response<Answer> {
        let refusal = self.record_refusal(refusal).await;
        if !self.recorded {
            self.metrics().denied(refusal.reason);
        }
        let id = self.id.hyphenated().to_string();
        let body = self.whole.as_ref().map(|whole| &*whole.bytes);
        let caller = Caller {
            method: &self.head.method,
            version: self.head.version,
            grpc: self.grpc,
            body,
        };
        let mut response = respond(&refusal, &id, &caller);
        if self.framing.is_err() {
            // Where its next request begins is anybody's guess.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if let Some(body) = self.body.take() {
            let headers = self.judged.as_ref().map(|judged| &judged.headers);
            drain(body, headers.unwrap_or(&self.head.headers));
        }
        let busy = self.busy();
        response.map(|bytes| Answer::own(bytes, busy))
    }

    async fn record_refusal(&mut self, refusal: Refusal) -> Refusal {
        if self.recorded {
            return refusal;
        }
        let audit = &self.worker.shared.audit;
        // A flood of strangers must not fill the sink: above a rate they are counted.
        if !self.identified && !audit.refused_early_for(Early::Denied(refusal.reason)) {
            return refusal;
        }
        let mut decision = self.decision(record::Verdict::Deny);
        decision.reason = Some(refusal.reason);
        decision.detail = refusal.detail.map(Cow::Borrowed);
        decision.policies = (&*refusal.policies).into();
        decision.request.fields = Cow::Borrowed(&refusal.fields);
        match audit.decided(&decision).await {
            Ok(()) => refusal,
            Err(_) => Refusal::detailed(Reason::Unavailable, "audit"),
        }
    }

    /// The record, as far as it is the same for both verdicts.
    fn decision(&self, verdict: record::Verdict) -> record::Decision<'_> {
        let snapshot = &self.live.snapshot;
        let route = self.route();
        let upstream = route.and_then(|route| snapshot.config.upstreams.get(route.upstream));
        let judged = self.judged.as_deref();
        let request = match judged {
            None => record::Request {
                method: Some(self.head.method.as_str())
                    .filter(|method| normalise::names_a_method(method))
                    .map(Cow::Borrowed),
                ..record::Request::default()
            },
            Some(Judged { canonical, .. }) => record::Request {
                template: self.template.as_deref().map(Cow::Borrowed),
                method: Some(Cow::Borrowed(canonical.method())),
                host: Some(Cow::Borrowed(canonical.host())),
                path: Some(Cow::Borrowed(canonical.path())),
                query: record::QueryNames::of(canonical.query()),
                body_sha256: self
                    .whole
                    .as_ref()
                    .and_then(|whole| whole.digest)
                    .map(record::Sha256),
                judged: record::JudgedFields(Cow::Borrowed(&self.fields)),
                ..record::Request::default()
            },
        };
        record::Decision {
            id: self.id,
            at: self.at,
            policy_set: Cow::Borrowed(snapshot.policies.digest()),
            decision: verdict,
            reason: None,
            detail: None,
            policies: Default::default(),
            shadow: (&*self.shadow).into(),
            principal: judged
                .and_then(|judged| judged.principal.as_deref())
                .map(Into::into),
            client: self.connection.client,
            route: route.map(|route| Cow::Borrowed(&*route.name)),
            upstream: upstream.map(|upstream| Cow::Borrowed(&*upstream.name)),
            request,
            trace_id: Some(Cow::Borrowed(self.trace.id())),
            span_id: Some(Cow::Borrowed(self.trace.span())),
            parent_id: self.trace.parent().map(Cow::Borrowed),
            sampled: self.trace.sampled(),
            stages_us: self.stages,
        }
    }

    /// The counters of its route.
    pub(super) fn metrics(&self) -> &RouteMetrics {
        self.live.metrics(self.route)
    }

    /// The route, once it was found.
    pub(super) fn route(&self) -> Option<&Route> {
        self.live.snapshot.config.routes.get(self.route?)
    }

    /// The body as it is forwarded: what was judged byte for byte, or the stream that nobody judged.
    pub(super) fn outgoing(&mut self) -> RequestBody {
        let config = &self.live.snapshot.config;
        match (&self.whole, self.body.take()) {
            (Some(whole), _) => RequestBody::Full(whole.bytes.clone()),
            (None, Some(body)) => RequestBody::Stream(StreamBody::new(
                body,
                config.limits.body,
                config.timeouts.idle,
            )),
            (None, None) => RequestBody::Empty,
        }
    }

    /// Takes away the headers that no longer hold for what is forwarded.
    pub(super) fn settle(&mut self, mut judged: Arc<Judged>) -> Arc<Judged> {
        let decoded = self.whole.as_ref().is_some_and(|whole| whole.decoded);
        let stale = !self.trace.continued() && judged.headers.contains_key(TRACESTATE);
        if decoded || stale {
            // The account has no more use for it, so nothing is copied.
            self.judged = None;
            let headers = &mut Arc::make_mut(&mut judged).headers;
            if decoded {
                for name in OF_THE_ENCODED {
                    headers.remove(name);
                }
            }
            if stale {
                headers.remove(TRACESTATE);
            }
        }
        judged
    }

    /// The sign that this exchange is open, for its answer.
    pub(super) fn busy(&mut self) -> Busy {
        let pulse = &self.connection.pulse;
        self.busy.take().unwrap_or_else(|| pulse.begin())
    }

    /// The time since the last stage ended.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.marked, now)
    }
}

impl Refusal {
    /// A refusal after the request was sent.
    pub(super) fn after(reason: Reason, fault: Option<Fault>) -> Refusal {
        Refusal {
            detail: fault.map(Fault::code),
            stage: Stage::After,
            ..Refusal::of(reason)
        }
    }
}

/// A step came before the one that it builds on. Nothing does this; if something did, it would end here.
pub(super) fn lost() -> Refusal {
    Refusal::detailed(Reason::Unavailable, "order")
}

/// Reads on for a moment what a refused client still sends. Closing a connection while bytes arrive resets it,
/// and the client might never see its answer; and what is short leaves the connection fit for use.
fn drain(mut body: Incoming, headers: &HeaderMap) {
    // Who waits for a go-ahead sends nothing, and reading would give it.
    if body.is_end_stream() || headers.contains_key(header::EXPECT) {
        return;
    }
    tokio::spawn(async move {
        let mut left = DRAIN_BYTES;
        let read = async {
            while let Some(Ok(frame)) = body.frame().await {
                let came = frame.data_ref().map_or(0, bytes::Bytes::len);
                left = left.saturating_sub(came);
                if left == 0 {
                    return;
                }
            }
        };
        let _ended = tokio::time::timeout(DRAIN_TIME, read).await;
    });
}

const DRAIN_BYTES: usize = 256 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// What is said of a body as it came, and no longer holds once it is decoded (RFC 9530, sections 2 and 3).
const OF_THE_ENCODED: [HeaderName; 4] = [
    header::CONTENT_ENCODING,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("repr-digest"),
];
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
