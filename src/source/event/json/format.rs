//! The two paths of a JSON event: the fast path, and the general path, which finds the reason if a
//! record is no play.

use super::explain;
use super::fast_path::FastPath;
use super::fields::RecordFields;
use crate::intake::{EVENT_BYTES_MAX, EVENT_DEPTH_MAX, Rejection};
use crate::source::event::fields::Play;
use crate::source::event::format::{EventFormat, Record, Unread};
use crate::source::event::verdict::Rejected;
use std::fmt;

/// Events as JSON objects.
#[derive(Default)]
pub struct Json {
    fast_path: FastPath,
}

impl EventFormat for Json {
    fn read(&mut self, record: &Record<'_>, accept: &mut dyn FnMut(&Play<'_>)) -> Result<(), Unread> {
        let text = guard(record.value.unwrap_or_default())?;
        if let Some(play) = self.fast_path.read(text, record.timestamp_ms) {
            accept(&play);
            return Ok(());
        }
        let fields = read(text)?;
        let play = fields.play(record.timestamp_ms).map_err(|rejected| explain::missing(rejected, &fields, text))?;
        accept(&play);
        Ok(())
    }
}

/// The known fields of any JSON text that nests no deeper than allowed.
pub fn read(text: &str) -> Result<RecordFields<'_>, Rejected> {
    // Most events have a single bracket, so for them this rule only counts brackets.
    if opening_brackets(text.as_bytes()) > EVENT_DEPTH_MAX && nests_deeper(text.as_bytes(), EVENT_DEPTH_MAX) {
        return Err(Rejected::new(
            Rejection::TooDeep,
            format_args!("nested deeper than the {EVENT_DEPTH_MAX} levels that are allowed"),
        ));
    }
    serde_json::from_str(text).map_err(|error| unreadable(Rejection::NotJson, text.as_bytes(), &error))
}

/// Checks the bytes before they are parsed as JSON.
pub fn guard(value: &[u8]) -> Result<&str, Rejected> {
    if value.is_empty() {
        return Err(Rejected::new(Rejection::Empty, format_args!("the record has no value")));
    }
    if value.len() > EVENT_BYTES_MAX {
        let bytes = value.len();
        return Err(Rejected::new(
            Rejection::TooLarge,
            format_args!("{bytes} bytes, and {EVENT_BYTES_MAX} are allowed"),
        ));
    }
    simdutf8::basic::from_utf8(value).or_else(|_| {
        // The standard library's check gives the position, which simdutf8's basic one does not.
        std::str::from_utf8(value).map_err(|error| unreadable(Rejection::NotUtf8, value, &error))
    })
}

/// The rejection of bytes that cannot be parsed because of `error`, or for their framing if they
/// have one.
#[cold]
pub fn unreadable(reason: Rejection, value: &[u8], error: &dyn fmt::Display) -> Rejected {
    match explain::framing(value) {
        Some(framing) => Rejected::new(reason, format_args!("{framing}")),
        None => Rejected::new(reason, format_args!("{error}")),
    }
}

/// The number of opening brackets and braces, also inside texts. Counted in chunks whose count fits
/// a byte, which the compiler vectorises.
pub fn opening_brackets(json: &[u8]) -> usize {
    // `[` and `{` differ only in the bit 0x20.
    let opening = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(usize::from(u8::MAX)).map(|chunk| usize::from(opening(chunk))).sum()
}

/// Whether brackets outside of texts nest deeper than `depth_max`. Needs no stack, and works for
/// malformed JSON.
pub fn nests_deeper(json: &[u8], depth_max: usize) -> bool {
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => _ = bytes.next(),
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > depth_max {
            return true;
        }
    }
    false
}
