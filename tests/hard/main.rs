//! Hard times: a bad network, a wrong clock, and processes that are killed or stopped at any moment.
//!
//! Each story ends the same way: everything that was promised has arrived, once and in each sender's order, nothing
//! was called synced that wasn't, memory stayed within bounds, and no word that was pushed is in any log. What a
//! machine lacks for a story is said; with `SYNC_ALL_TESTS` set it is an error.

mod clock;
mod deaths;
mod direct;
mod half_open;
mod loss;
mod member;
mod pauses;
mod resealing;
