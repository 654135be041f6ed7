//! The permitted request leaves, and its end comes on record.
//!
//! [`Outcome`] is opened with the decision and closed exactly once: by the relay or the tunnel that it goes
//! over to, by an error before a response came, or by its drop, when the client goes first. It also counts
//! among the open connections, since a tunnel outlives the connection that it came on.

use std::sync::Arc;

use http::{Response, Version};
use hyper::upgrade::OnUpgrade;
use jiff::Timestamp;

use super::accept::Connection;
use super::answer::Answer;
use super::exchange::{Exchange, lost};
use super::forward::{Outbound, forward};
use super::judged::{Content, Judged};
use super::relay::{Bounds, Closing, Deadline, Relay};
use super::respond::Refusal;
use super::standing::Standing;
use super::streams::{Holds, Ticket};
use super::tunnel::{self, Handshake};
use super::upstream::{BodyFault, BodyState, RequestBody, Sent, UpstreamError};
use super::wire::Busy;
use super::worker::{Phase, Worker};
use crate::audit::{End, OpenOutcome};
use crate::metrics::RouteMetrics;
use crate::policy::{Fault, Permit, Reason};

/// The open account of a forwarded request.
#[derive(Debug)]
pub struct Outcome {
    open: Option<OpenOutcome>,
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    /// Keeps the clock for heads away from a tunnel: what comes through it is no head.
    tunnel: Option<Busy>,
    route: RouteMetrics,
    sent: Option<Arc<BodyState>>,
}

impl Exchange {
    /// Sends the request and answers with the response.
    pub async fn forward(
        &mut self,
        permit: Permit,
        judged: Arc<Judged>,
        content: Content,
        mut outcome: Outcome,
    ) -> Result<Response<Answer>, Refusal> {
        let body = self.outgoing();
        outcome.sends(&body);
        let judged = self.settle(judged);
        let handshake = match self.handshake(&judged) {
            Ok(handshake) => handshake,
            Err(fault) => return Err(outcome.failed(Refusal::from(fault), End::Aborted)),
        };
        let Some(mut ticket) = self.ticket(&judged, content, permit.until()) else {
            return Err(outcome.failed(Refusal::of(Reason::Revoked), End::Cut));
        };
        let live = self.live();
        let config = &live.snapshot.config;
        let index = self.route.ok_or_else(lost)?;
        let route = config.routes.get(index).ok_or_else(lost)?;
        let upstream = live.upstreams.get(route.upstream).ok_or_else(lost)?;
        let deadline = Deadline::first(permit.until(), route.request_timeout);
        let outbound = Outbound {
            route,
            request: &judged.canonical,
            headers: &judged.headers,
            version: self.head.version,
            body,
            client: self.connection.client,
            tls: self.connection.tls,
            traceparent: self.trace.header(),
            injected: live.injected(index),
            websocket: judged.websocket,
        };
        let sent = tokio::select! {
            biased;
            end = ticket.cut() => return Err(outcome.failed(cut(end), end)),
            sent = forward(permit, outbound, upstream) => sent,
        };
        let bounds = Bounds {
            idle: None,
            deadline,
            ticket: Some(ticket),
        };
        match sent {
            Ok(sent) => self.answer(sent, handshake, bounds, outcome),
            Err(error) => Err(outcome.broke(&error)),
        }
    }

    fn answer(
        &mut self,
        sent: Sent,
        handshake: Option<(Handshake, OnUpgrade)>,
        bounds: Bounds,
        mut outcome: Outcome,
    ) -> Result<Response<Answer>, Refusal> {
        let status = sent.response.status();
        outcome.head(status.as_u16(), &sent.address);
        let busy = self.busy();
        if let Some((handshake, client)) = handshake
            && status == http::StatusCode::SWITCHING_PROTOCOLS
        {
            return match tunnel::accept(&handshake, sent) {
                Ok(accepted) => {
                    outcome.route.permitted();
                    outcome.tunnel = Some(outcome.connection.pulse.begin());
                    let response = tunnel::upgrade(accepted, client, bounds, Box::new(outcome));
                    Ok(response.map(|_| Answer::own(bytes::Bytes::new(), busy)))
                }
                Err(error) => Err(outcome.broke(&error)),
            };
        }
        outcome.route.permitted();
        let http2 = self.head.version == Version::HTTP_2;
        let Bounds {
            deadline, ticket, ..
        } = bounds;
        let response = Relay::response(sent, deadline, ticket, Box::new(outcome));
        let idle = self.live.snapshot.config.timeouts.idle;
        Ok(response.map(|relay| match http2 {
            true => Answer::guarded(relay, busy, idle),
            false => Answer::upstream(relay, busy),
        }))
    }

