//! The usual event, read without serde_json: a flat object of known fields, whose texts have no escapes.
//!
//! Nearly every record is one, and serde_json spends most of its time on what such a record does not have. What is read here is
//! what serde_json would have read; anything unusual is left to it, so the verdict is never ours alone.

use std::borrow::Cow;

use super::fields::{Fields, Found, Name};

/// Digits that fit an `i64` whatever they are.
const DIGITS_MAX: usize = 18;

/// The known fields of `json`, if it is as simple as that.
pub fn read(json: &str) -> Option<Fields<'_>> {
    let mut rest = Rest { json, at: 0 };
    let mut fields = Fields::none();
    rest.expect(b'{')?;
    loop {
        rest.expect(b'"')?;
        let name = name(rest.text()?)?;
        rest.expect(b':')?;
        fields.set(name, rest.value()?);
        match rest.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    rest.skip_space();
    (rest.at == json.len()).then_some(fields)
}

#[inline]
fn name(text: &str) -> Option<Name> {
    Some(match text.as_bytes() {
        b"song_id" => Name::SongId,
        b"title" => Name::Title,
        b"artist" => Name::Artist,
        b"user_id" => Name::UserId,
        b"timestamp" => Name::Timestamp,
        b"duration_ms" => Name::DurationMs,
        b"completed" => Name::Completed,
        b"device" => Name::Device,
        b"country" => Name::Country,
        b"event_id" => Name::EventId,
        b"city" => Name::City,
        b"album" => Name::Album,
        b"listened_ms" => Name::ListenedMs,
        _ => return None,
    })
}

/// What has not been read yet: `json` from `at` on.
struct Rest<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    #[inline]
    fn bytes(&self) -> &'a [u8] {
        &self.json.as_bytes()[self.at..]
    }

    #[inline]
    fn skip_space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', ..] = self.bytes() {
            self.at += 1;
        }
    }

    /// The next byte that is no space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        self.skip_space();
        let byte = *self.bytes().first()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// A text whose opening quote has been read.
    #[inline]
    fn text(&mut self) -> Option<&'a str> {
        let length = plain(self.bytes());
        let end = self.at + length;
        let text = self.json.get(self.at..end)?;
        self.at = end + 1;
        (self.json.as_bytes().get(end) == Some(&b'"')).then_some(text)
    }

    #[inline]
    fn value(&mut self) -> Option<Found<'a>> {
        Some(match self.next()? {
            b'"' => Found::Text(Cow::Borrowed(self.text()?)),
            b't' => self.word(b"rue", Found::Boolean(true))?,
            b'f' => self.word(b"alse", Found::Boolean(false))?,
            b'n' => self.word(b"ull", Found::Null)?,
            digit @ b'0'..=b'9' => self.integer(digit)?,
            _ => return None,
        })
    }

    #[inline]
    fn word(&mut self, end: &[u8], found: Found<'a>) -> Option<Found<'a>> {
        self.bytes().starts_with(end).then(|| {
            self.at += end.len();
            found
        })
    }

    /// An integer without a sign, whose first digit has been read.
    #[inline]
    fn integer(&mut self, first: u8) -> Option<Found<'a>> {
        let bytes = self.bytes();
        let digits = bytes.iter().take(DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
        let is_whole = !matches!(bytes.get(digits), Some(b'.' | b'e' | b'E' | b'0'..=b'9'));
        if !is_whole || digits == DIGITS_MAX || (first == b'0' && digits > 0) {
            return None;
        }
        let value = |value: i64, byte: &u8| value * 10 + i64::from(byte - b'0');
        self.at += digits;
        Some(Found::Integer(bytes[..digits].iter().fold(i64::from(first - b'0'), value)))
    }
}

/// How many bytes at the front are neither a quote nor a backslash nor a control character, eight at a time.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The lowest high bit that is set is that of the first byte which is less than `than`, or there is none.
    let less = |word: u64, than: u64| word.wrapping_sub(ONES * than) & !word & HIGH;
    let (words, end) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found =
            less(word, 0x20) | less(word ^ (ONES * u64::from(b'"')), 1) | less(word ^ (ONES * u64::from(b'\\')), 1);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| **byte >= 0x20 && !matches!(**byte, b'"' | b'\\');
    words.len() * 8 + end.iter().take_while(is_plain).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn plain_bytes_are_counted(bytes in prop::collection::vec(prop_oneof![
            8 => any::<u8>(), 8 => b'a'..b'z', 1 => Just(b'"'), 1 => Just(b'\\'), 1 => Just(0x1f), 1 => Just(b' '), 1 => Just(0x80),
        ], 0..60)) {
            let expected = bytes.iter().take_while(|byte| **byte >= 0x20 && !b"\"\\".contains(byte)).count();
            prop_assert_eq!(plain(&bytes), expected);
        }
    }

    /// What is not usual is left to serde_json, also what it will refuse.
    #[test]
    fn what_is_unusual_is_not_read() {
        for json in [
            "",
            "{",
            "{}",
            "[]",
            "{\"city\":1",
            "{\"city\":1}x",
            "{\"city\" 1}",
            "{\"city\":1,}",
            "{\"town\":1}",
            "{\"city\":01}",
            "{\"city\":-1}",
            "{\"city\":1.0}",
            "{\"city\":1e3}",
            "{\"city\":[1]}",
            "{\"city\":{}}",
            "{\"city\":\"a\\n\"}",
            "{\"city\":\"a\u{1}\"}",
            "{\"city\":tru}",
            "{\"city\":truer}",
            "{\"city\":1234567890123456789}",
            "{\"ci\\u0074y\":1}",
            "{\"city\":\"a}",
            "{\"city\":}",
        ] {
            assert!(read(json).is_none(), "{json}");
        }
        for json in
            ["{\"city\":1}", " { \"city\" :\t0 , \"album\":null,\"city\":\"é\" }\n", "{\"city\":123456789012345678}"]
        {
            assert!(read(json).is_some(), "{json}");
        }
    }
}
