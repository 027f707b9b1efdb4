//! Numbers at fixed offsets, tagged fields, and the checksum: what every format of the log is made of.

/// A body that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFault;

/// CRC-32C; the instructions for it are chosen when the process first asks.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The `N` bytes at `at`, which the caller knows to be there.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes is an array of N bytes")
}

/// The little-endian number at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

/// The little-endian number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// The little-endian number at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// The little-endian number at `at`.
pub(crate) fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(array_at(bytes, at))
}

/// Writes `value` at `at`.
pub(crate) fn put_at<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

/// Whether there is nothing but zeros; padding is checked, so that no byte below a synced position may change unseen.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// What stands before the bytes of a tagged field: the tag, and how many bytes follow (u32).
pub const FIELD_HEAD_BYTES: usize = 1 + 4;

/// Appends a tagged field.
pub(crate) fn push_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("fields are bounded by limits");
    out.push(tag);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a tagged text, unless it is empty.
pub(crate) fn push_text(out: &mut Vec<u8>, tag: u8, text: &str) {
    if !text.is_empty() {
        push_field(out, tag, text.as_bytes());
    }
}

/// Walks tagged fields, in rising order of their tags.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    tag_last: u8,
}

impl<'a> Fields<'a> {
    /// The fields in `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes, tag_last: 0 }
    }

    /// The next one; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, BodyFault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if self.rest.len() < FIELD_HEAD_BYTES {
            return Err(BodyFault);
        }
        let tag = self.rest[0];
        let length = u32_at(self.rest, 1) as usize;
        let rest = &self.rest[FIELD_HEAD_BYTES..];
        if tag < self.tag_last || length > rest.len() {
            return Err(BodyFault);
        }
        let (field, rest) = rest.split_at(length);
        self.rest = rest;
        self.tag_last = tag;
        Ok(Some((tag, field)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, from the polynomial.
    fn crc32c_slow(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
            }
        }
        !crc
    }

    #[test]
    fn checksum_is_crc_32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let bytes: Vec<u8> = (0..4_500u32).map(|i| (i * 7 + i / 13) as u8).collect();
        for length in (0..600).chain([1_023, 1_024, 4_095, 4_096, 4_500]) {
            assert_eq!(crc32c(&bytes[..length]), crc32c_slow(&bytes[..length]), "{length} bytes");
        }
    }

    #[test]
    fn fields_come_back_in_order_and_cut_ones_do_not() {
        let mut bytes = Vec::new();
        push_text(&mut bytes, 1, "");
        push_text(&mut bytes, 2, "two");
        push_field(&mut bytes, 7, &[]);
        let mut fields = Fields::new(&bytes);
        assert_eq!(fields.next(), Ok(Some((2, &b"two"[..]))));
        assert_eq!(fields.next(), Ok(Some((7, &b""[..]))));
        assert_eq!(fields.next(), Ok(None));
        for cut in 1..8 {
            assert_eq!(Fields::new(&bytes[..cut]).next(), Err(BodyFault), "{cut} bytes");
        }
        let mut falling = Vec::new();
        push_text(&mut falling, 3, "c");
        push_text(&mut falling, 2, "b");
        let mut fields = Fields::new(&falling);
        fields.next().expect("the first field is whole");
        assert_eq!(fields.next(), Err(BodyFault));
    }
}
