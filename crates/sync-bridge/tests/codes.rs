//! The union of codes that TypeScript branches on is the one that Rust has.
//!
//! `SYNC_WRITE_CODES=1 cargo test -p sync-bridge --test codes` writes it anew.

use std::path::Path;

use sync_bridge::ErrorCode;

fn in_typescript() -> String {
    let codes = ErrorCode::ALL.iter().map(|code| format!("  /** {} */\n  '{}',\n", sentence(code.text()), code.name()));
    format!(
        "/** Every code there is, as the Rust side has them. Written by a test of `sync-bridge`. */\n\n\
         /** All codes. */\nexport const ERROR_CODES = [\n{}] as const\n\n\
         /** What a program branches on: a closed set. */\n\
         export type ErrorCode = (typeof ERROR_CODES)[number]\n",
        codes.collect::<String>()
    )
}

fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    format!("{}{rest}.", first.to_uppercase())
}

#[test]
fn typescript_has_the_codes_that_rust_has() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-js/codes.ts");
    if std::env::var_os("SYNC_WRITE_CODES").is_some() {
        std::fs::write(&file, in_typescript()).expect("writable");
    }
    let written = std::fs::read_to_string(&file).expect("is there");
    assert_eq!(written, in_typescript(), "run it with SYNC_WRITE_CODES=1");
}
