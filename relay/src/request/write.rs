//! What changes logs, in the order in which a session asks for it.
//!
//! All pushes that wait are appended at once: while one batch is being committed, the next gathers. A MOVE has its turn
//! between them. What was pushed before it is in the log that it moves, and what comes behind it finds that log over.
//! So have the parts of a snapshot, before the manifest that names them.

use sync_types::limits::IN_FLIGHT_MAX;
use tokio::sync::mpsc;

use super::{moving, push, receipt, snapshot};
use crate::connection::Session;

/// A request that was found in order.
pub(crate) enum Write {
    Push(push::Checked),
    Move(moving::Checked),
    Receipt(receipt::Checked),
    Snapshot(snapshot::Checked),
}

/// Performs and answers what was checked, until there is no more to come.
pub(crate) async fn perform_all(session: &Session, mut checked: mpsc::Receiver<Box<Write>>) {
    let mut batch = Vec::new();
    while checked.recv_many(&mut batch, IN_FLIGHT_MAX).await > 0 {
        let (mut pushes, mut receipts) = (Vec::with_capacity(batch.len()), Vec::new());
        for write in batch.drain(..) {
            match *write {
                Write::Push(push) => pushes.push(push),
                Write::Move(moving) => {
                    push::append_all(session, std::mem::take(&mut pushes)).await;
                    moving::perform(session, moving).await;
                }
                Write::Snapshot(checked) => {
                    push::append_all(session, std::mem::take(&mut pushes)).await;
                    snapshot::keep(session, checked).await;
                }
                // In no order with anything else, and no push waits for one.
                Write::Receipt(checked) => receipts.push(checked),
            }
        }
        push::append_all(session, pushes).await;
        for checked in receipts {
            receipt::keep(session, checked).await;
        }
    }
}
