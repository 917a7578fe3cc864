//! What a store finds damaged, and how it is mended.

use bytes::Bytes;
use sync_core::event::{HeldRow, ParkReason, ParkedRow, StoreOp, WaitingRow};
use sync_types::{BlobHash, LocalCursor, Seq};

use super::{ALL, PEER, in_a_group, row};
use crate::store::{Damaged, DamagedRow, Store};

/// What the disk has changed is found wherever it is, is mended in its place, and takes no part in anything else.
pub(super) async fn what_is_damaged_is_found_and_mended_in_its_place(store: &dyn Store) {
    in_a_group(store).await;
    let whole = |seq: u64| {
        let row = row(PEER, seq, Some(seq));
        HeldRow { hash: BlobHash::of_bytes(&row.envelope), ..row }
    };
    let named = |bytes: &'static [u8]| (BlobHash::of_bytes(bytes), Bytes::from_static(bytes));
    let (hash, bytes) = named(b"waits");
    let (parked, unread) = named(b"is parked");
    let (manifest_id, manifest) = named(b"a manifest");
    let (part_id, part) = named(b"a part");
    let (bad, bad_bytes) = (BlobHash::from_bytes([1; 32]), Bytes::from_static(b"changed"));
    let held = [whole(1), HeldRow { envelope: bad_bytes.clone(), ..whole(2) }, whole(3)];
    let mut ops: Vec<_> = held.iter().cloned().map(StoreOp::Take).collect();
    ops.extend(
        [(hash, bytes), (bad, bad_bytes.clone())]
            .map(|(hash, envelope)| StoreOp::Wait(WaitingRow { sender: PEER, hash, envelope })),
    );
    ops.extend([(parked, unread), (bad, bad_bytes.clone())].map(|(hash, envelope)| {
        StoreOp::Park(ParkedRow { blob_id: hash.blob_id(), reason: ParkReason::TooNew, envelope })
    }));
    let snapshot = |own, part_id: BlobHash| StoreOp::Snapshot {
        snapshot: manifest_id.blob_id(),
        own,
        manifest: manifest.clone(),
        parts: vec![(part_id.blob_id(), part.clone())],
    };
    ops.push(snapshot(true, bad));
    store.commit(&ops).await.expect("commits");
    let sizes = store.sizes().await.expect("readable");
    assert_eq!((sizes.envelopes, sizes.waiting, sizes.parked, sizes.snapshots), (3, 12, 16, 16));
    assert!(sizes.database >= 200, "{sizes:?}");

    let damaged = DamagedRow {
        sender: PEER,
        seq: Seq::new(2),
        hash: whole(2).hash,
        cursor: Some(LocalCursor::new(2)),
        push_id: whole(2).push_id,
    };
    let found = Damaged {
        held: vec![damaged],
        waiting: vec![bad],
        parked: vec![bad.blob_id()],
        snapshots: vec![manifest_id.blob_id()],
    };
    assert_eq!(store.damaged().await.expect("readable"), found);
    let mended = [
        StoreOp::Mend { sender: PEER, seq: Seq::new(2), envelope: whole(2).envelope },
        StoreOp::Unwait { hash: bad },
        StoreOp::Unpark { blob_id: bad.blob_id() },
        StoreOp::SnapshotOver { snapshot: manifest_id.blob_id() },
        snapshot(true, part_id),
    ];
    store.commit(&mended).await.expect("commits");
    assert_eq!(store.damaged().await.expect("readable"), Damaged::default());
    let rows = store.log(LocalCursor::START, 10, ALL).await.expect("readable");
    assert_eq!(rows, [whole(1), whole(2), whole(3)]);
    store.check_all().await.expect("whole");
}
