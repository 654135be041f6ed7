//! The journey of a request, from its head to the end of its response.
//!
//! 1. accept ([`accept`]): a connection, its protocol, its clocks; [`Exchange::accept`] opens the account.
//! 2. normalise: one reading of the request, or a refusal; the route is found.
//! 3. identify ([`identify`]): who asks.
//! 4. match: the live candidates among the policies.
//! 5. inspect ([`inspect`]): the body is read, if a candidate judges it.
//! 6. decide: the verdict, and with it the permit.
//! 7. record: the decision is on record, or nothing goes on.
//! 8. forward ([`forward`]): the permitted request leaves.
//! 9. outcome ([`relay`], [`tunnel`]): the response goes back, and its end is on record.
//!
//! Whatever ends a request early is a [`Refusal`], and all refusals leave through [`Exchange::refuse`]: one
//! record, and one table of answers ([`respond`]).

pub mod accept;
pub mod answer;
pub mod exchange;
pub mod forward;
pub mod framing;
pub mod identify;
pub mod inspect;
pub mod judged;
pub mod outcome;
pub mod relay;
pub mod respond;
pub mod routes;
pub mod standing;
pub mod streams;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod tunnel;
pub mod upstream;
pub mod wire;
pub mod worker;

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use accept::Connection;
use answer::Answer;
use exchange::Exchange;
use respond::Refusal;
use worker::Worker;

/// Takes one request from its head to its answer.
pub async fn handle(
    worker: &Arc<Worker>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let mut exchange = Exchange::accept(worker, connection, request);
    match journey(&mut exchange).await {
        Ok(response) => response,
        Err(refusal) => exchange.refuse(refusal).await,
    }
}

async fn journey(exchange: &mut Exchange) -> Result<Response<Answer>, Refusal> {
    let live = exchange.live();
    exchange.normalise()?;
    let judged = exchange.identify().await?;
    let mut candidates = exchange.consider(&live, &judged)?;
    let wanted = candidates.body_plan().wants()
        || (candidates.shadow_plan().wants() && judged.shadow_may_read());
    let content = exchange.inspect(wanted, &judged).await?;
    if wanted {
        // A client takes its time over a body, and a right may end within it.
        exchange.identify_again().await?;
        candidates = exchange.consider(&live, &judged)?;
    }
    let permit = exchange.decide(candidates, &content)?;
    let outcome = exchange.record(&permit).await?;
    exchange.forward(permit, judged, content, outcome).await
}
