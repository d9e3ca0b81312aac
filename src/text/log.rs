//! Output on standard error: log lines, notes and errors. Text from outside is written as escapes
//! where a terminal would act on it.
//!
//! A message may hold a title, the name of a topic or the answer of another process. All output
//! passes through [`Escaping`], so that no call has to remember to escape. With `--log-format json`
//! ([`use_json`]) each line is a JSON object, even outside the log, because programs read all of
//! standard error.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::json;
use crate::text::{acts_on_terminal, escape};

/// Whether lines are JSON objects.
static IS_JSON: AtomicBool = AtomicBool::new(false);
/// A sentence about what the process leaves behind if it ends before its destructors have run.
static LEFT_BEHIND: Mutex<Option<String>> = Mutex::new(None);

/// How the control characters of a text are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As `\u{1b}`.
    Plain,
    /// As `\u{1b}`, except in the sequences that set colours, `ESC [ … m`, which stay as they are.
    /// The log writes these itself, after it has escaped every ESC of its messages.
    Coloured,
    /// As `\u001b`, the escape of JSON.
    Json,
}

/// Writes texts with their control characters as escapes, except line feeds and tabs.
pub struct Escaping<W> {
    /// Where the text goes.
    pub out: W,
    /// How control characters are written.
    pub form: Form,
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let mut escaped = String::with_capacity(text.len());
        let mut rest = &*text;
        while let Some(character) = rest.chars().next() {
            let behind = &rest[character.len_utf8()..];
            rest = match colour_bytes(rest).filter(|_| self.form == Form::Coloured) {
                Some(length) => {
                    escaped.push_str(&rest[..length]);
                    &rest[length..]
                }
                None if acts_on_terminal(character) && !matches!(character, '\n' | '\t') => {
                    match self.form {
                        // Each of them has four hexadecimal digits at most.
                        Form::Json => escaped.push_str(&format!("\\u{:04x}", u32::from(character))),
                        Form::Plain | Form::Coloured => escape(character, &mut escaped),
                    }
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

/// Makes every line on standard error a JSON object from now on.
pub fn use_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

/// Whether lines on standard error are JSON objects.
pub fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Prints to standard error why the process ends, after a `heading` that may have colours, and what
/// it leaves behind.
pub fn print_error(heading: &str, text: &str) {
    print("ERROR", heading, text);
    print_left_behind();
}

/// Prints a note to standard error, for the person who has started the command, whatever level
/// `RUST_LOG` sets for the log.
pub fn note(text: &str) {
    print("INFO", "", text);
}

/// Prints what the process leaves behind, if anything. To be called where the process ends without
/// running destructors.
pub fn print_left_behind() {
    let left_behind = LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(text) = left_behind {
        note(&text);
    }
}

/// While this lives, an end of the process that skips destructors prints what the process leaves
/// behind.
pub struct LeftBehind(());

impl LeftBehind {
    /// `text` is a sentence that names what is left behind.
    pub fn new(text: String) -> Self {
        *LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        Self(())
    }
}

impl Drop for LeftBehind {
    fn drop(&mut self) {
        *LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A line of JSON outside the log, with the members that a line of the log has.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    message: &'a str,
}

/// Prints a line, and ignores errors: standard error may be closed.
fn print(level: &str, heading: &str, text: &str) {
    let out = io::stderr().lock();
    let _ = if is_json() { print_json(out, level, text) } else { print_plain(out, heading, text) };
}

fn print_json(out: impl Write, level: &str, text: &str) -> io::Result<()> {
    let timestamp = format!("{:.6}", jiff::Timestamp::now());
    let mut line = json::to_vec(&Line { timestamp, level, message: text.trim() })?;
    line.push(b'\n');
    Escaping { out, form: Form::Json }.write_all(&line)
}

fn print_plain(mut out: impl Write, heading: &str, text: &str) -> io::Result<()> {
    let space = if heading.is_empty() { "" } else { " " };
    out.write_all(heading.as_bytes())?;
    Escaping { out, form: Form::Plain }.write_all(format!("{space}{text}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str, colours: bool) -> String {
        written_as(text, if colours { Form::Coloured } else { Form::Plain })
    }

    fn written_as(text: &str, form: Form) -> String {
        let mut out = Vec::new();
        Escaping { out: &mut out, form }.write_all(text.as_bytes()).unwrap();
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

    /// The output stays valid JSON, and a reader gets the text unchanged.
    #[test]
    fn json_stays_json() {
        let text = "\u{9b}2J\u{7f}\u{200f}\u{202e}\u{2066}é夜";
        let written = written_as(&serde_json::to_string(text).unwrap(), Form::Json);
        assert_eq!(written, r#""\u009b2J\u007f\u200f\u202e\u2066é夜""#);
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }

    proptest! {
        #[test]
        fn json_parses_and_controls_nothing(text in "(\\PC|\\pC){0,40}") {
            let written = written_as(&serde_json::to_string(&text).unwrap(), Form::Json);
            prop_assert!(!written.contains(acts_on_terminal));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }

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
