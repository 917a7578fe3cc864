//! Every invocation in `cmd/`, with what it says to whom and how it exits.
//!
//! Only what needs no relay is here; the rest are stories in the package sync-tests.

#[test]
fn invocations_say_what_they_should() {
    trycmd::TestCases::new().case("tests/cmd/*.toml").case("tests/cmd/*.trycmd");
}
