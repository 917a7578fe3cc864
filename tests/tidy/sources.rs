//! Habits of the sources that no compiler checks.

use crate::tree::sources;

#[test]
fn every_source_says_what_it_is() {
    let silent: Vec<String> = sources(&[".rs"])
        .into_iter()
        .filter(|source| !source.text.lines().any(|line| line.starts_with("//! ")) || !source.text.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "no `//!` header: {silent:#?}");
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    for manifest in sources(&["Cargo.toml"]).iter().filter(|manifest| !manifest.text.starts_with("[workspace]")) {
        for wanted in ["[lints]\nworkspace = true", "license.workspace = true", "edition.workspace = true"] {
            assert!(manifest.text.contains(wanted), "{} lacks: {wanted}", manifest.path);
        }
    }
}

#[test]
fn the_core_names_nothing_of_the_outside_world() {
    let outside = ["std::fs", "std::net", "std::env", "std::thread", "std::process", "Instant", "SystemTime", "OsRng"];
    for source in sources(&[".rs"]).iter().filter(|source| source.path.starts_with("crates/sync-core/src/")) {
        for (number, line) in code(&source.text) {
            let named = outside.iter().find(|name| line.contains(*name));
            assert!(named.is_none(), "{}:{number} names {}", source.path, named.unwrap_or(&""));
        }
    }
}

#[test]
fn sql_and_select_have_one_place_each() {
    for source in sources(&[".rs"]) {
        let (client, relay) =
            (source.path.starts_with("crates/sync-client/src/"), source.path.starts_with("relay/src/"));
        for (number, line) in code(&source.text) {
            if (client || relay) && !source.path.contains("/src/store/") {
                assert!(!line.contains("sqlx::query"), "{}:{number} speaks SQL outside the store", source.path);
            }
            // The engine's loop, and the one of a pairing, which has no engine yet.
            if client && !["/driver.rs", "/pairing/mod.rs"].iter().any(|loops| source.path.ends_with(loops)) {
                assert!(!line.contains("select!"), "{}:{number} is a second loop", source.path);
            }
        }
    }
}

#[test]
fn no_endpoint_uses_iroh_relays_or_asks_anybody_for_addresses() {
    let mut endpoints = 0;
    for source in sources(&[".rs"]).iter().filter(|it| it.path.contains("/src/") && !it.path.starts_with("tests/")) {
        let code: String = code(&source.text).flat_map(|(_, line)| [line, "\n"]).collect();
        for endpoint in code.split("Endpoint::builder(").skip(1) {
            endpoints += 1;
            let chain = endpoint.split_once(';').map_or(endpoint, |(chain, _)| chain);
            let chain = chain.split_once("\n}").map_or(chain, |(chain, _)| chain);
            for wanted in ["presets::Minimal", "RelayMode::Disabled"] {
                assert!(chain.contains(wanted), "{}: an endpoint without {wanted}", source.path);
            }
        }
        for asking in ["address_lookup", "RelayMode::Default", "RelayMode::Custom", "presets::N0"] {
            assert!(!code.contains(asking), "{} names {asking}", source.path);
        }
    }
    assert!(endpoints > 1, "the device's and the relay's, at least");
}

#[test]
fn nothing_is_left_for_later() {
    // Split, so that this file passes its own test.
    let marks = [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("#[ig", "nore"), concat!("FIX", "ME")];
    for source in sources(&[".rs", ".md", ".toml"]) {
        for mark in marks {
            assert!(!source.text.contains(mark), "{} holds {mark}", source.path);
        }
    }
}

#[test]
fn no_text_names_a_place_on_somebodys_machine() {
    let places = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("C:\\", "Users")];
    for source in sources(&[".rs", ".md", ".toml", ".sql", ".stdout", ".stderr", ".ci/run"]) {
        for place in places {
            assert!(!source.text.contains(place), "{} names {place}…", source.path);
        }
    }
}

/// The lines that are code, numbered from 1: no comments, and nothing from the first test module on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    lines.map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}
