//! Why the plugin can't start. What a command fails with is [`sync_bridge::BridgeError`].

/// Something in the app's configuration can't be meant.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A profile's name is not the name of a folder.
    #[error("{0:?} is no name for a profile: letters, digits, - and _ are, up to 64 of them")]
    Profile(String),
    /// Links can't begin like that.
    #[error("{0:?} is no scheme for links: a letter, then letters, digits, +, - and . are")]
    Scheme(String),
}
