//! A short string that is passed by value.
//!
//! Countries, devices and cities are part of the key of every count that crosses workers, and
//! nearly always a few bytes long. A [`Label`] therefore keeps up to 14 bytes inline, in 16 bytes,
//! and shares longer texts by reference count. Equality, order and hash are those of the text.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const INLINE_BYTES: usize = 14;

/// An immutable string that takes 16 bytes on the stack, ordered bytewise.
///
/// ```
/// use reprise_dataflows::keys::label::Label;
///
/// let (country, city) = (Label::new("PT"), Label::new("São Tomé and Príncipe"));
/// assert!(country < city);
/// assert_eq!(city.as_str(), "São Tomé and Príncipe");
/// assert_eq!(size_of::<Label>(), 16);
/// ```
#[derive(Clone)]
pub struct Label(Text);

#[derive(Clone)]
enum Text {
    /// Length and bytes. Invariant: the first bytes, as many as the length says, are those of a
    /// `str`, and the others are zero.
    Inline(u8, [u8; INLINE_BYTES]),
    Shared(Arc<Box<str>>),
}

impl Label {
    /// A label with this text. Allocates if the text has more than 14 bytes.
    pub fn new(text: &str) -> Self {
        if text.len() > INLINE_BYTES {
            return Self(Text::Shared(Arc::new(text.into())));
        }
        let mut bytes = [0; INLINE_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self(Text::Inline(text.len() as u8, bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Text::Shared(text) => text.as_bytes(),
        }
    }
}

impl Default for Label {
    fn default() -> Self {
        Self(Text::Inline(0, [0; INLINE_BYTES]))
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Text::Inline(a, x), Text::Inline(b, y)) => a == b && x == y,
            _ => self.as_bytes() == other.as_bytes(),
        }
    }
}

impl Eq for Label {}

impl std::hash::Hash for Label {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::fmt::Debug for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equality, order and text are those of the string, below and above the inline limit.
    #[test]
    fn behaves_as_its_text() {
        let texts = ["", "U", "US", "fourteen bytes", "fifteen bytes !", "fifteen bytes ?", "São Tomé and Príncipe"];
        for a in texts {
            assert_eq!(Label::new(a).as_str(), a);
            for b in texts {
                assert_eq!(Label::new(a) == Label::new(b), a == b);
                assert_eq!(Label::new(a).cmp(&Label::new(b)), a.cmp(b));
            }
        }
        assert_eq!(size_of::<Label>(), 16);
    }
}
