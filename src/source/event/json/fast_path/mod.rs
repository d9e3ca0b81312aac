//! Reads the usual play, a flat object of known fields, without serde_json.
//!
//! Nearly every record is such a play, and the general path spends most of its time on cases that
//! do not occur in it: other types, other fields, reasons. A play that is read here satisfies every
//! rule, and is the play that the general path would read. All other records are left to the
//! general path, so none is rejected here.
//!
//! A producer writes its fields in one order, so each name is first compared with the name at the
//! same position of the last record.

#[cfg(test)]
mod tests;

use crate::intake::TEXT_BYTES_MAX;

use crate::source::event::fields::{
    Flag, Identifier, Kind, Milliseconds, Moment, Name, OptionalMilliseconds, OptionalText, Play, Text, for_each_field,
};
use crate::source::event::timestamp;
use crate::source::event::verdict::plausible;

/// The number of digits that always fit an `i64`.
const DIGITS_MAX: usize = 18;

/// Reads plays, and remembers the order of fields from one to the next.
pub struct FastPath {
    /// By the number of a field: the field that came after it in the last record. By the number of
    /// [`Name::Unknown`]: the first field.
    follower: [Name; Name::Unknown as usize + 1],
    /// The decoded texts of the current play that had escapes.
    unescaped: String,
}

impl Default for FastPath {
    /// Expects the order of the schema.
    fn default() -> Self {
        let mut follower = [Name::SongId; Name::Unknown as usize + 1];
        for pair in Name::ALL.windows(2) {
            follower[pair[0] as usize] = pair[1];
        }
        Self { follower, unescaped: String::new() }
    }
}

/// How the values of a field are read on the fast path.
trait Fast: Kind {
    /// The form in which a value is kept until the whole record has been read.
    type Kept<'a>: Copy;

    /// Reads a value. The inner `None` is a null, which counts as no field; the outer `None` leaves
    /// the record to the general path.
    fn read<'a>(rest: &mut Rest<'a, '_>) -> Option<Option<Self::Kept<'a>>>;

    /// The value in a play, from its kept form, for a record of the time `kafka_ms`; `None` if it
    /// breaks a rule.
    fn value<'a>(kept: Option<Self::Kept<'a>>, unescaped: &'a str, kafka_ms: Option<i64>) -> Option<Self::Value<'a>>;
}

macro_rules! fast {
    ($($kind:ident as $kept:ty: $read:ident, |$value:pat_param, $unescaped:pat_param, $kafka_ms:pat_param| $play:expr;)*) => {$(
        impl Fast for $kind {
            type Kept<'a> = $kept;

            #[inline]
            fn read<'a>(rest: &mut Rest<'a, '_>) -> Option<Option<Self::Kept<'a>>> {
                rest.$read()
            }

            #[inline]
            fn value<'a>(
                $value: Option<Self::Kept<'a>>,
                $unescaped: &'a str,
                $kafka_ms: Option<i64>,
            ) -> Option<Self::Value<'a>> {
                $play
            }
        }
    )*};
}

fast! {
    Identifier as Slice<'a>: text_value, |kept, unescaped, _| Some(kept?.of(unescaped)).filter(|id| !id.is_empty());
    Text as Slice<'a>: text_value, |kept, unescaped, _| Some(kept?.of(unescaped));
    OptionalText as Slice<'a>: text_value, |kept, unescaped, _| Some(kept.map(|text| text.of(unescaped)));
    Moment as i64: timestamp, |kept, _, kafka_ms| plausible(kept?, kafka_ms).ok();
    Milliseconds as i32: milliseconds, |kept, _, _| kept;
    OptionalMilliseconds as i32: milliseconds, |kept, _, _| Some(kept);
    Flag as bool: boolean, |kept, _, _| kept;
}

