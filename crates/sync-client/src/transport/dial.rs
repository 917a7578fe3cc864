//! Getting through to a relay that may be away for a moment.
//!
//! QUIC repeats a first packet that was lost after one second and again after three, and a relay that is back in
//! between would be reached no sooner. So a dial is several attempts side by side, begun so that between them a
//! packet leaves every half second. The first that gets through is kept.
//!
//! An attempt costs a living relay a handshake. So there are never more than these few, and each device begins them at
//! moments of its own: a relay that comes back doesn't meet all devices at once.

use std::time::Duration;

use iroh::{
    Endpoint, EndpointAddr,
    endpoint::{ConnectError, ConnectingError, Connection, ConnectionError},
};
use sync_types::{ErrorCode, limits::ALPN};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::pulse::{LOOK, Traffic};
use crate::{random::random, resolve::look_up, store::Pin};

/// From one attempt to the next, in turn: a second packet of each falls in between.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1_500)];
/// A pause is shorter by up to so many milliseconds.
const JITTER_MS: u16 = 100;

/// Dials until it gets through. Ends without, if nothing is left that could get through, or if an attempt fails for
/// a reason that has a name.
pub(super) async fn dial(endpoint: Endpoint, pin: Pin) -> Result<Connection, Option<ErrorCode>> {
    let addr = look_up(&pin).await;
    let mut attempts = JoinSet::new();
    for pause in PAUSES.into_iter().cycle() {
        let (endpoint, addr) = (endpoint.clone(), addr.clone());
        attempts.spawn(async move { connect(&endpoint, addr, ALPN).await });
        let next = Instant::now() + jittered(pause);
        while let Ok(Some(ended)) = timeout_at(next, attempts.join_next()).await {
            match ended.unwrap_or(Err(None)) {
                Err(None) if !attempts.is_empty() => {}
                decided => return decided,
            }
        }
    }
    unreachable!("a cycle has no end")
}

fn jittered(pause: Duration) -> Duration {
    pause - Duration::from_millis((u16::from_be_bytes(random()) % JITTER_MS).into())
}

/// Dials a relay that is silent on a connection until it gets through, or until the relay is silent no longer.
///
/// So a relay that was killed and is back is reached before the old connection times out, and one that the network lets
/// through again before that connection repeats what was lost, which it does ever more seldom. One that is stopped
/// or busy answers neither, and nothing is lost.
pub(super) async fn replace(endpoint: &Endpoint, pin: &Pin, silent: &Connection) -> Option<Connection> {
    let heard = Traffic::of(silent).heard;
    let mut dialling = JoinSet::new();
    loop {
        if dialling.is_empty() {
            dialling.spawn(dial(endpoint.clone(), pin.clone()));
        }
        let dialled = timeout(LOOK, dialling.join_next()).await;
        if Traffic::of(silent).heard != heard || silent.close_reason().is_some() {
            return None;
        }
        match dialled {
            Ok(Some(Ok(Ok(fresh)))) => return Some(fresh),
            Ok(_) => sleep(PAUSES[0]).await,
            Err(_) => {}
        }
    }
}

/// Connects; says `relay_identity_changed` if somebody else than `addr.id` answers.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    addr: EndpointAddr,
    alpn: &[u8],
) -> Result<Connection, Option<ErrorCode>> {
    endpoint.connect(addr, alpn).await.map_err(|error| {
        tracing::debug!(%error, "no connection");
        is_other_identity(&error).then_some(ErrorCode::RelayIdentityChanged)
    })
}

/// TLS alerts about the certificate, as QUIC numbers them (RFC 9001, section 4.8): 0x100 and the alert.
const CERTIFICATE_ALERTS: std::ops::RangeInclusive<u64> = 0x100 + 42..=0x100 + 48;

#[expect(clippy::wildcard_enum_match_arm, reason = "iroh's enums are non-exhaustive")]
fn is_other_identity(error: &ConnectError) -> bool {
    match error {
        ConnectError::Connecting { source: ConnectingError::ConnectionError { source, .. }, .. }
        | ConnectError::Connection { source, .. } => match source {
            ConnectionError::TransportError(error) => CERTIFICATE_ALERTS.contains(&error.code.into()),
            _ => false,
        },
        ConnectError::Connecting { source: ConnectingError::HandshakeFailure { .. }, .. } => true,
        _ => false,
    }
}
