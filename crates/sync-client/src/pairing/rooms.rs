//! The rooms of one invite: a relay's mailbox, one that this device keeps itself, or both.
//!
//! Until somebody came this side listens in all of them. The first message decides: the pairing goes on where it came
//! from, and whoever comes to another room is too late. So all of them together allow the one guess.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use sync_core::pairing::PairingInput;

use super::room::{Chosen, Room};
use crate::{
    error::ClientError,
    mailbox::{Door, Farewell, OwnMailbox},
};

/// See the [module](self).
pub(super) struct Rooms {
    rooms: Vec<Room>,
    chosen: Chosen,
    /// What leads to the room that this device keeps, which is the first then.
    own: Option<Own>,
    said_something: bool,
}

/// A mailbox of this device's, and the way to it.
pub(super) struct Own {
    pub(super) door: Door,
    pub(super) mailbox: Arc<OwnMailbox>,
}

impl Rooms {
    /// All of an invite's; at least one. `own` leads to the first of them.
    pub(super) fn new(rooms: Vec<Room>, own: Option<Own>) -> Self {
        let chosen = Chosen::default();
        let rooms = rooms.into_iter().enumerate().map(|(place, room)| room.one_of(&chosen, place)).collect();
        Self { rooms, chosen, own, said_something: false }
    }

    /// When the first of them is removed.
    pub(super) fn ends(&self) -> Instant {
        self.rooms.iter().map(|room| room.ends).min().expect("an invite has a room")
    }

    /// See [`Room::post`]. Somebody has come by then.
    pub(super) async fn post(&mut self, index: u8, message: Bytes) -> Result<Option<PairingInput>, ClientError> {
        self.settle().await;
        self.said_something = true;
        let place = self.chosen.get().expect("there is something to say once somebody came");
        self.rooms[place].post(index, message).await
    }

    /// See [`Room::listen`].
    pub(super) async fn listen(&mut self, from: u8) {
        match self.chosen.get() {
            Some(place) => self.rooms[place].listen(from).await,
            None => {
                for room in &mut self.rooms {
                    room.listen(from).await;
                }
            }
        }
    }

    /// Stays where somebody came to.
    async fn settle(&mut self) {
        let Some(chosen) = self.chosen.get() else { return };
        for (place, room) in self.rooms.iter_mut().enumerate() {
            if place != chosen {
                room.hush().await;
            }
        }
        if let Some(own) = &self.own
            && chosen != 0
        {
            own.mailbox.occupy();
        }
    }

    /// Removes all of them.
    pub(super) async fn burn(&mut self) {
        for room in &mut self.rooms {
            room.burn().await;
        }
    }

    /// Lets their keepers go. Rooms that nobody has any use for go with them; the one in which the pairing took place
    /// may still hold a last word for the other side, who removes it. If it has `joined` it knows all there is to know.
    pub(super) async fn leave(self, joined: bool) {
        let chosen = self.chosen.get();
        let mut farewell = Farewell::None;
        for (place, mut room) in self.rooms.into_iter().enumerate() {
            let is_chosen = chosen == Some(place);
            if place == 0 && is_chosen && !joined {
                let said = self.said_something && !room.is_burnt();
                farewell = if said { Farewell::LastWord } else { Farewell::Over };
            }
            let is_of_use = is_chosen && self.said_something;
            if !is_of_use && !room.is_burnt() {
                room.burn().await;
            }
            room.leave().await;
        }
        if let Some(Own { door, mailbox }) = self.own {
            door.close(farewell).await;
            if let Some(mailbox) = Arc::into_inner(mailbox) {
                mailbox.close().await;
            }
        }
    }
}