    /// The client's half of a WebSocket handshake, where it is one.
    fn handshake(&mut self, judged: &Judged) -> Result<Option<(Handshake, OnUpgrade)>, Fault> {
        if !judged.websocket {
            return Ok(None);
        }
        let head = &mut self.head;
        let handshake = Handshake::read(&head.method, head.version, &judged.headers);
        match (handshake, head.extensions.remove::<OnUpgrade>()) {
            (Some(handshake), Some(client)) => Ok(Some((handshake, client))),
            _ => Err(Fault::Upgrade),
        }
    }

    /// Enters the request among those that are judged again when policies or identity change. `None` where they
    /// changed since its decision and no longer permit it, or not for as long.
    fn ticket(
        &self,
        judged: &Arc<Judged>,
        content: Content,
        until: Option<Timestamp>,
    ) -> Option<Ticket> {
        let began = &self.live.snapshot;
        let standing = Standing::new(
            self.connection.clone(),
            judged.clone(),
            content,
            until,
            began,
        );
        let holds: Holds = Arc::new(move |policies, now| standing.holds(policies, now));
        let ticket = self.worker.streams.register(holds.clone());
        // Whoever changes policies asks the registered ones after the change: so this look comes after registering.
        if self.worker.shared.generation() == began.generation {
            return Some(ticket);
        }
        let newest = self.worker.shared.snapshot();
        holds(&newest.policies, Timestamp::now()).then_some(ticket)
    }
}

impl Outcome {
    /// Opens the account of a recorded permit.
    pub fn open(exchange: &Exchange) -> Outcome {
        let audit = &exchange.worker.shared.audit;
        Outcome {
            open: Some(audit.open_outcome(exchange.id, exchange.started)),
            worker: exchange.worker.clone(),
            connection: exchange.connection.clone(),
            tunnel: None,
            route: exchange.metrics().clone(),
            sent: None,
        }
    }

    fn sends(&mut self, body: &RequestBody) {
        match body {
            RequestBody::Empty => {}
            RequestBody::Full(bytes) => {
                if let Some(open) = &mut self.open {
                    open.request_bytes = bytes.len() as u64;
                }
            }
            RequestBody::Stream(stream) => self.sent = Some(stream.state().clone()),
        }
    }

    fn head(&mut self, status: u16, address: &Arc<str>) {
        if let Some(open) = &mut self.open {
            open.head(status);
            open.upstream = Some(address.clone());
        }
    }

    /// Closes it with what the client is told instead of a response.
    fn failed(mut self, refusal: Refusal, end: End) -> Refusal {
        self.route.failed(refusal.reason);
        if let Some(open) = &mut self.open {
            open.status = Some(refusal.status().as_u16());
        }
        self.finish(end, None);
        refusal
    }

    fn broke(self, error: &UpstreamError) -> Refusal {
        tracing::debug!(%error, "a request failed on its way");
        let end = match error {
            UpstreamError::RequestBody(BodyFault::Broken) => End::ClientGone,
            UpstreamError::RequestBody(_)
            | UpstreamError::BodyTooLarge
            | UpstreamError::Unsendable(_) => End::Aborted,
            UpstreamError::Expired => End::Cut,
            UpstreamError::Connect(_)
            | UpstreamError::ConnectTimeout
            | UpstreamError::Tls(_)
            | UpstreamError::Alpn
            | UpstreamError::Unsent(_)
            | UpstreamError::Reset(_)
            | UpstreamError::Protocol(_)
            | UpstreamError::Unexpected(_)
            | UpstreamError::Timeout => End::UpstreamFailed,
        };
        self.failed(Refusal::after(error.reason(), error.fault()), end)
    }

    fn finish(&mut self, end: End, relayed: Option<(u64, [u8; 32])>) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        if let Some(sent) = &self.sent {
            open.request_bytes = sent.bytes();
        }
        let stopping = *self.worker.shared.phase.borrow() == Phase::Cutting;
        // Not the client went, but the process is about to.
        let ours = stopping || std::thread::panicking();
        let end = if end == End::ClientGone && ours {
            End::Aborted
        } else {
            end
        };
        match relayed {
            Some((bytes, digest)) => open.close_relayed(end, bytes, digest),
            None => open.close(end),
        }
    }
}

impl Closing for Outcome {
    fn close(mut self: Box<Self>, end: End, bytes: u64, digest: [u8; 32]) {
        self.finish(end, Some((bytes, digest)));
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.finish(End::ClientGone, None);
    }
}

/// What the client is told when its request is cut before a response came.
fn cut(end: End) -> Refusal {
    match end {
        End::Aborted => Refusal::after(Reason::Unavailable, None),
        End::Cut | End::Complete | End::ClientGone | End::UpstreamFailed | End::Unknown => {
            Refusal::after(Reason::Revoked, None)
        }
    }
}
