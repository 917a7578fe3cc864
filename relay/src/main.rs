//! The relay as a program: settings in, one line out once it is ready, signals to stop it.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use serde_json::json;
use sync_relay::{ConfigError, Relay, StartError, args::Args};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os(), std::env::vars_os()) {
        Ok(args) => args,
        Err(ConfigError::Asked(text)) => return print(&text, ExitCode::SUCCESS),
        Err(error) => return fail(&error.into(), ExitCode::from(2)),
    };
    let stderr = std::io::stderr;
    let (filter, colours) = (EnvFilter::new(&args.log), stderr().is_terminal());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(stderr).init();
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads to give");
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

async fn run(args: Args) -> Result<(), StartError> {
    let relay = Relay::bind(args.config).await?;
    let (handle, asked_to_stop) = (relay.handle(), asked_to_stop().map_err(StartError::Signals)?);
    tokio::spawn(async move {
        asked_to_stop.await;
        handle.shutdown();
    });
    print(&ready(&relay, args.json), ExitCode::SUCCESS);
    relay.run().await;
    Ok(())
}

/// Resolves at the first SIGTERM or SIGINT, both of which are listened for from now on.
#[cfg(unix)]
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves at the first Ctrl-C, or when that can't be listened for.
#[cfg(not(unix))]
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn ready(relay: &Relay, json: bool) -> String {
    let (id, quic, http, ticket) = (relay.id(), relay.quic_addr(), relay.http_addr(), relay.ticket());
    if !json {
        return format!("relay {id} listens on {quic} (QUIC) and http://{http}\nticket {ticket}\n");
    }
    let line = json!({
        "ready": true,
        "endpoint_id": id,
        "quic": quic.to_string(),
        "http": format!("http://{http}"),
        "ticket": ticket,
    });
    format!("{line}\n")
}

/// A reader that is gone is no reason to fail.
fn print(text: &str, code: ExitCode) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}

fn fail(error: &StartError, code: ExitCode) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "sync-relay: {error}");
    code
}
