//! JSON that is safe to look at: whatever a text holds, no character that a terminal acts upon is written as it is.
//!
//! JSON itself asks for escapes of U+0000 to U+001F only. A terminal also acts upon U+007F and U+0080 to U+009F (U+009B
//! begins a control sequence as ESC [ does), and U+202E and its like turn the direction of what follows. So these are written as
//! `\u009b` as well. It is the same text to every reader.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::escape::acts_on_terminal;

/// Compact JSON, with the characters of [`acts_on_terminal`] that serde_json leaves alone as escapes. All of them have four digits.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(acts_on_terminal) {
            out.write_all(&rest.as_bytes()[..at])?;
            let mut behind = rest[at..].chars();
            if let Some(control) = behind.next() {
                write!(out, "\\u{:04x}", u32::from(control))?;
            }
            rest = behind.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

/// Writes `value` to `out`, on one line and without a final line feed.
///
/// # Errors
/// Those of `out`, and of a value that is no JSON.
pub fn to_writer(out: impl Write, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Escaping))
}

/// `value` on one line.
///
/// # Errors
/// If the value is no JSON, such as a map whose keys are not texts.
pub fn to_vec(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::new();
    to_writer(&mut json, value)?;
    Ok(json)
}
