//! The WebSocket handshake (RFC 6455, section 4.2.1), the one upgrade there is.
//!
//! Deliberately absent: extended CONNECT (RFC 8441).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, Method, Version, header};

use super::{elements, single};
use crate::policy::fault::Fault;

/// Whether this is a WebSocket handshake. [`Fault::Upgrade`] where it is a broken one or another upgrade:
/// servers differ on how much of a handshake they ask for, and after the upgrade nothing is judged any more.
pub fn is_websocket(method: &Method, version: Version, headers: &HeaderMap) -> Result<bool, Fault> {
    let connection_upgrades = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(elements)
        .any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let upgrade = one(headers, &header::UPGRADE)?;
    if !connection_upgrades && upgrade.is_none() {
        return Ok(false);
    }
    let complete = connection_upgrades
        && upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"))
        && method == Method::GET
        && version == Version::HTTP_11
        && one(headers, &header::SEC_WEBSOCKET_VERSION)? == Some("13")
        && one(headers, &header::SEC_WEBSOCKET_KEY)?.is_some_and(is_key)
        // a body before the first frame is one that nobody reads the same way
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && one(headers, &header::CONTENT_LENGTH)?.is_none_or(|length| length == "0");
    if complete {
        Ok(true)
    } else {
        Err(Fault::Upgrade)
    }
}

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Fault> {
    single(headers, name).map_err(|_| Fault::Upgrade)
}

/// A nonce of 16 bytes in base64.
fn is_key(text: &str) -> bool {
    let mut nonce = [0; 18];
    text.len() == 24 && STANDARD.decode_slice(text, &mut nonce) == Ok(16)
}
