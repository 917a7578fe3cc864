//! `push`: blobs for the group's other devices.

use std::{fs::File, io::Read as _, path::Path, pin::pin, time::Duration};

use futures_util::{Stream, StreamExt as _};
use sync_client::{PAYLOAD_LEN_MAX, PendingPush, PushOptions, PushState, Pushed, SyncClient};

use crate::{
    answer::{self, Reached},
    cli::{PushArgs, Wait},
    error::CliError,
    output::Output,
    stdin,
};

/// Lines that are being pushed at once.
const IN_FLIGHT_MAX: usize = 256;
/// How long a command stays to send what it promised, where a relay answers.
const LINGER: Duration = Duration::from_secs(3);

pub(super) async fn run(client: &SyncClient, args: PushArgs, output: Output) -> Result<(), CliError> {
    let options = PushOptions {
        wait: match args.wait {
            Wait::Local => sync_client::Wait::Local,
            Wait::Relay => sync_client::Wait::Relay,
            Wait::All => sync_client::Wait::All,
        },
        ttl: Duration::from_secs(args.ttl.unwrap_or(0).into()),
        timeout: Duration::from_secs(args.timeout.into()),
    };
    match (args.text, args.file) {
        (Some(text), _) => output.answer(&answer(client.push(text, options).await?))?,
        (None, Some(file)) => output.answer(&answer(client.push(read(&file)?, options).await?))?,
        (None, None) => {
            let progress = output.progress("pushed");
            let mut pushed = pin!(lines(client, options));
            while let Some(pushed) = pushed.next().await {
                progress.suspend(|| output.answer(&answer(pushed?)))?;
                progress.inc(1);
                progress.set_prefix(progress.position().to_string());
            }
            progress.finish_and_clear();
        }
    }
    if let Err(error) = client.sync(LINGER).await {
        output.note(format_args!("note: {error}; what was pushed is safe here, and is sent when a relay answers"));
    }
    Ok(())
}

/// Pushes each line of standard input: many at once, and what came of them in their order.
pub(super) fn lines(client: &SyncClient, options: PushOptions) -> impl Stream<Item = Result<Pushed, CliError>> {
    let queued =
        stdin::lines(PAYLOAD_LEN_MAX).then(move |line| async move { Ok(client.enqueue(line?, options).await?) });
    let done = async |queued: Result<PendingPush, CliError>| Ok(queued?.done().await?);
    queued.map(done).buffered(IN_FLIGHT_MAX)
}

fn answer(pushed: Pushed) -> answer::Pushed {
    let state = match pushed.state {
        PushState::Queued => Reached::Queued,
        PushState::Relay => Reached::Relay,
        PushState::All => Reached::All,
    };
    answer::Pushed { push_id: pushed.push_id.to_string(), cursor: pushed.cursor.get(), state }
}

/// The file, or as much of it as shows that it is too large.
fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let unreadable = |source| CliError::Unreadable { what: "the file to push", source };
    let mut content = Vec::new();
    let limit = u64::try_from(PAYLOAD_LEN_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut content)).map_err(unreadable)?;
    Ok(content)
}
