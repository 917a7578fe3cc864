//! Bytes as letters that a person can read off paper: Crockford's base32
//! (<https://www.crockford.com/base32.html>). Lower case, blanks and hyphens don't matter, and O, I and L are read as 0, 1
//! and 1.

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Five bits a letter; what is missing to the last is zeros.
pub(super) fn encode(bytes: &[u8]) -> String {
    let letters = (bytes.len() * 8).div_ceil(5);
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| (byte >> (7 - at % 8)) & 1);
    let letter = |first: usize| (0..5).fold(0, |value, offset| value << 1 | bit(first + offset));
    (0..letters).map(|index| char::from(ALPHABET[usize::from(letter(5 * index))])).collect()
}

/// The letters alone, each as it is written. None if there is something else, or more than `max`.
pub(super) fn plain(text: &str, max: usize) -> Option<String> {
    let mut plain = String::with_capacity(max);
    for letter in text.chars().filter(|letter| !letter.is_whitespace() && *letter != '-') {
        let letter = match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            letter => letter,
        };
        if plain.len() == max || !letter.is_ascii() || !ALPHABET.contains(&(letter as u8)) {
            return None;
        }
        plain.push(letter);
    }
    Some(plain)
}

/// What [`encode`] made these of. None if it can't have: there is half a byte too much, or something in it.
pub(super) fn decode(letters: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(letters.len() * 5 / 8);
    let (mut held, mut bits) = (0u16, 0u32);
    for letter in letters.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        held = held << 5 | u16::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    (bits < 5 && held == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_lead_back_to_the_bytes() {
        for len in 0..40u8 {
            let bytes: Vec<u8> = (0..len).map(|place| place.wrapping_mul(37).wrapping_add(len)).collect();
            assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
        assert_eq!(encode(&[0xff, 0x00]), "ZW00");
    }

    #[test]
    fn people_type_as_they_like_and_what_is_no_letter_is_refused() {
        assert_eq!(plain(" o1-lI\nzz ", 6).as_deref(), Some("0111ZZ"));
        for text in ["U", "é", "0000000", "."] {
            assert_eq!(plain(text, 6), None, "{text}");
        }
        for letters in ["Z", "ZW01", "000"] {
            assert_eq!(decode(letters), None, "{letters}");
        }
    }
}
