//! Being asked to stop: Ctrl-C, and SIGTERM where there is such a thing.

use std::{io, process::ExitCode};

/// How we were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C.
    Int,
    /// SIGTERM.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no such signal here"))]
    Term,
}

impl Interrupt {
    /// What shells expect of a program that ends for this reason: 128 and the signal's number.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Int => 130,
            Self::Term => 143,
        })
    }
}

/// Waits to be asked. From the first call on, these signals no longer end the process by themselves.
///
/// # Errors
/// If the system doesn't let us listen.
#[cfg(unix)]
pub(crate) async fn interrupted() -> io::Result<Interrupt> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = int.recv() => Interrupt::Int,
        _ = term.recv() => Interrupt::Term,
    })
}

/// Waits to be asked. From the first call on, Ctrl-C no longer ends the process by itself.
///
/// # Errors
/// If the system doesn't let us listen.
#[cfg(not(unix))]
pub(crate) async fn interrupted() -> io::Result<Interrupt> {
    tokio::signal::ctrl_c().await.map(|()| Interrupt::Int)
}
