//! Why a call failed, as `{ code, message }`.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use sync_client::{ClientError, ErrorCode, ParseRelayError};

/// Why a call failed. Serializes as `{ code, message }`: the code is one of a closed set to branch on, the message is for
/// people and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// What the client says.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A relay was named by something that names none.
    #[error(transparent)]
    Relay(#[from] ParseRelayError),
    /// A kind of relay that this version does not know how to use.
    #[error("{}", ErrorCode::UnsupportedTier.text())]
    Tier,
    /// An argument that can't be meant.
    #[error("{0}")]
    Argument(&'static str),
    /// Digits are to be approved, and no device shows any.
    #[error("there is nothing to approve: no other device has come with the invite yet, or pairing is over")]
    NothingToApprove,
    /// Other digits are to be approved than those this device shows.
    #[error("these are not the digits that this device shows now; compare them again")]
    OtherDigits,
    /// The other device did not get in, because a person said no or another pairing was begun.
    #[error("{}", ErrorCode::PairingDenied.text())]
    PairingOver,
    /// A defect.
    #[error("{}", ErrorCode::Internal.text())]
    Defect,
}

impl BridgeError {
    /// What a front end branches on. No wildcard: a new error is not done until it has a code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Client(error) => error.code(),
            Self::Relay(_) => ErrorCode::RelayUnknown,
            Self::Tier => ErrorCode::UnsupportedTier,
            Self::Argument(_) | Self::NothingToApprove | Self::OtherDigits => ErrorCode::InvalidArgument,
            Self::PairingOver => ErrorCode::PairingDenied,
            Self::Defect => ErrorCode::Internal,
        }
    }
}

impl Serialize for BridgeError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut flat = serializer.serialize_struct("BridgeError", 2)?;
        flat.serialize_field("code", &self.code())?;
        flat.serialize_field("message", &self.to_string())?;
        flat.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_code_and_a_message_and_nothing_else() {
        let error = BridgeError::from(ClientError::NoGroup);
        let json = serde_json::to_value(&error).expect("serializes");
        assert_eq!(json, serde_json::json!({ "code": "no_group", "message": "this device belongs to no group yet" }));
    }
}
