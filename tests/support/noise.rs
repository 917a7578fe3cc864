//! Text and bytes that no compressor makes shorter.

/// So many bytes, others for every seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    });
    bytes.take(len).collect()
}

/// So many characters on one line, others for every seed.
pub fn noisy_text(seed: u64, len: usize) -> String {
    let digits = noise(seed, len.div_ceil(4) * 3);
    data_encoding::BASE64.encode(&digits)[..len].to_owned()
}
