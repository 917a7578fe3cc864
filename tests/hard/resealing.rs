//! SIGKILL, again and again, of a device that seals again what it had queued: the group got a new key while it was away.

use std::{thread, time::Duration};

use sync_tests::{Dice, RelaySetup, Scratch, pairing};

use crate::member::{Member, Totals, assert_all_well, relay};

/// Lines that wait for the relay.
const QUEUED: usize = 2_000;
const DEATHS: u64 = 15;
/// Deaths that have to come before everything has arrived, or none of them was in the middle of anything.
const IN_BETWEEN: u64 = 5;

#[test]
fn a_device_that_dies_over_what_it_seals_again_loses_nothing() {
    let scratch = Scratch::new();
    let mut relay = relay(&scratch, RelaySetup::default());
    let mut dice = Dice::new(7);
    let [mut phone, mut laptop] =
        ["phone", "laptop"].map(|name| Member::new(&scratch, name, &[relay.url()], Vec::new()));
    pairing(&phone.device, &laptop.device);
    phone.device.settles();
    laptop.device.settles();
    relay.kill();
    laptop.open();
    laptop.say(QUEUED);
    laptop.hear(&Totals::from([("laptop", QUEUED)]));
    laptop.close();
    relay.restart();
    phone.device.run(&["rotate-key"]).only_line();
    phone.open();
    let mut in_between = 0;
    for _ in 0..DEATHS {
        laptop.open();
        // Longer each time it gets nowhere: how long a start takes is the machine's.
        thread::sleep(Duration::from_millis(dice.below(30 + 10 * in_between)));
        laptop.die();
        phone.listen();
        in_between += u64::from(phone.heard("laptop") < QUEUED);
    }
    assert!(in_between >= IN_BETWEEN, "only {in_between} deaths came before everything had arrived");
    laptop.open();
    phone.say(1);
    let totals = Totals::from([("laptop", QUEUED), ("phone", 1)]);
    phone.hear(&totals);
    laptop.hear(&totals);
    phone.close();
    laptop.close();
    assert_all_well(&[relay], &mut [&mut phone, &mut laptop]);
}
