//! `pair`: let a device in, or be let in.
//!
//! The two sides are two streams of events, and one person who is asked one question.

use std::{future, path::Path};

use futures_util::{Stream, StreamExt as _};
use sync_client::{ClientError, Digits, InviteEvent, InviteLink, JoinEvent, LINK_LEN_MAX, SyncClient, qr};

use crate::{
    answer::{self, Confirm, Invite, Joined, Member, Newcomer},
    cli::PairArgs,
    error::CliError,
    output::Output,
    picture, stdin,
};

/// `yes` and `no`, or an invite, and room for a mistake.
const ANSWER_LEN_MAX: usize = LINK_LEN_MAX;

pub(super) async fn run(client: &SyncClient, args: PairArgs, output: Output) -> Result<(), CliError> {
    let mut person = Person { output, yes: args.yes, asked: false, lines: None };
    match args.join {
        Some(dash) if dash == "-" => {
            let invite = person.invite().await?;
            join(client, &invite, person, output).await
        }
        Some(file) if Path::new(&file).is_file() => {
            join(client, &picture::link_in(Path::new(&file))?, person, output).await
        }
        Some(invite) => join(client, &invite, person, output).await,
        None => invite(client, person, output).await,
    }
}

async fn invite(client: &SyncClient, mut person: Person, output: Output) -> Result<(), CliError> {
    let mut session = client.create_invite()?;
    loop {
        let event = tokio::select! {
            event = session.next() => event.ok_or(ClientError::Closed)?,
            same = person.answers() => {
                if same? { session.approve().await } else { session.deny().await }
                continue;
            }
        };
        match event {
            InviteEvent::Invite { code, link, expires_at_s } => {
                let link = link.to_text(InviteLink::SCHEME);
                output.note(match code {
                    Some(_) => "scan this with the other device, or type or paste there what follows, within ten minutes:",
                    None => {
                        "no relay answers, so there is no code to type; scan this with the other device, or paste the link \
                         there, within ten minutes, with both in the same network:"
                    }
                });
                if let Ok(drawn) = qr::blocks(&link) {
                    output.picture(drawn);
                }
                output.answer(&Invite { code: code.map(|code| code.to_text()), link, expires_at: expires_at_s })?;
            }
            InviteEvent::Digits { digits, name, platform } => person.ask(&digits, name, platform)?,
            InviteEvent::Joined { device_id, name } => {
                return output.answer(&Joined { joined: Newcomer { device_id: device_id.to_string(), name } });
            }
            InviteEvent::Failed(error) => return Err(error.into()),
        }
    }
}

async fn join(client: &SyncClient, invite: &str, mut person: Person, output: Output) -> Result<(), CliError> {
    let mut session = client.join(invite)?;
    loop {
        let event = tokio::select! {
            event = session.next() => event.ok_or(ClientError::Closed)?,
            same = person.answers() => {
                if same? { session.approve().await } else { session.deny().await }
                continue;
            }
        };
        match event {
            JoinEvent::Digits { digits, name, platform } => person.ask(&digits, name, platform)?,
            JoinEvent::Joined { group_id, device_id } => {
                return output.answer(&Member { group_id: group_id.to_string(), device_id: device_id.to_string() });
            }
            JoinEvent::Failed(error) => return Err(error.into()),
        }
    }
}

type Lines = Box<dyn Stream<Item = Result<Vec<u8>, CliError>> + Send + Unpin>;

/// Who compares the digits, or has said beforehand that they needn't be.
struct Person {
    output: Output,
    yes: bool,
    /// A question is open.
    asked: bool,
    /// What they type, from the first time it is needed.
    lines: Option<Lines>,
}

impl Person {
    /// The code or link they type or paste.
    async fn invite(&mut self) -> Result<String, CliError> {
        self.output.note("type the code that the other device shows, or paste its link");
        let line =
            self.line().await?.ok_or_else(|| CliError::Usage("there is no invite on standard input".to_owned()))?;
        Ok(String::from_utf8_lossy(line.trim_ascii()).into_owned())
    }

    /// Asks whether both screens show the same.
    fn ask(&mut self, digits: &Digits, name: String, platform: String) -> Result<(), CliError> {
        self.asked = true;
        if self.yes {
            return Ok(());
        }
        let confirm = answer::Digits { digits: digits.to_string(), name, platform };
        self.output.answer(&Confirm { confirm })?;
        self.output.note("does it show the same digits? type yes or no");
        Ok(())
    }

    /// Their answer; never, before they were asked or after they have answered. Nobody there is a no.
    async fn answers(&mut self) -> Result<bool, CliError> {
        if !self.asked {
            return future::pending().await;
        }
        let same = self.yes || self.says_yes().await?;
        self.asked = false;
        Ok(same)
    }

    async fn says_yes(&mut self) -> Result<bool, CliError> {
        loop {
            match self.line().await?.as_deref().map(<[u8]>::trim_ascii) {
                Some(b"yes") => return Ok(true),
                Some(b"no") | None => return Ok(false),
                Some(_) => self.output.note("type yes or no"),
            }
        }
    }

    async fn line(&mut self) -> Result<Option<Vec<u8>>, CliError> {
        let lines = self.lines.get_or_insert_with(|| Box::new(stdin::lines(ANSWER_LEN_MAX)));
        lines.next().await.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typing(lines: &[&str]) -> Person {
        let lines: Vec<_> = lines.iter().map(|line| Ok(line.as_bytes().to_vec())).collect();
        let lines: Lines = Box::new(futures_util::stream::iter(lines));
        Person { output: Output::new(true), yes: false, asked: true, lines: Some(lines) }
    }

    #[tokio::test]
    async fn a_code_and_the_answer_after_it_are_read_from_one_input() {
        let mut person = typing(&[" ABCD-EFGH-JKMN-PQRS\r", "perhaps", "yes"]);
        assert_eq!(person.invite().await.expect("a line"), "ABCD-EFGH-JKMN-PQRS");
        assert!(person.answers().await.expect("a line"));
        assert!(!person.asked, "and nothing is asked any more");
    }

    #[tokio::test]
    async fn nobody_there_is_a_no_and_no_code() {
        assert!(!typing(&[]).answers().await.expect("an end"));
        assert!(matches!(typing(&[]).invite().await, Err(CliError::Usage(_))));
    }
}
