//! Documents whose links lead somewhere.

use std::{collections::BTreeSet, fs};

use sync_tests::workspace_root;

use crate::tree::{Source, sources};

#[test]
fn links_within_the_documents_lead_somewhere() {
    let documents = sources(&[".md"]);
    let mut followed = 0;
    for document in &documents {
        for link in links(&document.text).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { document.path.clone() } else { joined(&document.path, path) };
            let file = workspace_root().join(&target);
            assert!(file.exists(), "{}: {link} leads nowhere", document.path);
            if let Some(anchor) = anchor {
                let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{target}: {error}"));
                assert!(anchors(&text).contains(anchor), "{}: no heading for {link}", document.path);
            }
            followed += 1;
        }
    }
    assert!(followed > 0, "the documents hold links");
}

#[test]
fn the_first_document_names_every_developer_command() {
    let documents = sources(&["README.md"]);
    let readme = documents.iter().find(|document| document.path == "README.md").expect("there is a README");
    for command in ["demo", "test", "check", "sim", "fuzz", "e2e"] {
        assert!(readme.text.contains(&format!("cargo xtask {command}")), "README.md says nothing of {command}");
    }
}

#[test]
fn every_fault_that_is_listed_has_its_test() {
    let sources = sources(&[".rs"]);
    let list = sources.iter().find(|source| source.path == "tests/faults/main.rs").expect("the list is there");
    let rows = list.text.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(2);
    let tests: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert!(tests.len() > 10, "the list is read: {tests:?}");
    for test in tests {
        let wanted = format!("#[test]\nfn {test}()");
        assert!(sources.iter().any(|source| source.text.contains(&wanted)), "there is no test {test}");
    }
}

/// The targets of inline links, outside of code blocks.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    let prose = text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    });
    prose.flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split([')', ' ']).next())
}

/// What headings are called in a link, as GitHub makes it.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |char: &char| char.is_alphanumeric() || matches!(char, '-' | '_' | ' ');
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

/// `path` as seen from the folder of `from`, both from the workspace's root.
fn joined(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => assert!(parts.pop().is_some(), "{from}: {path} leaves the project"),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[test]
fn links_are_read_as_a_browser_does() {
    let document = Source { path: "docs/a/b.md".to_owned(), text: "[x](../c.md#d-e) ![y](z.png \"t\")".to_owned() };
    assert_eq!(links(&document.text).collect::<Vec<_>>(), ["../c.md#d-e", "z.png"]);
    assert_eq!(joined(&document.path, "../c.md"), "docs/c.md");
    assert!(anchors("# What `it` is, in 3 words\n").contains("what-it-is-in-3-words"));
}
