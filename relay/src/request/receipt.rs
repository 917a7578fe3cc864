//! RECEIPT: how far a device has come, kept in the place of what it said before, and told to the others.
//!
//! A relay can't read one. It checks that the device sends its own, and how large it is; which of two is newer its
//! readers know.
//!
//! Telling waits for nobody, and nobody waits for it: a session remembers up to which number it was told, looks whether
//! there is more when it would otherwise wait for rows, and reads no more at once than one message takes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sync_types::{
    Envelope, ErrorCode, Kind, RelayMsg, RequestId,
    limits::{RECEIPT_LEN_MAX, RECEIPTS_MAX},
    message::{Receipt, ReceiptAck, Receipts, features},
};
use tokio::sync::watch;

use crate::{connection::Session, error::Refusal};

/// Changes within this time are told together.
const PAUSE: Duration = Duration::from_secs(1);

/// A receipt that was found in order.
pub(crate) struct Checked {
    id: RequestId,
    envelope: Bytes,
}

/// Checks a receipt.
pub(crate) fn check(session: &Session, receipt: Receipt) -> Result<Checked, Refusal> {
    session.admit(Instant::now())?;
    if receipt.envelope.len() > RECEIPT_LEN_MAX {
        return Err(ErrorCode::BlobTooLarge.into());
    }
    let envelope = Envelope::parse(receipt.envelope).map_err(|_| ErrorCode::BadEnvelope)?;
    if envelope.header().kind != Kind::Receipt || envelope.header().sender != session.member.device {
        return Err(ErrorCode::BadEnvelope.into());
    }
    Ok(Checked { id: receipt.id, envelope: envelope.as_bytes().clone() })
}

/// Keeps what was checked, and answers it.
pub(crate) async fn keep(session: &Session, Checked { id, envelope }: Checked) {
    let member = &session.member;
    let kept = session.relay.store.keep_receipt(&member.log, member.device, envelope).await;
    let answer: RelayMsg = match kept {
        Ok(Ok(())) => ReceiptAck { id }.into(),
        Ok(Err(code)) => Refusal::from(code).answer(id).into(),
        Err(error) => Refusal::from(error).answer(id).into(),
    };
    session.reply(answer).await;
}

/// What a session was told of the others' receipts.
pub(crate) struct Telling {
    /// It follows the log, and understands this.
    begun: bool,
    /// Up to which number.
    told: u64,
    /// How often something was written, by the log.
    written: watch::Receiver<u64>,
    /// There is more than the last message had room for.
    more: bool,
    last: Instant,
}

impl Telling {
    pub(crate) fn new(session: &Session) -> Self {
        let written = session.member.log.receipts.subscribe();
        Self { begun: false, told: 0, written, more: false, last: Instant::now() }
    }

    /// The device follows its log from now on: if it understands them, it is to be told all there are.
    pub(crate) fn begin(&mut self, session: &Session) {
        if !std::mem::replace(&mut self.begun, true) {
            self.begun = session.member.features & features::RECEIPTS != 0;
            self.more = self.begun;
        }
    }

    /// Whether there is something that was never told.
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    /// Whether there is something to read now.
    pub(crate) fn is_due(&self) -> bool {
        self.begun && (self.more || (self.written.has_changed().unwrap_or(false) && self.last.elapsed() >= PAUSE))
    }

    /// Resolves once there may be something to read, and never for a device that is not told.
    pub(crate) async fn due(&self) {
        if !self.begun {
            std::future::pending::<()>().await;
        }
        if !self.more {
            let mut written = self.written.clone();
            // The sender lives as long as the session's log.
            let _ = written.changed().await;
            tokio::time::sleep_until((self.last + PAUSE).into()).await;
        }
    }

    /// What is to be said, if there is anything.
    pub(crate) async fn next(&mut self, session: &Session) -> Option<RelayMsg> {
        self.written.mark_unchanged();
        self.last = Instant::now();
        let member = &session.member;
        let read = session.relay.store.receipts(&member.log, &member.device, self.told).await;
        // What can't be read now is told with the next one.
        let Ok(read) = read else {
            self.more = false;
            return None;
        };
        self.told = read.told;
        self.more = read.envelopes.len() == RECEIPTS_MAX;
        (!read.envelopes.is_empty()).then(|| Receipts { envelopes: read.envelopes.into() }.into())
    }
}
