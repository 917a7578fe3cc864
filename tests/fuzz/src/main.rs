//! The fuzzer of the target that `FUZZ_TARGET` names; built without one, what tries single inputs again.
//!
//! `cargo xtask fuzz` builds and runs the first. The second is `cargo run --package sync-fuzz -- TARGET FILE…`.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod fuzzer {
    use std::sync::OnceLock;

    static TARGET: OnceLock<sync_fuzz::Target> = OnceLock::new();

    libfuzzer_sys::fuzz_target!(
        init: {
            let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
            TARGET.get_or_init(|| sync_fuzz::target(&name).expect("FUZZ_TARGET names a target"));
        },
        |data: &[u8]| (TARGET.get().expect("set by init").run)(data)
    );
}

#[cfg(not(fuzzing))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().ok_or("which target?")?;
    let target = sync_fuzz::target(&name).ok_or("there is no such target")?;
    for file in args {
        (target.run)(&std::fs::read(file)?);
    }
    Ok(())
}
