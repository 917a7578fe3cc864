//! What one seed is going to do to everybody.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Which faults a run has, and how often. Chances are per mille.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A device crashes after an action.
    pub crash: u64,
    /// A device's disk refuses a transaction.
    pub disk_full: u64,
    /// A connection breaks under a message.
    pub break_connection: u64,
    /// A message is lost, repeated, or overtaken, though the connection stays: no QUIC stream does that, but
    /// nothing may depend on it.
    pub rude: u64,
    /// Links are cut for a while.
    pub partitions: bool,
    /// Relays restart.
    pub restarts: bool,
    /// Relays are wiped.
    pub wipes: bool,
    /// Relays are restored from a copy.
    pub rollbacks: bool,
    /// Relays refuse pushes for want of room, for a while.
    pub full_relays: bool,
    /// Clocks are minutes off, and jump.
    pub clocks: bool,
    /// Some blobs have a short time to live, and relays clean up.
    pub expiry: bool,
    /// A device disappears for good.
    pub death: bool,
    /// Devices go offline and come back.
    pub naps: bool,
    /// A member and the relay make up envelopes of other members.
    pub forgery: bool,
    /// A member with a newer build seals what nobody else can read yet.
    pub newer: bool,
    /// Of a thousand pages, how many a relay begins too late, as if cursors had holes.
    pub holes: u64,
    /// Devices are removed and leave, and keys are rotated.
    pub removals: bool,
    /// Relays are of a build that knows no receipts.
    pub old_relays: bool,
    /// Relays show one device another history than the others.
    pub lies: bool,
    /// Devices' profiles are copied, and the copies used as well.
    pub copies: bool,
    /// Devices that are removed and don't accept it, at most.
    pub outlaws: u64,
    /// They tell one another everything, and speak for one another.
    pub gang: bool,
    /// Relays clean up, whatever has expired.
    pub clean_ups: bool,
    /// Some member is away for longer than relays keep anything for those who come late.
    pub absence: bool,
    /// Relays' disks change envelopes.
    pub rot: bool,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all of it comes from.
    pub seed: u64,
    /// Devices, the one that joins late among them.
    pub devices: usize,
    /// Relays, each used by every device.
    pub relays: usize,
    /// Blobs pushed in all.
    pub pushes: usize,
    /// Milliseconds over which that happens.
    pub duration_ms: u64,
    /// The last device joins in the middle.
    pub late_joiner: bool,
    /// What goes wrong.
    pub faults: Faults,
    /// How often, at most.
    pub upsets: u64,
    /// Of a thousand pushes, how many come with another name for some device.
    pub renames: u64,
    /// After how many envelopes apps make snapshots, if they do.
    pub snapshot_after: Option<u64>,
    /// After how many bytes of envelopes, likewise.
    pub snapshot_after_bytes: Option<u64>,
    /// How old keys may get, in milliseconds, if there is an end to it.
    pub rotate_after_ms: Option<u64>,
    /// For how many milliseconds, and how many bytes, devices keep what a snapshot stands for.
    pub keep: (u64, u64),
    /// That is less than it may take until a relay loses something.
    pub only_snapshots_are_left: bool,
    /// Devices more, which join at any time.
    pub newcomers: u64,
}

/// As devices keep it.
const KEEP: (u64, u64) = (7 * 24 * 3_600_000, 64 * 1024 * 1024);
/// How often something goes wrong in a random run, at most.
const UPSETS: u64 = 12;
const RENAMES: u64 = 60;

impl Plan {
    /// A calm run: nothing goes wrong but what a story makes go wrong.
    pub fn calm(seed: u64, devices: usize, relays: usize) -> Self {
        let faults = Faults::default();
        Self {
            seed,
            devices,
            relays,
            pushes: 0,
            duration_ms: 0,
            late_joiner: false,
            faults,
            upsets: UPSETS,
            renames: RENAMES,
            snapshot_after: None,
            snapshot_after_bytes: None,
            rotate_after_ms: None,
            keep: KEEP,
            only_snapshots_are_left: false,
            newcomers: 0,
        }
    }

    /// What this seed stands for.
    pub fn random(seed: u64) -> Self {
        let mut rng = Dice::new(seed);
        let mut faults = Faults {
            crash: if rng.chance(600) { rng.range(1, 12) } else { 0 },
            disk_full: if rng.chance(200) { rng.range(1, 30) } else { 0 },
            break_connection: if rng.chance(500) { rng.range(1, 30) } else { 0 },
            rude: if rng.chance(150) { rng.range(1, 40) } else { 0 },
            partitions: rng.chance(500),
            restarts: rng.chance(500),
            wipes: rng.chance(200),
            rollbacks: rng.chance(200),
            full_relays: rng.chance(150),
            clocks: rng.chance(300),
            expiry: rng.chance(200),
            death: rng.chance(100),
            naps: rng.chance(300),
            forgery: rng.chance(100),
            newer: false,
            holes: 0,
            removals: false,
            // By the number, so that these runs have nothing of receipts in them, and are what they were without.
            old_relays: seed % 3 == 2,
            lies: false,
            copies: false,
            outlaws: 0,
            gang: false,
            clean_ups: false,
            absence: false,
            rot: false,
        };
        let devices = rng.range(2, 4) as usize;
        let relays = if rng.chance(100) { 2 } else { 1 };
        let (pushes, duration_ms) = (rng.range(5, 50) as usize, rng.range(2_000, 90_000));
        let late_joiner = devices > 2 && rng.chance(400);
        faults.newer = rng.chance(50);
        faults.holes = if rng.chance(100) { rng.range(1, 100) } else { 0 };
        faults.removals = rng.chance(350);
        Self {
            seed,
            devices,
            relays,
            pushes,
            duration_ms,
            late_joiner,
            faults,
            upsets: UPSETS,
            renames: RENAMES,
            snapshot_after: None,
            snapshot_after_bytes: None,
            rotate_after_ms: None,
            keep: KEEP,
            only_snapshots_are_left: false,
            newcomers: 0,
        }
    }

