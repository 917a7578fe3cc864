//! What the code promises about its own shape, checked.

mod arrows;
mod documents;
mod sources;
mod tree;
