//! ACK: a device holds the log up to here. Lets go of tombstones that everybody has seen.

use sync_types::message::Ack;

use crate::{connection::Session, retention::wall_ms};

/// Notes how far the device has read; beyond the end of the log counts as its end. Only news reach the store.
pub(crate) fn ack(session: &Session, ack: &Ack) {
    let member = &session.member;
    let cursor = ack.cursor.min(member.log.head.borrow().cursor);
    if session.advance(cursor) {
        session.relay.store.acked(&member.log, member.device, cursor, session.relay.clock.at(wall_ms()));
    }
}
