//! Asking relays on behalf of a kit. Each is asked as often as it leads on, one after the other; one that does not answer
//! is left out, as long as another does.

use std::time::Duration;

use sync_core::{
    Now,
    kit::{Heard, Kit, Recovery},
    pairing::Membership,
};
use sync_types::DeviceMsg;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    client::SyncClient,
    clock::wall_ms,
    error::ClientError,
    random::rng,
    resolve::{RelayAddr, Resolver},
    store::{Backup, Pin},
    transport::{INCOMING_MAX, News, Session, Told, Transport},
};

/// Longest wait for what a relay says next.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Longest that one relay is asked: a large group's roster comes over a slow line in that.
const RELAY_MAX: Duration = Duration::from_secs(180);
/// Connections to one relay that came to nothing, before it is left.
const MISSES_MAX: usize = 2;

/// A socket, and what is heard on it.
struct Line {
    transport: Transport,
    told: mpsc::Receiver<Told>,
}

/// What a kit comes to, by all relays that it and the profile name, and by a copy of a device's profile, if there is one: then
/// it takes no relay.
pub(super) async fn run(client: &SyncClient, kit: Kit, backup: Option<&mut Backup>) -> Result<Membership, ClientError> {
    let described = client.in_roster(None)?;
    let known = client.inner.store.addresses().await?;
    let known = known.iter().map(|row| &row.address);
    let mut relays: Vec<RelayAddr> = Vec::new();
    for relay in kit.relays().iter().chain(known).filter_map(|address| address.parse().ok()) {
        if !relays.contains(&relay) {
            relays.push(relay);
        }
    }
    let mut recovery = Recovery::new(kit, described, &mut rng()).map_err(ClientError::Refused)?;
    // First: so a relay that has nothing yet is asked by the key that the group uses, and by no other.
    let mut answered = false;
    if let Some(backup) = backup {
        let (entries, control) = backup.roster().await?;
        recovery.read_backup(entries, control).map_err(ClientError::Refused)?;
        answered = true;
    }
    let (tell, told) = mpsc::channel(INCOMING_MAX);
    let transport = Transport::bind(recovery.device_key().seed(), tell).await.map_err(|error| {
        tracing::warn!(%error, "no network socket");
        ClientError::Offline
    })?;
    let mut line = Line { transport, told };
    let resolver = Resolver::new(client.inner.http.clone());
    let mut why = ClientError::Offline;
    for relay in &relays {
        let asked = match resolver.resolve(relay, None).await {
            Ok(pin) => {
                let asked = timeout(RELAY_MAX, line.ask(&mut recovery, &pin)).await;
                asked.unwrap_or(Err(ClientError::TimedOut(RELAY_MAX)))
            }
            Err(error) => Err(error.into()),
        };
        match asked {
            Ok(()) => answered = true,
            Err(error) => {
                tracing::info!(code = error.code().name(), "a relay was of no help to a recovery kit");
                if matches!(why, ClientError::Offline) {
                    why = error;
                }
            }
        }
    }
    line.transport.close().await;
    if !answered {
        return Err(why);
    }
    recovery.finish(Now { mono_ms: 0, wall_ms: wall_ms() }).map_err(ClientError::Refused)
}

impl Line {
    /// Asks one relay until it has no more to say.
    async fn ask(&mut self, recovery: &mut Recovery, pin: &Pin) -> Result<(), ClientError> {
        let mut misses = 0;
        while recovery.wants(&pin.relay) {
            match self.talk(recovery, pin).await {
                Ok(()) => {}
                Err(ClientError::Offline) if misses + 1 < MISSES_MAX => misses += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One connection, from its greeting to its end.
    async fn talk(&mut self, recovery: &mut Recovery, pin: &Pin) -> Result<(), ClientError> {
        let mut session = self.transport.connect(pin.clone());
        loop {
            let told = timeout(ANSWER_MAX, self.told.recv()).await;
            let Told { session: of, what, .. } = told.ok().flatten().ok_or(ClientError::Offline)?;
            if of != session.id {
                continue;
            }
            match what {
                News::Up(exporter) => {
                    session.is_up();
                    let Some(hello) = recovery.connected(pin.relay, &exporter) else { return Ok(()) };
                    say(&session, &hello)?;
                }
                News::Messages(messages) => {
                    for message in messages {
                        match recovery.hear(message).map_err(ClientError::Refused)? {
                            Heard::More => {}
                            Heard::Say(message) => say(&session, &message)?,
                            Heard::Over => return Ok(()),
                        }
                    }
                }
                News::Down(reason) => return Err(reason.map_or(ClientError::Offline, ClientError::Refused)),
            }
        }
    }
}

fn say(session: &Session, message: &DeviceMsg) -> Result<(), ClientError> {
    session.send(message.to_frame()).map_err(|_| ClientError::Offline)
}
