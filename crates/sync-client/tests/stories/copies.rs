//! Stories of profiles that are copied, keys and all, and used in both places.

use std::fs;

use crate::support::*;
use sync_client::{Badge, Event, SyncEvent};

/// Another device with a copy of this one's folder. The original is closed meanwhile.
async fn copied(original: &mut Device) -> Device {
    original.close().await;
    let copy = Device::with_folder(|folder| {
        for entry in fs::read_dir(original.dir.path()).expect("readable") {
            let entry = entry.expect("readable");
            fs::copy(entry.path(), folder.join(entry.file_name())).expect("copies");
        }
    })
    .await;
    original.reopen_offline().await;
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_profile_is_another_device_once_it_finds_out_and_nothing_is_lost() {
    trace();
    let relay = TestRelay::start().await;
    let [mut phone, laptop] = paired(&relay).await;
    phone.connect().await.expect("in a group");
    push(&phone, "before").await;
    in_step(&phone).await;
    let mut copy = copied(&mut phone).await;
    let was = phone.device_id().expect("in a group");
    assert_eq!(copy.device_id().expect("in a group"), was);
    push(&phone, "from the phone").await;
    push(&copy, "from its copy").await;
    push(&copy, "and again").await;
    in_step(&phone).await;

    let mut events = copy.subscribe();
    in_step(&copy).await;
    let is = copy.device_id().expect("in a group");
    assert_ne!(is, was);
    assert_eq!(copy.profile().await.expect("readable").device_id, Some(is));
    let told = loop {
        if let SyncEvent::Happened(Event::IdentityChanged { device, former }) = events.next().await.expect("open") {
            break (device, former);
        }
    };
    assert_eq!(told, (is, was));
    let everything = ["before", "from the phone", "from its copy", "and again"];
    for device in [&phone, &laptop, &copy] {
        in_step(device).await;
        holds(device, &everything).await;
        assert_eq!(device.status().badge, Badge::Synced, "{:?}", device.status());
    }
    assert_eq!(phone.device_id().expect("in a group"), was, "who was there first stays who it is");
    assert_eq!(texts(&copy).await[..3], ["before", "from its copy", "and again"], "cursors stay what they were");
    let seen = laptop.devices().await.expect("in a group");
    let copies: Vec<_> = seen.iter().filter_map(|device| Some((device.device_id, device.copy_of?))).collect();
    assert_eq!((seen.len(), copies), (3, vec![(is, was)]));

    // It is the same one after a restart, with its own endpoint and its own keys.
    copy.close().await;
    copy.reopen().await;
    assert_eq!(copy.device_id().expect("in a group"), is);
    laptop.rotate_key().await.expect("in a group");
    push(&laptop, "under new keys").await;
    in_step(&laptop).await;
    for device in [&copy, &phone] {
        in_step(device).await;
        holds(device, &[&everything[..], &["under new keys"]].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_restored_from_a_backup_goes_on_as_another_device() {
    trace();
    let relay = TestRelay::start().await;
    let [mut phone, laptop] = paired(&relay).await;
    let restored = copied(&mut phone).await;
    let was = phone.device_id().expect("in a group");
    push(&phone, "after the backup").await;
    in_step(&phone).await;
    phone.close().await;
    in_step(&restored).await;
    push(&restored, "after the restore").await;
    in_step(&restored).await;
    assert_ne!(restored.device_id().expect("in a group"), was);
    for device in [&restored, &laptop] {
        in_step(device).await;
        holds(device, &["after the backup", "after the restore"]).await;
    }
    // What it was before is of no more use to anybody.
    restored.remove_device(was, sync_client::Rekey::New).await.expect("a member");
    in_step(&restored).await;
    in_step(&laptop).await;
    assert_eq!(laptop.devices().await.expect("in a group").len(), 2);
}
