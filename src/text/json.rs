//! JSON that is safe to show: characters that a terminal acts on are written as escapes, whatever a
//! text holds.
//!
//! JSON itself demands escapes only for U+0000 to U+001F. A terminal also acts on U+007F and U+0080
//! to U+009F (U+009B begins a control sequence as ESC [ does), and marks such as U+202E change the
//! direction of the text after them. So these are written as escapes such as `\u009b` as well.
//! Every JSON reader gets the same text.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::escape::acts_on_terminal;

/// Compact JSON in which the characters of [`acts_on_terminal`] that serde_json does not escape are
/// escapes too. All of them have at most four hexadecimal digits.
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
/// Those of `out`; and if the value cannot be written as JSON.
pub fn to_writer(out: impl Write, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Escaping))
}

/// `value` as JSON on one line, without a final line feed.
///
/// # Errors
/// If the value cannot be written as JSON, such as a map whose keys are not texts.
pub fn to_vec(value: &(impl Serialize + ?Sized)) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::new();
    to_writer(&mut json, value)?;
    Ok(json)
}
