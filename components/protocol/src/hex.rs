//! Bytes as text, where a key of the store, a name or a header takes no others.

use std::fmt::Write;

/// Two lower-case digits a byte.
pub fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().fold(String::new(), |mut text, byte| {
        // A string takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(hex([0, 9, 10, 255]), "00090aff");
        assert_eq!(hex([]), "");
    }
}
