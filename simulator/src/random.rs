//! Random values.

/// Random bytes.
pub(crate) fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::getrandom(&mut bytes).unwrap();
    bytes
}

/// Random text of `length` capital letters and digits.
pub(crate) fn random_text(length: usize) -> String {
    let letter = |byte| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(byte % 32)]);
    random_bytes(length).into_iter().map(letter).collect()
}
