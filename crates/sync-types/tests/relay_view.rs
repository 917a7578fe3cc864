//! `docs/WHAT_A_RELAY_SEES.md` is made from the definitions of the messages, and is what they say.
//!
//! After a change to a message: `WRITE_DOCUMENTS=1 cargo test -p sync-types --test relay_view`.

use std::{env, fmt::Write as _, fs, path::Path};

use sync_types::{
    DeviceMsg, Header, RelayMsg,
    describe::{Described, Field},
    mailbox::{MailboxReply, MailboxRequest},
    message::Over,
};

const HEAD: &str = "\
# What a relay sees

Every field that reaches a relay, and why it needs it. Made from the definitions in `crates/sync-types`, and compared
with them by a test: a field without a reason fails it.

Besides these a relay sees what every server sees: the network address, when something comes and how long it is (the
content of an envelope is padded), and the device's endpoint id, which is its `DeviceId` and made for one group. Over
HTTP it sees the same fields as in a mailbox's messages, and the headers that an HTTP client sends. What it says in
PRESENCE it knows from the sessions alone: no device sends anything for it.

";

#[test]
fn the_document_says_what_the_definitions_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/WHAT_A_RELAY_SEES.md");
    if env::var_os("WRITE_DOCUMENTS").is_some() {
        fs::write(&file, document()).expect("the document can be written");
    }
    let written = fs::read_to_string(&file).expect("the document is there");
    assert!(written == document(), "the document is old: see the first lines of this test");
}

fn document() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("## In a session, from a device\n\n");
    told(&mut text, DeviceMsg::TYPES, DeviceMsg::FIELDS);
    text.push_str("\nOf each id that is over, in a Move:\n\n");
    told(&mut text, &[(0, "Over")], &[Over::FIELDS]);
    text.push_str("\n## Of an envelope\n\nTwo bytes before these say how to read them, version and cipher suite. After them come the encrypted body and its\n\
         sender's signature, which a relay keeps as they are.\n\n",
);
    told(&mut text, &[(0, "Envelope")], &[Header::FIELDS]);
    text.push_str("\n## In a mailbox, from a device\n\n");
    told(&mut text, MailboxRequest::TYPES, MailboxRequest::FIELDS);
    text.push_str("\n## What a relay answers\n\nMade of what it was told, its clock and its configuration.\n\n");
    said(&mut text, RelayMsg::TYPES, RelayMsg::FIELDS);
    // A mailbox's refusal is a session's.
    let last = MailboxReply::TYPES.len() - 1;
    said(&mut text, &MailboxReply::TYPES[..last], &MailboxReply::FIELDS[..last]);
    text
}

/// What a relay is told, and why.
fn told(text: &mut String, types: &[(u8, &str)], fields: &[&'static [Field]]) {
    text.push_str("| message | field | what | a relay needs it |\n| --- | --- | --- | --- |\n");
    for ((_, name), field) in rows(types, fields) {
        let why = field.why().unwrap_or_else(|| panic!("{name}.{}: why does a relay need it?", field.name));
        let _ = writeln!(text, "| {name} | `{}` | {} | {} |", field.name, plain(&field.what()), plain(&why));
    }
}

/// What a relay tells.
fn said(text: &mut String, types: &[(u8, &str)], fields: &[&'static [Field]]) {
    text.push_str("| message | field | what |\n| --- | --- | --- |\n");
    for ((_, name), field) in rows(types, fields) {
        let _ = writeln!(text, "| {name} | `{}` | {} |", field.name, plain(&field.what()));
    }
    text.push('\n');
}

fn rows<'a>(
    types: &'a [(u8, &'a str)],
    fields: &'a [&'static [Field]],
) -> impl Iterator<Item = (&'a (u8, &'a str), &'static Field)> {
    assert_eq!(types.len(), fields.len());
    types.iter().zip(fields).flat_map(|(message, fields)| fields.iter().map(move |field| (message, field)))
}

/// As a document has it: links of the code, `[`a::b`]`, as words only, and nothing that ends a cell.
fn plain(text: &str) -> String {
    let text = text.replace("[`", "`").replace("`]", "`").replace('|', "\\|");
    text.replace("crate::", "").replace("Self::", "")
}
