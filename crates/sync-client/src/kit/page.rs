//! The page that a person prints: one HTML document without anything from elsewhere.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::RecoveryKit;

/// Letters in a group, and groups in a line, as eyes can follow them.
const GROUP: usize = 5;
const LINE: usize = 10;
/// Room for the page: a string that grows leaves its old bytes behind.
const LEN: usize = 256 * 1024;
/// As much of an id as lists of devices show.
const ID_LEN: usize = 12;

const STYLE: &str = "body{font:12pt/1.5 sans-serif;color:#000;background:#fff;max-width:42em;margin:2em auto;padding:0 1em}\
h1{font-size:20pt;margin:0}pre{font:11pt/1.6 monospace;letter-spacing:.05em;white-space:pre-wrap}\
.qr svg{width:9cm;height:9cm}@media print{body{margin:0}}";

/// See [`RecoveryKit::page`].
pub(super) fn html(kit: &RecoveryKit) -> Zeroizing<String> {
    let mut page = Zeroizing::new(String::with_capacity(LEN));
    let id: String = kit.device_id.to_string().chars().take(ID_LEN).collect();
    let app = escaped(&kit.app_id);
    let written = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Recovery kit</title><style>{STYLE}</style>\n\
         <h1>Recovery kit</h1>\n<p>For <b>{app}</b>. In the list of devices this kit is <b>{id}</b>.</p>\n\
         <p>With this page and its code you get your data back after losing every device. The code is not on this page: \
         keep it in another place. Whoever has both gets in; one without the other opens nothing.</p>\n"
    );
    written.expect("a string takes it");
    if let Ok(drawn) = kit.qr_svg() {
        let drawn = Zeroizing::new(drawn);
        // A drawing by itself begins with a line that is of no use in a page.
        let svg = drawn.find("<svg").map_or(&**drawn, |start| &drawn[start..]);
        page.push_str("<div class=\"qr\">");
        page.push_str(svg);
        page.push_str("</div>\n");
    }
    page.push_str("<pre>");
    // What it begins with is a word of its own: by that it is found in the page again.
    let letters = kit.text.rfind(':').map_or(0, |end| end + 1);
    page.push_str(&kit.text[..letters]);
    for (index, letter) in kit.text[letters..].chars().enumerate() {
        if index % GROUP == 0 {
            page.push(if index % (GROUP * LINE) == 0 { '\n' } else { ' ' });
        }
        page.push(letter);
    }
    page.push_str(
        "</pre>\n<p>To use it: make a new profile in the app, choose the recovery kit, scan the picture or type the \
         letters (blanks and line ends don't matter), and type the code. Then make a new kit and remove this one.</p>\n\
         <p>If this page or its code may be in somebody else's hands, remove the kit on any of your devices.</p>\n</html>\n",
    );
    page
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use sync_core::kit::{Kit, KitCode};
    use sync_types::DeviceId;

    use super::*;

    #[test]
    fn the_page_has_the_text_and_not_the_code_and_nothing_from_elsewhere() {
        let text = format!("ZEROK:KIT:1:{}", "0123456789ABCDEFGHJKMNPQRSTVWXYZ".repeat(20));
        let kit = RecoveryKit {
            device_id: DeviceId::from_bytes([7; 32]),
            app_id: "<notes> & more".to_owned(),
            text: Zeroizing::new(text.clone()),
            code: KitCode::from_bytes(&[0xab; KitCode::LEN]),
        };
        let page = kit.page();
        assert!(page.len() < LEN, "{}", page.len());
        let printed = page.split("<pre>").nth(1).and_then(|rest| rest.split("</pre>").next()).expect("the text");
        assert!(printed.starts_with("ZEROK:KIT:1:\n01234 56789 "), "{printed}");
        assert_eq!(printed.replace([' ', '\n'], ""), text);
        let code = kit.code();
        assert!(!page.contains(&**code) && !page.contains(&code.replace('-', "")));
        assert!(page.contains("&lt;notes&gt; &amp; more") && page.contains("<svg") && !page.contains("<?xml"));
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http"), "nothing is fetched");
        assert!(Kit::check(&text).is_err(), "which is no kit, and was none of this test's business");
        assert_eq!(format!("{kit:?}"), format!("RecoveryKit({:?})", kit.device_id));
    }
}
