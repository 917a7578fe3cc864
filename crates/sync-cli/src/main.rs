//! The 0k-Sync command line: parse, trace, run, exit.
//!
//! Nothing is decided here. A command translates what was typed into one call on [`sync_client::SyncClient`] and
//! what comes back into an [`answer`]; what can go wrong has a code, and a code has an [`exit`].

mod answer;
mod cli;
mod cmd;
mod error;
mod exit;
mod interrupt;
mod output;
mod passphrase;
mod picture;
mod stdin;

use std::{
    env,
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::{cli::Cli, error::CliError, exit::Exit, output::Output};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return explain(&usage).into(),
    };
    let output = Output::new(cli.json);
    let done = trace(cli.log.as_deref()).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
        runtime.block_on(cmd::run(cli, output))
    });
    match done {
        Ok(()) => Exit::Ok.into(),
        Err(CliError::Unheard(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok.into(),
        Err(CliError::Interrupted(signal)) => signal.exit_code(),
        Err(error) => {
            output.failure(&error);
            Exit::from(error.code()).into()
        }
    }
}

/// Help and the version on standard output, wrong usage on standard error, and to scripts as an error like any other.
fn explain(usage: &clap::Error) -> Exit {
    if usage.use_stderr() && env::args_os().any(|arg| arg == "--json") {
        let text = usage.to_string();
        let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
        let what = lines.collect::<Vec<_>>().join(" ");
        Output::new(true).failure(&CliError::Usage(what.trim_start_matches("error: ").to_owned()));
    } else {
        // Nobody can be told that nobody listens.
        let _ = usage.print();
    }
    if usage.use_stderr() { Exit::Usage } else { Exit::Ok }
}

/// Logs to standard error: what was asked for, else `RUST_LOG`, else warnings.
fn trace(filter: Option<&str>) -> Result<(), CliError> {
    let asked = filter.map(str::to_owned).or_else(|| env::var(EnvFilter::DEFAULT_ENV).ok());
    let filter = EnvFilter::try_new(asked.as_deref().unwrap_or("warn"))
        .map_err(|error| CliError::Usage(format!("the log filter is not valid: {error}")))?;
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).init();
    Ok(())
}
