//! Faults seen in systems like this one, each with a test that would catch it.
//!
//! | fault | caught by |
//! | --- | --- |
//! | a reader that polls while two devices push misses confirmed blobs | `a_reader_that_polls_while_two_push_misses_nothing` |
//! | a device's own push hides others' earlier blobs | `an_own_push_hides_nothing_of_others` |
//! | a page limit below the size of one blob wedges the reader for ever | `a_page_always_moves_on` |
//! | blobs near the limit fail long before it | `a_blob_of_a_megabyte_passes_and_one_byte_more_is_refused` |
//! | a repeated push takes a second place in the log | `a_push_repeated_after_a_crash_takes_one_place` |
//! | a clean goodbye leaves the session behind | `a_goodbye_leaves_no_session_behind` |
//! | a stalled reader blocks others | `a_stalled_reader_holds_nobody_up` |
//! | expired blobs are still served | `what_has_expired_is_gone_for_everybody` |
//! | knowing a group's id is enough to read it | `another_group_sees_nothing` |
//! | one client breaks under several tasks | `eight_at_once_share_one_device` |
//! | a relay has another identity at every start | `a_stopped_relay_comes_back_as_itself` |
//! | another relay at a known address is believed | `another_relay_at_the_same_address_is_not_believed` |
//! | after an outage a client never says "connected" again | `an_outage_leaves_no_trace_in_the_status` |
//! | a dead relay is noticed after half a minute | `a_dead_relay_is_noticed_within_seconds` |
//! | what is confirmed after the disk was full is on no disk | `what_a_relay_confirms_after_its_disk_was_full_is_on_the_disk`, `what_a_device_shows_after_its_disk_was_full_is_on_the_disk` |
//! | one wrong bit in a stored key makes a device work on alone | `a_key_that_went_bad_on_the_disk_is_noticed_wherever_it_did` |
//! | a relay's own limit is found out after the promise | `a_relay_that_takes_less_is_known_by_the_time_of_a_push` |
//! | a check for plaintext passes because the logs are empty | `nothing_readable_is_left_anywhere` |
//!
//! The other files are bad input by theme; `docs/TESTING.md` has the table.

mod codes;
mod crowd;
mod damage;
mod diligent;
mod disk;
mod doubles;
mod frames;
mod keys;
mod relay_side;
mod relays;
mod room;
mod sharing;
mod sizes;
