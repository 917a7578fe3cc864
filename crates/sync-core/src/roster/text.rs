//! Names as people see them while they decide whom to let in.
//!
//! A name comes from a device that may be hostile, and is read beside the digits. So nothing in it may hide, reorder
//! or overwrite what stands next to it.

/// The text without what can't be seen or changes how its neighbours look; blanks are single, none at the ends. Cut
/// at a character if it is longer than `len_max` bytes.
pub(crate) fn clean(text: &str, len_max: usize) -> String {
    let mut clean = String::new();
    for word in text.split(|char: char| char.is_whitespace() || char.is_control()) {
        let blank = usize::from(!clean.is_empty());
        for (index, char) in word.chars().filter(|char| !is_invisible(*char)).enumerate() {
            let blank = if index == 0 { blank } else { 0 };
            if clean.len() + blank + char.len_utf8() > len_max {
                return clean;
            }
            if blank == 1 {
                clean.push(' ');
            }
            clean.push(char);
        }
    }
    clean
}

/// Unicode's format characters and other blanks without a width: joiners, directional marks, embeddings, overrides
/// and isolates, tags, annotation anchors, fillers, variation selectors.
fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{00ad}' | '\u{034f}' | '\u{0600}'..='\u{0605}' | '\u{061c}' | '\u{06dd}' | '\u{070f}' | '\u{08e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn what_is_seen_stays() {
        for name in ["Ann's laptop", "Телефон", "电脑 2", "Käte · Büro", "📱 phone", "עמית"] {
            assert_eq!(clean(name, 64), name);
        }
    }

    #[test]
    fn what_is_not_seen_goes() {
        assert_eq!(clean("phone\u{202e}gpj.exe\u{202c}", 64), "phonegpj.exe");
        assert_eq!(clean("a\u{200b}d\u{feff}m\u{e0041}in", 64), "admin");
        assert_eq!(clean("laptop\r\n\x1b[2Jdigits: 123456", 64), "laptop [2Jdigits: 123456");
        assert_eq!(clean("\u{2800}\u{3164} \u{200f}\t", 64), "");
    }

    #[test]
    fn blanks_are_single_and_none_at_the_ends() {
        assert_eq!(clean("  a \u{a0}\u{3000} \u{200b} b  ", 64), "a b");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(clean("äöü", 5), "äö");
        assert_eq!(clean("ab cd", 3), "ab");
        assert_eq!(clean("x", 0), "");
    }
}
