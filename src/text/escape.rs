//! Makes texts from outside safe to show: characters that a terminal would act on are written as
//! escapes.

use std::borrow::Cow;

/// `text` with the characters that a terminal would act on written as escapes, like `\n` or
/// `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_on_terminal) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match acts_on_terminal(character) {
            true => escape(character, &mut escaped),
            false => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Appends `character` to `text` as an escape, like `\n` or `\u{1b}`.
pub fn escape(character: char, text: &mut String) {
    text.extend(character.escape_default());
}

/// Whether a terminal would act on `character`: a control character, a line or paragraph separator,
/// or a mark that changes the direction of the text after it.
pub fn acts_on_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