macro_rules! fast_fields {
    ($($(#[$doc:meta])* $field:ident $name:literal $variant:ident $kind:ident,)*) => {
        /// The values read so far. If a field occurs twice, its last value counts.
        #[derive(Default)]
        struct FastFields<'a> {
            $($field: Option<<$kind as Fast>::Kept<'a>>,)*
        }

        impl<'a> FastFields<'a> {
            /// Reads the value of the field `name`.
            #[inline]
            fn read(&mut self, name: Name, rest: &mut Rest<'a, '_>) -> Option<()> {
                match name {
                    $(Name::$variant => self.$field = $kind::read(rest)?,)*
                    Name::Unknown => return None,
                }
                Some(())
            }

            /// The play in a record of the time `kafka_ms`, if it satisfies every rule.
            #[inline]
            fn play(self, unescaped: &'a str, kafka_ms: Option<i64>) -> Option<Play<'a>> {
                Some(Play { $($field: $kind::value(self.$field, unescaped, kafka_ms)?,)* })
            }
        }
    };
}
for_each_field!(fast_fields);

/// A text in the record, or the position of a decoded text.
#[derive(Clone, Copy)]
enum Slice<'a> {
    Plain(&'a str),
    Unescaped(u32, u32),
}

impl<'a> Slice<'a> {
    #[inline]
    fn of(self, unescaped: &'a str) -> &'a str {
        match self {
            Self::Plain(text) => text,
            Self::Unescaped(start, end) => &unescaped[start as usize..end as usize],
        }
    }
}

impl FastPath {
    /// The play in `json`, a record of the time `kafka_ms`; `None` leaves it to the general path.
    pub fn read<'a>(&'a mut self, json: &'a str, kafka_ms: Option<i64>) -> Option<Play<'a>> {
        self.unescaped.clear();
        let fields = Rest { json, at: 0, unescaped: &mut self.unescaped }.fields(&mut self.follower)?;
        fields.play(&self.unescaped, kafka_ms)
    }
}

/// The rest of the record: `json` from `at` on.
struct Rest<'a, 'b> {
    json: &'a str,
    at: usize,
    unescaped: &'b mut String,
}

impl<'a> Rest<'a, '_> {
    /// Reads the whole object.
    #[inline]
    fn fields(mut self, follower: &mut [Name]) -> Option<FastFields<'a>> {
        let mut fields = FastFields::default();
        let mut last = Name::Unknown;
        self.expect(b'{')?;
        loop {
            self.expect(b'"')?;
            let name = self.name(follower[last as usize])?;
            follower[last as usize] = name;
            last = name;
            fields.read(name, &mut self)?;
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        self.skip_space();
        (self.at == self.json.len()).then_some(fields)
    }

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

    /// The next byte that is not white space.
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

    /// Reads the rest of a field's name after its opening quote, and the colon. The expected name
    /// takes one comparison.
    #[inline]
    fn name(&mut self, expected: Name) -> Option<Name> {
        let Key { bytes: key, mask, length } = KEYS[expected as usize];
        if let Some(bytes) = self.bytes().first_chunk::<KEY_BYTES_MAX>()
            && u128::from_le_bytes(*bytes) & mask == key
        {
            self.at += length;
            return Some(expected);
        }
        let start = self.at;
        self.at += plain(self.bytes());
        let name =
            Name::ALL.into_iter().find(|name| name.as_str().as_bytes() == &self.json.as_bytes()[start..self.at])?;
        self.expect(b'"')?;
        self.expect(b':')?;
        Some(name)
    }

    // The inner `None` is a null, which counts as no field; the outer `None` leaves the record to
    // the general path.

    #[inline]
    fn text_value(&mut self) -> Option<Option<Slice<'a>>> {
        match self.next()? {
            b'"' => self.text().map(Some),
            b'n' => self.word(b"ull", None),
            _ => None,
        }
    }

    /// Reads the rest of a text after its opening quote.
    #[inline]
    fn text(&mut self) -> Option<Slice<'a>> {
        let bytes = self.bytes();
        let length = plain(bytes);
        if bytes.get(length) != Some(&b'"') {
            return self.escaped();
        }
        let text = self.json.get(self.at..self.at + length).filter(|text| text.len() <= TEXT_BYTES_MAX)?;
        self.at += length + 1;
        Some(Slice::Plain(text))
    }

    #[cold]
    fn escaped(&mut self) -> Option<Slice<'a>> {
        let start = self.unescaped.len();
        loop {
            let end = self.at + plain(self.bytes());
            self.unescaped.push_str(self.json.get(self.at..end)?);
            self.at = end;
            match self.bytes() {
                [b'"', ..] => break,
                [b'\\', byte, ..] => self.unescaped.push(match byte {
                    b'"' | b'\\' | b'/' => char::from(*byte),
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    b'n' => '\n',
                    b'r' => '\r',
                    b't' => '\t',
                    b'u' => {
                        let digits = self
                            .json
                            .get(end + 2..end + 6)
                            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
                        self.at += 4;
                        // A lone surrogate is no character.
                        char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
                    }
                    _ => return None,
                }),
                _ => return None,
            }
            self.at += 2;
        }
        self.at += 1;
        (self.unescaped.len() - start <= TEXT_BYTES_MAX)
            .then_some(Slice::Unescaped(start as u32, self.unescaped.len() as u32))
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
            b'"' => match self.text()? {
                Slice::Plain(text) => Some(Some(timestamp::from_text(text)?)),
                Slice::Unescaped(..) => None,
            },
            digit @ b'0'..=b'9' => Some(Some(timestamp::from_epoch(self.integer(digit)?)?)),
            b'n' => self.word(b"ull", None),
            _ => None,
        }
    }

    #[inline]
    fn word<T, const N: usize>(&mut self, end: &[u8; N], value: T) -> Option<T> {
        (self.bytes().first_chunk() == Some(end)).then(|| {
            self.at += N;
            value
        })
    }

    /// Reads the rest of an unsigned integer after its first digit.
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

const KEY_BYTES_MAX: usize = 16;

/// The bytes after the opening quote of a name, `name":`, as a little-endian number.
struct Key {
    bytes: u128,
    /// A mask of `length` bytes.
    mask: u128,
    length: usize,
}

/// The keys of all fields. That of an unknown field matches nothing.
const KEYS: [Key; Name::Unknown as usize + 1] = {
    let mut keys = [const { Key { bytes: 1, mask: 0, length: 0 } }; Name::Unknown as usize + 1];
    let mut field = 0;
    while field < Name::ALL.len() {
        let name = Name::ALL[field].as_str().as_bytes();
        let mut bytes = [0; KEY_BYTES_MAX];
        let (head, _) = bytes.split_at_mut(name.len());
        head.copy_from_slice(name);
        bytes[name.len()] = b'"';
        bytes[name.len() + 1] = b':';
        let length = name.len() + 2;
        keys[field] =
            Key { bytes: u128::from_le_bytes(bytes), mask: u128::MAX >> (8 * (KEY_BYTES_MAX - length)), length };
        field += 1;
    }
    keys
};

/// The number of bytes at the front that are no quote, backslash or control character. Checks eight
/// at a time.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The lowest high bit that is set belongs to the first byte less than `than`; none is set if
    // there is no such byte.
    let less = |word: u64, than: u64| word.wrapping_sub(ONES * than) & !word;
    let (words, end) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found =
            (less(word, 0x20) | less(word ^ (ONES * u64::from(b'"')), 1) | less(word ^ (ONES * u64::from(b'\\')), 1))
                & HIGH;
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| **byte >= 0x20 && !matches!(**byte, b'"' | b'\\');
    words.len() * 8 + end.iter().take_while(is_plain).count()
}
