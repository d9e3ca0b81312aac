//! What goes to standard error: log lines and errors, in which names from outside are shown and never obeyed.
//!
//! A message may hold a title, the name of a topic or what another process has answered. [`Escaping`] is the one place where
//! all of it passes, so that no call has to remember to escape.

use std::io::{self, Write};

use super::table::{acts_on_terminal, escape};

/// Writes texts with their control characters as escapes, but for line feeds and tabs.
pub struct Escaping<W> {
    /// Where the text goes.
    pub out: W,
    /// Leaves the sequences alone that set colours, `ESC [ … m`. The log makes them itself, after it has escaped every ESC
    /// of its messages.
    pub colours: bool,
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut escaped = String::with_capacity(text.len());
        let mut rest = &*text;
        while let Some(character) = rest.chars().next() {
            let behind = &rest[character.len_utf8()..];
            rest = match colour_bytes(rest).filter(|_| self.colours) {
                Some(length) => {
                    escaped.push_str(&rest[..length]);
                    &rest[length..]
                }
                None if acts_on_terminal(character) && !matches!(character, '\n' | '\t') => {
                    escape(character, &mut escaped);
                    behind
                }
                None => {
                    escaped.push(character);
                    behind
                }
            };
        }
        self.out.write_all(escaped.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The length of the sequence that sets a colour, if `text` begins with one.
fn colour_bytes(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let length = parameters.find(|character: char| !character.is_ascii_digit() && character != ';')?;
    parameters[length..].starts_with('m').then_some("\x1b[".len() + length + 1)
}

/// Says on standard error why the process ends, after a `heading` that may have colours. Nobody may be there to read it.
pub fn print_error(heading: &str, text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(heading.as_bytes()).and_then(|()| writeln!(Escaping { out: err, colours: false }, " {text}"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str, colours: bool) -> String {
        let mut out = Vec::new();
        Escaping { out: &mut out, colours }.write_all(text.as_bytes()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_colours_line_feeds_and_tabs_pass() {
        let text = "\x1b[2;31mWARN\x1b[0m\ta\rb\x1b]0;title\x07\u{9b}2J\x7f\u{202e}\n";
        let end = "\\u{1b}]0;title\\u{7}\\u{9b}2J\\u{7f}\\u{202e}\n";
        assert_eq!(written(text, true), format!("\x1b[2;31mWARN\x1b[0m\ta\\rb{end}"));
        assert_eq!(written(text, false), format!("\\u{{1b}}[2;31mWARN\\u{{1b}}[0m\ta\\rb{end}"));
        assert_eq!(written("\x1b[2Jm", true), "\\u{1b}[2Jm");
    }

    proptest! {
        #[test]
        fn no_other_control_character_passes(text in "(\\PC|\\pC|\x1b\\[[0-9;]*[a-zA-Z]){0,40}") {
            let safe = |written: String| written.chars().all(|c| !c.is_control() || "\n\t".contains(c));
            prop_assert!(safe(written(&text, false)));
            let with_colours = written(&text, true);
            let mut plain = String::new();
            let mut rest = &*with_colours;
            while let Some(character) = rest.chars().next() {
                let length = colour_bytes(rest).unwrap_or_else(|| {
                    plain.push(character);
                    character.len_utf8()
                });
                rest = &rest[length..];
            }
            prop_assert!(safe(plain));
        }
    }
}
