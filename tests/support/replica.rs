//! One person's copy of a shared document: a real CRDT, as an app would use one.

use yrs::{
    Doc, GetString, OffsetKind, Options, Text, TextRef, Transact, Update, block::ClientID, updates::decoder::Decode,
};

use crate::trace::Patch;

/// A copy of the document.
pub struct Replica {
    doc: Doc,
    text: TextRef,
}

impl Replica {
    /// An empty copy. Yrs puts concurrent insertions at one place in the order of their makers, as the traces do.
    pub fn new(agent: usize) -> Self {
        let options = Options {
            client_id: ClientID::new(agent as u64 + 1),
            offset_kind: OffsetKind::Utf16,
            ..Options::default()
        };
        let doc = Doc::with_options(options);
        let text = doc.get_or_insert_text("text");
        Self { doc, text }
    }

    /// Makes an edit here: the update that other copies need.
    pub fn edit(&self, patches: &[Patch]) -> Vec<u8> {
        let mut transaction = self.doc.transact_mut();
        for patch in patches {
            self.text.remove_range(&mut transaction, patch.at, patch.deleted);
            self.text.insert(&mut transaction, patch.at, &patch.inserted);
        }
        transaction.encode_update_v1()
    }

    /// Takes in an edit made elsewhere.
    ///
    /// # Panics
    /// If `update` is not what [`Replica::edit`] gave.
    pub fn merge(&self, update: &[u8]) {
        let update = Update::decode_v1(update).expect("an update arrives as it was made");
        self.doc.transact_mut().apply_update(update).expect("an update whose parents are here applies");
    }

    /// What the document says.
    pub fn content(&self) -> String {
        self.text.get_string(&self.doc.transact())
    }
}
