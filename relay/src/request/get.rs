//! GET: one envelope by its blob id.

use sync_types::{
    ErrorCode, RelayMsg,
    message::{Get, Got},
};

use crate::{connection::Session, error::Refusal, retention::wall_ms};

/// Answers with the envelope, if it is here and its time is not over.
pub(crate) async fn get(session: &Session, get: Get) -> RelayMsg {
    let now_ms = session.relay.clock.at(wall_ms());
    match session.relay.store.get(&session.member.log, get.blob_id, now_ms).await {
        Ok(Some(envelope)) => {
            session.relay.metrics.delivered.add(1);
            Got { id: get.id, envelope }.into()
        }
        Ok(None) => Refusal::from(ErrorCode::NotFound).answer(get.id).into(),
        Err(error) => Refusal::from(error).answer(get.id).into(),
    }
}
