//! A picture of another device's screen.

use std::{io, path::Path};

use image::{ImageReader, Limits};
use rqrr::PreparedImage;

use crate::error::CliError;

/// Pixels on a side: more than any camera's picture, and what a decoder may be made to unpack.
const SIDE_MAX: u32 = 16_384;
/// Bytes a picture may take unpacked.
const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The text of the one QR code in a PNG or JPEG file.
pub(crate) fn link_in(file: &Path) -> Result<String, CliError> {
    let unreadable = |source| CliError::Unreadable { what: "the picture", source };
    let mut reader = ImageReader::open(file).and_then(ImageReader::with_guessed_format).map_err(unreadable)?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height, limits.max_alloc) =
        (Some(SIDE_MAX), Some(SIDE_MAX), Some(BYTES_MAX));
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let mut prepared = PreparedImage::prepare(picture.into_luma8());
    let codes = prepared.detect_grids();
    let [code] = &codes[..] else { return Err(CliError::NotOneQr { found: codes.len() }) };
    let (_, text) = code.decode().map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(text)
}
