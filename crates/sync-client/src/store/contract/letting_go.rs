//! What a store lets go of, and what it keeps of that.

use bytes::Bytes;
use sync_core::{
    event::{GONE_BYTES, HeldRow, Load, StoreOp},
    identity::Nonce,
};
use sync_types::{LocalCursor, LocalLogId, Seq};

use super::{ALL, ME, PEER, RELAY, STRANGER, in_a_group, row, sender, sqlite};
use crate::store::{Reach, Store};

/// An envelope that is let go leaves its row behind, which says where it belongs; readers are not handed it.
pub(super) async fn what_is_let_go_leaves_its_place(store: &dyn Store) {
    in_a_group(store).await;
    let mut ops: Vec<_> = (1..=10).map(|seq| StoreOp::PutOwn(row(ME, seq, Some(seq)))).collect();
    ops.extend((1..=10).map(|seq| StoreOp::Take(row(PEER, seq, Some(10 + seq)))));
    ops.push(StoreOp::Sender(sender(PEER, 10)));
    store.commit(&ops).await.expect("commits");
    let gone =
        |sender, first, last, bytes| StoreOp::LetGo { sender, first: Seq::new(first), last: Seq::new(last), bytes };
    store.commit(&[gone(ME, 1, 2, 200), gone(PEER, 3, 3, 100), gone(PEER, 5, 10, 600)]).await.expect("commits");

    let stored = store.load().await.expect("readable");
    assert_eq!((stored.held_bytes, stored.kept_bytes), (2_000, 1_100));
    assert_eq!((stored.own_gone, stored.head_cursor), (Seq::new(2), LocalCursor::new(20)), "places are what they were");
    assert_eq!(stored.own.len(), 10, "its hashes are known still");
    let empty = |row: HeldRow| HeldRow { envelope: Bytes::new(), ..row };
    let (own, _) = store.read(Load::Own { from: Seq::new(1), bytes: 2 * GONE_BYTES + 99 }).await.expect("readable");
    assert_eq!(own, [empty(row(ME, 1, Some(1))), empty(row(ME, 2, Some(2)))], "they count for something");
    let (theirs, _) = store.read(Load::Of { sender: PEER, from: Seq::new(9), bytes: ALL }).await.expect("readable");
    assert_eq!(theirs, [9, 10].map(|seq| empty(row(PEER, seq, Some(10 + seq)))));
    let (held, last) = store.read(Load::Held { relay: RELAY, after: 18, bytes: ALL }).await.expect("readable");
    assert_eq!((held.len(), last), (2, 20));

    let front = |after, bytes| store.read(Load::Front { after, bytes });
    assert_eq!(front(0, 100).await.expect("readable"), (vec![row(ME, 3, Some(3))], 3));
    let rest = [(ME, 10, 10), (PEER, 1, 11), (PEER, 2, 12), (PEER, 4, 14)];
    let rest = rest.map(|(sender, seq, cursor)| row(sender, seq, Some(cursor)));
    assert_eq!(front(9, ALL).await.expect("readable"), (rest.to_vec(), 14));
    assert_eq!(front(14, ALL).await.expect("readable"), (vec![], 0));

    assert_eq!(store.log(LocalCursor::new(9), 10, ALL).await.expect("readable"), rest, "as the app reads on");
    let placed = store.placed(&[LocalCursor::new(13)]).await.expect("readable");
    assert_eq!(placed.iter().map(|it| (it.sender, it.seq)).collect::<Vec<_>>(), [(PEER, Seq::new(3))]);
    let reach = Reach { sender: PEER, received: Seq::new(2), applied: Seq::new(2), missing: Vec::new() };
    assert_eq!(store.lacks(&STRANGER, &[reach]).await.expect("readable").unreceived, 8, "who lacks it lacks it still");

    let damaged = store.damaged().await.expect("readable").held;
    assert_eq!(damaged.len(), 11, "of these rows none is what its hash says, and what was let go is not damaged");

    let nonce = Nonce::from_bytes([5; 32]);
    store.commit(&[StoreOp::Identity { device: STRANGER, former: ME, nonce }]).await.expect("commits");
    assert_eq!(store.load().await.expect("readable").own_gone, Seq::START, "is another's");
    store.leave_group(LocalLogId::from_bytes([6; 16])).await.expect("leaves");
    let stored = store.load().await.expect("readable");
    assert_eq!((stored.held_bytes, stored.kept_bytes), (0, 0));
}

#[tokio::test]
async fn a_file_gets_shorter_by_what_is_let_go() {
    for len in [200, 3_000] {
        let (store, dir) = sqlite().await;
        in_a_group(&store).await;
        let take = |seq| StoreOp::Take(HeldRow { envelope: vec![7; len].into(), ..row(PEER, seq, Some(seq)) });
        for batch in 0..20 {
            let ops: Vec<_> = (1..=500).map(|nth| take(batch * 500 + nth)).collect();
            store.commit(&ops).await.expect("commits");
        }
        let before = store.sizes().await.expect("readable").database;
        // As much in one transaction as an engine lets go of.
        for batch in 0..95 {
            let (first, last) = (Seq::new(batch * 100 + 1), Seq::new(batch * 100 + 100));
            let bytes = 100 * len as u64;
            store.commit(&[StoreOp::LetGo { sender: PEER, first, last, bytes }]).await.expect("commits");
        }
        let after = store.sizes().await.expect("readable").database;
        assert!(before - after > 8_000 * len as u64, "{before} bytes before, {after} after");
        store.close().await;
        let on_disk = std::fs::metadata(dir.path().join("profile.db")).expect("is there").len();
        assert!(on_disk <= after + 4_096, "{on_disk} bytes on the disk, {after} in use");
    }
}
