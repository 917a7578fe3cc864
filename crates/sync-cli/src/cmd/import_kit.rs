//! `import-kit`: back into a group, when every device is lost.

use std::{fs::File, io::Read as _, path::Path};

use futures_util::{Stream, StreamExt as _};
use sync_client::{ClientError, KIT_LEN_MAX, SyncClient};
use zeroize::Zeroizing;

use crate::{answer::Member, cli::ImportKitArgs, error::CliError, output::Output, picture, stdin};

/// A text with its blanks.
const LINE_LEN_MAX: usize = 2 * KIT_LEN_MAX;
/// A page, with room for another build's drawing.
const PAGE_LEN_MAX: u64 = 1024 * 1024;
/// What a text begins with, in a page as well.
const PREFIX: &str = "ZEROK:KIT:";

pub(super) async fn run(client: &SyncClient, args: &ImportKitArgs, output: Output) -> Result<(), CliError> {
    if args.backup.is_none() && client.group_id().is_ok() {
        // Before a person has typed all of it.
        return Err(ClientError::AlreadyInGroup.into());
    }
    let mut lines = stdin::lines(LINE_LEN_MAX);
    let file = Path::new(&args.kit);
    let text = match &*args.kit {
        "-" => line(&mut lines, "type or paste the letters of the page, in one line", output).await?,
        _ if file.is_file() => in_file(file)?,
        text => Zeroizing::new(text.to_owned()),
    };
    let code = match &args.code_file {
        Some(file) => read(file, "the code's file")?,
        None => line(&mut lines, "type the kit's code", output).await?,
    };
    let progress = output.progress("asking");
    let imported = match &args.backup {
        Some(folder) => client.import_kit_with_backup(&text, code.trim(), folder).await,
        None => client.import_kit(&text, code.trim()).await,
    };
    progress.finish_and_clear();
    let (group_id, device_id) = imported?;
    output.answer(&Member { group_id: group_id.to_string(), device_id: device_id.to_string() })?;
    output.note(
        "this kit has done its work: make a new one with `sync-cli export-kit`, and remove this one with `sync-cli \
         remove-device`",
    );
    Ok(())
}

/// The kit in a file: of its page, or a picture of that.
fn in_file(file: &Path) -> Result<Zeroizing<String>, CliError> {
    // What is no text is a picture, if it is anything.
    let Ok(page) = read(file, "the kit's page") else { return picture::link_in(file).map(Zeroizing::new) };
    let text = page.find(PREFIX).map(|start| page[start..].split('<').next().unwrap_or_default());
    Ok(Zeroizing::new(text.unwrap_or(&page).to_owned()))
}

fn read(file: &Path, what: &'static str) -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::new());
    let opened = File::open(file).and_then(|file| file.take(PAGE_LEN_MAX).read_to_string(&mut text));
    opened.map(|_| text).map_err(|source| CliError::Unreadable { what, source })
}

async fn line(
    lines: &mut (impl Stream<Item = Result<Vec<u8>, CliError>> + Unpin),
    remark: &str,
    output: Output,
) -> Result<Zeroizing<String>, CliError> {
    output.note(remark);
    let line = lines.next().await.transpose()?;
    let line = Zeroizing::new(line.ok_or_else(|| CliError::Usage("standard input is at its end".to_owned()))?);
    Ok(Zeroizing::new(String::from_utf8_lossy(line.trim_ascii()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kit_is_found_in_its_page_and_in_a_text() {
        let dir = std::env::temp_dir().join(format!("kit-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("writable");
        let file = dir.join("page.html");
        for (content, found) in [
            ("<html><pre>ZEROK:KIT:1: ABCDE\nFGH</pre><p>x", "ZEROK:KIT:1: ABCDE\nFGH"),
            ("ZEROK:KIT:1:ABC\n", "ZEROK:KIT:1:ABC\n"),
            ("something else", "something else"),
        ] {
            std::fs::write(&file, content).expect("writable");
            assert_eq!(*in_file(&file).expect("text"), found);
        }
        std::fs::remove_dir_all(&dir).expect("ours");
    }
}
