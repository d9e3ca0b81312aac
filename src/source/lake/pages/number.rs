//! The integers that Parquet stores.

/// An integer that Parquet stores.
pub trait Number: Copy + Default + Send {
    /// The low bits of `wide`.
    fn truncated(wide: i64) -> Self;

    /// The first number in little-endian `bytes`, and the bytes after it.
    fn split(bytes: &[u8]) -> Option<(Self, &[u8])>;
}

impl Number for i32 {
    fn truncated(wide: i64) -> Self {
        wide as Self
    }

    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        bytes.split_first_chunk().map(|(number, rest)| (Self::from_le_bytes(*number), rest))
    }
}

impl Number for i64 {
    fn truncated(wide: i64) -> Self {
        wide
    }

    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        bytes.split_first_chunk().map(|(number, rest)| (Self::from_le_bytes(*number), rest))
    }
}
