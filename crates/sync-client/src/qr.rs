//! An invite link, drawn for the other device's camera.
//!
//! What is drawn is the link itself: whoever photographs it gets as far as the digits.

use qrcode::{
    EcLevel, QrCode,
    render::{svg, unicode::Dense1x2},
};

/// A text that is too long for a QR code: over 2,331 bytes. A link that names one relay and four addresses has some 240.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link is too long for a QR code")]
pub struct TooLongForQr;

/// An SVG image, with its quiet zone: dark on white, whatever the colours around it, and sharp at any size.
///
/// # Errors
/// [`TooLongForQr`].
pub fn svg(link: &str) -> Result<String, TooLongForQr> {
    let drawing = code(link)?.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
    Ok(drawing)
}

/// Half-block characters for a terminal, two modules above each other in each, with the quiet zone. Drawn for light
/// text on a dark ground, which is what most terminals have; cameras read either.
///
/// # Errors
/// [`TooLongForQr`].
pub fn blocks(link: &str) -> Result<String, TooLongForQr> {
    // What is called dark there is a lit block, whose colour is the text's.
    let drawing = code(link)?.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Ok(drawing)
}

fn code(link: &str) -> Result<QrCode, TooLongForQr> {
    QrCode::with_error_correction_level(link, EcLevel::M).map_err(|_| TooLongForQr)
}

#[cfg(test)]
mod tests {
    use sync_types::{
        InviteLink,
        invite::{Direct, MailboxName},
    };

    use super::*;

    /// What a camera makes of it. `is_dark` says of a module whether it is, as drawn.
    fn read(width: usize, height: usize, is_dark: impl Fn(usize, usize) -> bool) -> String {
        const PIXELS: usize = 4;
        let shade = |x: usize, y: usize| if is_dark(x / PIXELS, y / PIXELS) { 0 } else { 255 };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width * PIXELS, height * PIXELS, shade);
        let found = image.detect_grids();
        let [grid] = &found[..] else { panic!("{} codes", found.len()) };
        grid.decode().expect("it is readable").1
    }

    const LINK: &str = "zerok://join#lQGoQUJDREVGR0jEIAUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFkbR";

    #[test]
    fn what_a_terminal_shows_is_the_link() {
        let drawn = blocks(LINK).expect("short enough");
        let rows: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
        // A block that is lit is paper.
        let is_dark = |x: usize, y: usize| match (rows[y / 2][x], y % 2) {
            ('\u{2588}', _) | ('\u{2580}', 0) | ('\u{2584}', 1) => false,
            (' ' | '\u{2580}' | '\u{2584}', _) => true,
            (other, _) => panic!("{other:?}"),
        };
        assert_eq!(read(rows[0].len(), rows.len() * 2, is_dark), LINK);
    }

    #[test]
    fn what_a_screen_shows_is_the_link() {
        let drawn = svg(LINK).expect("short enough");
        assert!(drawn.contains("<svg") && drawn.contains("#fff") && !drawn.contains(LINK));
        // Its path is made of dark squares, `M x y h size v size H x V y`.
        let path = drawn.split(" d=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a path");
        let numbers = |square: &str| {
            let numbers = square.split(|char: char| !char.is_ascii_digit()).filter_map(|number| number.parse().ok());
            let [x, y, size] = numbers.take(3).collect::<Vec<usize>>()[..] else { panic!("{square}") };
            (x, y, size)
        };
        let squares: Vec<_> = path.split('M').filter(|square| !square.is_empty()).map(numbers).collect();
        let size = squares[0].2;
        let dark: std::collections::BTreeSet<_> = squares.iter().map(|(x, y, _)| (x / size, y / size)).collect();
        let side = dark.iter().map(|(x, _)| x).max().expect("not empty") + 5;
        assert_eq!(read(side, side, |x, y| dark.contains(&(x, y))), LINK);
    }

    #[test]
    fn a_link_with_all_a_device_offers_fits_a_terminal() {
        let addresses = ["192.168.1.20:40000", "10.0.0.20:40000", "[2001:db8::1]:40001", "[2001:db8::2]:40001"];
        let addresses = addresses.map(|address| address.parse().expect("an address"));
        let link = |count: usize| {
            let direct = Direct { endpoint: [9; 32], addresses: addresses[..count].to_vec() };
            let link = InviteLink::new(MailboxName::from_random([1; 5]), [7; 32]).with_direct(direct);
            link.with_relays(vec!["https://relay.example.org".to_owned()]).to_text(InviteLink::SCHEME)
        };
        let width = |text: &str| code(text).expect("short enough").width();
        // Version 10, and version 11: two more columns of dots on a side for two more addresses.
        assert_eq!([width(&link(2)), width(&link(4))], [57, 61]);
        assert!(blocks(&link(4)).expect("short enough").lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_text_that_no_code_holds_is_an_error() {
        assert_eq!(svg(&"a".repeat(3_000)), Err(TooLongForQr));
        assert_eq!(blocks(&"a".repeat(3_000)), Err(TooLongForQr));
    }
}
