//! The usual play, read without serde_json: a flat object of known fields, whose texts have no escapes.
//!
//! Nearly every record is one, and the lenient way spends most of its time on what such a record does not have: other types,
//! escapes, reasons. What is read here is what the other way would have read, and it keeps every rule; anything else is left to
//! the other way, so a record is never refused here.

use reprise_dataflows::play::TEXT_BYTES_MAX;

use super::{Play, plausible, timestamp};

/// Digits that fit an `i64` whatever they are.
const DIGITS_MAX: usize = 18;

/// What has been read of a play. As everywhere, a field that occurs twice counts with its last value.
#[derive(Default)]
struct Fields<'a> {
    song_id: Option<&'a str>,
    title: Option<&'a str>,
    artist: Option<&'a str>,
    user_id: Option<&'a str>,
    timestamp_us: Option<i64>,
    duration_ms: Option<i32>,
    completed: Option<bool>,
    device: Option<&'a str>,
    country: Option<&'a str>,
    event_id: Option<&'a str>,
    city: Option<&'a str>,
    album: Option<&'a str>,
    listened_ms: Option<i32>,
}

/// The play that `json` is, if it is as simple as that, in a record of the time `kafka_ms`.
pub fn read(json: &str, kafka_ms: Option<i64>) -> Option<Play<'_>> {
    let mut rest = Rest { json, at: 0 };
    let mut fields = Fields::default();
    rest.expect(b'{')?;
    loop {
        rest.expect(b'"')?;
        let name = rest.text()?.as_bytes();
        rest.expect(b':')?;
        match name {
            b"song_id" => fields.song_id = rest.text_value()?,
            b"title" => fields.title = rest.text_value()?,
            b"artist" => fields.artist = rest.text_value()?,
            b"user_id" => fields.user_id = rest.text_value()?,
            b"timestamp" => fields.timestamp_us = rest.timestamp()?,
            b"duration_ms" => fields.duration_ms = rest.milliseconds()?,
            b"completed" => fields.completed = rest.boolean()?,
            b"device" => fields.device = rest.text_value()?,
            b"country" => fields.country = rest.text_value()?,
            b"event_id" => fields.event_id = rest.text_value()?,
            b"city" => fields.city = rest.text_value()?,
            b"album" => fields.album = rest.text_value()?,
            b"listened_ms" => fields.listened_ms = rest.milliseconds()?,
            _ => return None,
        }
        match rest.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    rest.skip_space();
    if rest.at < json.len() {
        return None;
    }
    Some(Play {
        song_id: fields.song_id.filter(|id| !id.is_empty())?,
        title: fields.title?,
        artist: fields.artist?,
        user_id: fields.user_id?,
        timestamp_us: plausible(fields.timestamp_us?, kafka_ms).ok()?,
        duration_ms: fields.duration_ms?,
        completed: fields.completed?,
        device: fields.device?,
        country: fields.country?,
        event_id: fields.event_id,
        city: fields.city,
        album: fields.album,
        listened_ms: fields.listened_ms,
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

    // Each value is that of a field, or null, which is as good as none: the outer `None` says that it is not as simple as that.

    #[inline]
    fn text_value(&mut self) -> Option<Option<&'a str>> {
        match self.next()? {
            b'"' => Some(Some(self.text().filter(|text| text.len() <= TEXT_BYTES_MAX)?)),
            b'n' => self.word(b"ull", None),
            _ => None,
        }
    }

    #[inline]
    fn boolean(&mut self) -> Option<Option<bool>> {
        match self.next()? {
            b't' => self.word(b"rue", Some(true)),
            b'f' => self.word(b"alse", Some(false)),
            b'n' => self.word(b"ull", None),
            _ => None,
        }
    }

    #[inline]
    fn milliseconds(&mut self) -> Option<Option<i32>> {
        match self.next()? {
            digit @ b'0'..=b'9' => Some(Some(i32::try_from(self.integer(digit)?).ok()?)),
            b'n' => self.word(b"ull", None),
            _ => None,
        }
    }

    #[inline]
    fn timestamp(&mut self) -> Option<Option<i64>> {
        match self.next()? {
            b'"' => Some(Some(timestamp::from_text(self.text().filter(|text| text.len() <= TEXT_BYTES_MAX)?)?)),
            digit @ b'0'..=b'9' => Some(Some(timestamp::from_epoch(self.integer(digit)?)?)),
            b'n' => self.word(b"ull", None),
            _ => None,
        }
    }

    #[inline]
    fn word<T>(&mut self, end: &[u8], value: T) -> Option<T> {
        self.bytes().starts_with(end).then(|| {
            self.at += end.len();
            value
        })
    }

    /// An integer without a sign, whose first digit has been read.
    #[inline]
    fn integer(&mut self, first: u8) -> Option<i64> {
        let bytes = self.bytes();
        let digits = bytes.iter().take(DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
        let is_whole = !matches!(bytes.get(digits), Some(b'.' | b'e' | b'E' | b'0'..=b'9'));
        if !is_whole || digits == DIGITS_MAX || (first == b'0' && digits > 0) {
            return None;
        }
        let value = |value: i64, byte: &u8| value * 10 + i64::from(byte - b'0');
        self.at += digits;
        Some(bytes[..digits].iter().fold(i64::from(first - b'0'), value))
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
            8 => any::<u8>(), 8 => b'a'..=b'z', 1 => Just(b'"'), 1 => Just(b'\\'), 1 => Just(0x1f), 1 => Just(b' '), 1 => Just(0x80),
        ], 0..60)) {
            let expected = bytes.iter().take_while(|byte| **byte >= 0x20 && !b"\"\\".contains(byte)).count();
            prop_assert_eq!(plain(&bytes), expected);
        }
    }

    const PLAY: &str = r#"{"song_id":"17","title":"Ä","artist":"B","user_id":"U1","timestamp":"2026-11-20 14:41:40",
        "duration_ms":183000,"completed":true,"device":"mobile","country":"DE"}"#;

    /// The play with more fields, or with other values of those that it has.
    fn with(members: &str) -> String {
        PLAY.replace('}', &format!(",{members}}}"))
    }

    #[test]
    fn the_usual_is_read() {
        let play = read(PLAY, None).unwrap();
        assert_eq!((play.song_id, play.title, play.completed, play.event_id), ("17", "Ä", true, None));
        assert_eq!((play.timestamp_us, play.duration_ms, play.listened_ms), (1_795_185_700_000_000, 183_000, None));
        let json = with(
            " \t\"city\" : null , \"completed\":false,\"album\":\"A\",\"listened_ms\":7,\"timestamp\":1795185701 ",
        );
        let play = read(&json, Some(1_795_185_701_000)).unwrap();
        assert_eq!((play.city, play.album, play.listened_ms), (None, Some("A"), Some(7)));
        assert_eq!((play.completed, play.timestamp_us), (false, 1_795_185_701_000_000));
    }

    /// What is not usual is left to the other way, also what that one will refuse.
    #[test]
    fn what_is_unusual_is_not_read() {
        let bad = |json: &str| assert!(read(json, None).is_none(), "{json}");
        for json in
            ["", "{", "{}", "[]", &PLAY[1..], &PLAY[..PLAY.len() - 1], &PLAY.replace('}', ",}"), &format!("{PLAY}x")]
        {
            bad(json);
        }
        for members in [
            "\"city\" \"x\"",
            "\"town\":\"x\"",
            "\"city\":1",
            "\"city\":\"a\\n\"",
            "\"city\":\"a\u{1}\"",
            "\"city\":\"a",
            "\"city\":",
            "\"city\":nul",
            "\"ci\\u0074y\":\"x\"",
            "\"title\":null",
            "\"song_id\":\"\"",
            "\"completed\":tru",
            "\"completed\":truer",
            "\"completed\":1",
            "\"duration_ms\":01",
            "\"duration_ms\":-1",
            "\"duration_ms\":1.0",
            "\"duration_ms\":1e3",
            "\"duration_ms\":2147483648",
            "\"duration_ms\":1234567890123456789",
            "\"duration_ms\":[1]",
            "\"timestamp\":\"yesterday\"",
            "\"timestamp\":\"1999-12-31 23:59:59\"",
        ] {
            bad(&with(members));
        }
        bad(&with(&format!("\"city\":\"{}\"", "x".repeat(TEXT_BYTES_MAX + 1))));
        assert!(read(PLAY, Some(1_795_185_700_000 - 2 * 3_600_000)).is_none());
    }
}
