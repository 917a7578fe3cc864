//! What keeps the guarantees, piece by piece, so that the simulator can take one piece away and prove that its
//! checks see it. In a build without the feature `test-utils` there is nothing to switch: every piece holds.

/// One piece of the engine, or of the relay, without which a guarantee does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// The relay acknowledges a push after it is on its disk.
    CommitBeforeAck,
    /// A push is answered after it is on this device's disk.
    StoreBeforeReply,
    /// An envelope is sent after it is on this device's disk.
    StoreBeforeSend,
    /// The app is told of a blob after it is on this device's disk.
    StoreBeforeEvent,
    /// The place of the newest own envelope is stored with it.
    StoredHead,
    /// How far a relay is read is stored with what was read, not before.
    StoredPosition,
    /// An envelope that is held already is not taken again.
    Deduplication,
    /// An envelope whose predecessor is missing waits for it.
    SenderOrder,
    /// An acknowledged push does not move the read position.
    OnlyPagesMoveReaders,
    /// A page is taken only if it goes on where reading stopped.
    PagesContiguous,
    /// What is missing for good is reported.
    GapReported,
    /// What comes after its gap is marked late.
    LateMarked,
    /// The badge looks at what is not on every relay.
    StatusSeesPending,
    /// The badge looks at what waits.
    StatusSeesWaiting,
    /// The badge looks at what is not read yet.
    StatusSeesUnread,
    /// The badge looks at what can't be read.
    StatusSeesParked,
    /// A log whose run differs has lost rows.
    RunCompared,
    /// A log is held to what it confirmed.
    MarkCompared,
    /// A log whose end others have read, and that is not shown, is named.
    WithheldNamed,
    /// A log of which others have read something else is named.
    ForksNamed,
    /// A relay looks whether what it serves is what it took.
    DamageNoticed,
    /// What a relay lost is offered again by whoever holds it.
    Refilling,
    /// Only what its sender signed is taken.
    SignatureChecked,
    /// A device introduces itself with its first envelope.
    Introduction,
    /// Nothing is sealed under a key that a removed device had.
    RemovedHaveNoKey,
    /// Relays are told when the group has new keys.
    RelaysMoved,
    /// What nobody was offered is sealed again under new keys.
    Resealing,
    /// A member does what the group needs done: merges, hands keys over, keeps what it has.
    DutiesDone,
    /// Nobody is handed the key that a void commit would have kept from it.
    VoidKeysWithheld,
    /// A relay tells those who went different ways from one id of each other.
    WaysToldOf,
    /// Nothing is moved onto an id that is over.
    OverTakesNothing,
    /// An id stays over as long as its group is there.
    OverForLong,
    /// What a removed device called the members is given again by one.
    NamesAdopted,
    /// A receipt is sent after it, and what it claims, is on this device's disk.
    ReceiptAfterStore,
    /// Of a device's receipts the one with the highest count is believed.
    NewestReceipt,
    /// A receipt names what is missing of what it claims.
    ReceiptHoles,
    /// Who says that something is missing is not among those that have it.
    HoldersSeeHoles,
    /// A device notices that another installation seals in its name.
    CopyNoticed,
    /// What only one of two installations has is sealed again under its own identity.
    CopySealedAgain,
    /// What was sealed under two identities is handed out once.
    CopiesKnownAgain,
    /// What a snapshot covers counts as held once the app has taken it.
    SnapshotCovers,
    /// A snapshot is of a place at which nothing waits, so that the rows it covers are all in it.
    SnapshotSettled,
    /// A relay drops what snapshots cover once every device has it.
    CoveredByAll,
    /// A device keeps its envelopes until every relay has its own and a snapshot stands for them.
    KeptUntilCovered,
}

impl Protection {
    /// All of them.
    pub const ALL: [Self; 44] = [
        Self::CommitBeforeAck,
        Self::StoreBeforeReply,
        Self::StoreBeforeSend,
        Self::StoreBeforeEvent,
        Self::StoredHead,
        Self::StoredPosition,
        Self::Deduplication,
        Self::SenderOrder,
        Self::OnlyPagesMoveReaders,
        Self::PagesContiguous,
        Self::GapReported,
        Self::LateMarked,
        Self::StatusSeesPending,
        Self::StatusSeesWaiting,
        Self::StatusSeesUnread,
        Self::StatusSeesParked,
        Self::RunCompared,
        Self::MarkCompared,
        Self::WithheldNamed,
        Self::ForksNamed,
        Self::DamageNoticed,
        Self::Refilling,
        Self::SignatureChecked,
        Self::Introduction,
        Self::RemovedHaveNoKey,
        Self::RelaysMoved,
        Self::Resealing,
        Self::DutiesDone,
        Self::VoidKeysWithheld,
        Self::WaysToldOf,
        Self::OverTakesNothing,
        Self::OverForLong,
        Self::NamesAdopted,
        Self::ReceiptAfterStore,
        Self::NewestReceipt,
        Self::ReceiptHoles,
        Self::HoldersSeeHoles,
        Self::CopyNoticed,
        Self::CopySealedAgain,
        Self::CopiesKnownAgain,
        Self::SnapshotCovers,
        Self::SnapshotSettled,
        Self::CoveredByAll,
        Self::KeptUntilCovered,
    ];
}

/// Which protections hold: all, but in the simulator perhaps for one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Protections {
    #[cfg(feature = "test-utils")]
    without: Option<Protection>,
}

impl Protections {
    /// All but this one.
    #[cfg(feature = "test-utils")]
    pub(crate) fn without(without: Option<Protection>) -> Self {
        Self { without }
    }

    /// Whether this one holds.
    #[cfg(feature = "test-utils")]
    pub(crate) fn hold(self, protection: Protection) -> bool {
        self.without != Some(protection)
    }

    /// Always.
    #[cfg(not(feature = "test-utils"))]
    pub(crate) const fn hold(self, _: Protection) -> bool {
        true
    }
}