    /// Three devices with three relays that are wiped, restored, full and away, whose disks rot, and that lie.
    pub fn several(seed: u64) -> Self {
        let plan = Self::random(seed);
        let mut dice = Dice::new(!seed);
        let mut faults = Faults {
            wipes: dice.chance(400),
            rollbacks: dice.chance(400),
            lies: dice.chance(700),
            removals: false,
            old_relays: false,
            ..plan.faults
        };
        let duration_ms = plan.duration_ms + dice.range(0, 120_000);
        faults.rot = dice.chance(400);
        Self { devices: 3, relays: 3, faults, duration_ms, upsets: 2 * UPSETS, ..plan }
    }

    /// Apps that make snapshots, newcomers who begin with one, and relays that drop what snapshots cover.
    pub fn snapshots(seed: u64) -> Self {
        let plan = Self::random(seed);
        let mut dice = Dice::new(!seed);
        let faults = Faults {
            clean_ups: true,
            removals: dice.chance(200),
            old_relays: false,
            death: false,
            newer: false,
            ..plan.faults
        };
        let (after, newcomers) = (dice.range(1, 12), dice.range(1, 3));
        let (by, after_bytes) = (dice.range(0, 2), dice.range(1, 12));
        let keep = (dice.range(0, 30_000), 420 * dice.range(0, 15));
        let keeps_little = dice.chance(700);
        Self {
            relays: [1, 2, 1, 3][(seed % 4) as usize],
            faults,
            duration_ms: plan.duration_ms.max(20_000),
            upsets: 2 * UPSETS,
            // An envelope of these runs is some 420 bytes long.
            snapshot_after: (by != 1).then_some(after),
            snapshot_after_bytes: (by != 0).then_some(420 * after_bytes),
            keep: if keeps_little { keep } else { KEEP },
            only_snapshots_are_left: keeps_little && (plan.faults.wipes || plan.faults.rollbacks),
            newcomers,
            ..plan
        }
    }

    /// A quarrel: members who remove one another and leave, and hear of each other's doings late. Random runs come to what
    /// these come to, but rarely.
    pub fn quarrel(seed: u64) -> Self {
        let plan = Self::random(seed);
        let Faults { crash, restarts, .. } = plan.faults;
        let faults = Faults { crash, restarts, partitions: true, naps: true, removals: true, ..Faults::default() };
        let (late_joiner, upsets) = (seed % 2 == 1, 3 * UPSETS);
        let renames = if seed % 4 < 2 { RENAMES } else { 5 * RENAMES };
        Self { devices: 4, relays: 1, late_joiner, faults, upsets, renames, ..plan }
    }

    /// Profiles that are copied, and used in both places.
    pub fn copies(seed: u64) -> Self {
        let plan = Self::random(seed);
        let Faults { crash, disk_full, break_connection, partitions, restarts, expiry, naps, old_relays, .. } =
            plan.faults;
        let faults = Faults {
            crash,
            disk_full,
            break_connection,
            partitions,
            restarts,
            expiry,
            naps,
            old_relays,
            copies: true,
            ..Faults::default()
        };
        let relays = if seed.is_multiple_of(3) { 2 } else { 1 };
        Self { relays, faults, ..plan }
    }

    /// Outlaws: devices that are removed and use everything they have to stay, to come back, or to keep others out. In
    /// every other run nobody else is removed, so that nobody else may be missing in the end.
    pub fn outlaw(seed: u64) -> Self {
        let plan = Self::random(seed);
        let mut rng = Dice::new(!seed);
        let Faults { crash, restarts, .. } = plan.faults;
        let faults = Faults {
            crash,
            restarts,
            partitions: rng.chance(600),
            naps: rng.chance(500),
            wipes: rng.chance(300),
            removals: seed % 2 == 1,
            outlaws: rng.range(1, 2),
            absence: rng.chance(300),
            gang: rng.chance(500),
            ..Faults::default()
        };
        let relays = [1, 2, 1, 3][(seed / 2 % 4) as usize];
        let devices = rng.range(3, 5) as usize;
        let duration_ms = plan.duration_ms.max(20_000);
        Self { devices, relays, duration_ms, faults, ..plan }
    }
}

/// The seed's own randomness.
#[derive(Clone, Debug)]
pub(crate) struct Dice(ChaCha20Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// From `low` to `high`, both included.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.range(0, len as u64 - 1) as usize
    }

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.range(1, 1_000) <= per_mille
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    pub(crate) fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.0
    }
}
