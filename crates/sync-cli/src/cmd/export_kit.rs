//! `export-kit`: a page and a code for whoever loses every device.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use sync_client::{SyncClient, qr};

use super::named::hear_the_others;
use crate::{
    answer::{self, Kit},
    cli::ExportKitArgs,
    error::CliError,
    output::Output,
};

/// How long to wait for a relay to take it. After that it goes on by itself whenever this device is online.
const TELL_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(client: &SyncClient, args: &ExportKitArgs, output: Output) -> Result<(), CliError> {
    let unwritable = |source| CliError::Unwritable { what: "the kit's page", source };
    // A device that was removed, and has not heard, would make one that opens nothing.
    hear_the_others(client, output).await?;
    // Before there is a kit: one that can't be kept is of no use to anybody.
    let page = match &args.output {
        Some(path) => Some((path.as_path(), make(path).map_err(unwritable)?)),
        None => None,
    };
    let kit = match client.export_kit().await {
        Ok(kit) => kit,
        Err(error) => {
            if let Some((path, _)) = page {
                // It is empty.
                let _ = fs::remove_file(path);
            }
            return Err(error.into());
        }
    };
    let mut path = None;
    if let Some((written, mut file)) = page {
        file.write_all(kit.page().as_bytes()).and_then(|()| file.sync_all()).map_err(unwritable)?;
        path = Some(written.display().to_string());
    } else if let Ok(drawn) = qr::blocks(kit.text()) {
        output.picture(drawn);
    }
    output.note("keep the page and the code in two places: whoever has both gets in, and one alone opens nothing");
    let text = path.is_none().then(|| kit.text().to_owned());
    output.answer(&Kit {
        kit: answer::Exported {
            device_id: kit.device_id().to_string(),
            text,
            page: path,
            code: kit.code().to_string(),
        },
    })?;
    let progress = output.progress("telling a relay");
    let told = client.sync(TELL_MAX).await;
    progress.finish_and_clear();
    if told.is_err() {
        output.note("no relay has the kit yet: it works once this device has been online");
    }
    Ok(())
}

/// A new file for its owner alone.
fn make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
