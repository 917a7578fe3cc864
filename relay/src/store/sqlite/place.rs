//! Where a row stands in the file: one number for its group and its cursor.
//!
//! Rows of one log are neighbours that way, in their order, and are found without an index.

use std::ops::RangeInclusive;

use sync_types::RelayCursor;

/// Bits of a place that are the cursor, as queries say it too. A log that took a thousand rows a second would use them up in a year.
const CURSOR_BITS: u32 = 35;
const CURSOR_MASK: i64 = (1 << CURSOR_BITS) - 1;
/// The last cursor there is a place for.
pub(super) const CURSOR_MAX: RelayCursor = RelayCursor::new(CURSOR_MASK.cast_unsigned());
/// The last group number there is a place for.
pub(super) const GROUP_MAX: i64 = i64::MAX >> CURSOR_BITS;

/// The place of a row. A cursor over [`CURSOR_MAX`] stands where no row is: at the end of the group's places.
pub(super) fn place(group_no: i64, cursor: RelayCursor) -> i64 {
    (group_no << CURSOR_BITS) | i64::try_from(cursor.get()).map_or(CURSOR_MASK, |cursor| cursor.min(CURSOR_MASK))
}

/// All places of a group.
pub(super) fn places(group_no: i64) -> RangeInclusive<i64> {
    place(group_no, RelayCursor::START)..=place(group_no, CURSOR_MAX)
}

/// Whose place it is.
pub(super) fn group_at(place: i64) -> i64 {
    place >> CURSOR_BITS
}

/// Which row's.
pub(super) fn cursor_at(place: i64) -> RelayCursor {
    RelayCursor::new((place & CURSOR_MASK).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_groups_and_one_rows() {
        for group_no in [1, 2, 77, GROUP_MAX] {
            for cursor in [RelayCursor::START, RelayCursor::new(1), RelayCursor::new(1 << 33), CURSOR_MAX] {
                let place = place(group_no, cursor);
                assert!(places(group_no).contains(&place));
                assert_eq!((group_at(place), cursor_at(place)), (group_no, cursor));
            }
        }
        assert_eq!(*places(1).end() + 1, *places(2).start(), "no place belongs to two groups");
        assert_eq!(place(3, RelayCursor::new(u64::MAX)), *places(3).end());
    }
}
