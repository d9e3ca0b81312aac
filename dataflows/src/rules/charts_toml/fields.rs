//! The tables and values of a TOML document, each with what an error message needs: its place and
//! its text.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::DefinitionError;

/// Fields that a later version is planned to have. [`is_planned`] adds those of de-duplication.
const FIELDS_LATER: &[&str] = &["movement", "cap", "caps", "per_user"];
/// The most characters of a value that a message quotes.
const FOUND_CHARS_MAX: usize = 40;

/// A table of the document.
pub(super) struct TomlFields<'a> {
    text: &'a str,
    /// The name of the table in messages.
    place: String,
    /// The offset of its first byte in the text.
    start: usize,
    table: &'a DeTable<'a>,
}

impl<'a> TomlFields<'a> {
    /// The table that begins at `start` of `text`, called `place` in messages.
    pub(super) fn new(text: &'a str, place: String, start: usize, table: &'a DeTable<'a>) -> Self {
        Self { text, place, start, table }
    }

    /// Refuses any field that is not one of `possible`: the first in the file.
    pub(super) fn refuse_others(&self, possible: &[&str]) -> Result<(), DefinitionError> {
        let others = self.table.keys().filter(|key| !possible.contains(&key.get_ref().as_ref()));
        let Some(first) = others.min_by_key(|key| key.span().start) else { return Ok(()) };
        let (line, place) = (line(self.text, first.span().start), self.place.clone());
        let field = shortened(self.text.get(first.span()).unwrap_or_default());
        Err(if is_planned(first.get_ref()) {
            DefinitionError::NotYet { line, place, what: format!("`{field}`") }
        } else {
            DefinitionError::Unknown { line, place, field, possible: list(possible.iter().copied(), "and") }
        })
    }

    /// The value of a field; `None` if the field is absent.
    pub(super) fn get(&self, name: &'static str) -> Option<Value<'a, '_>> {
        self.table.get(name).map(|value| Value { text: self.text, place: &self.place, name, value })
    }

    /// Reads a field, or returns the default if the field is absent.
    pub(super) fn or<T>(
        &self,
        name: &'static str,
        default: T,
        read: impl FnOnce(Value<'a, '_>) -> Result<T, DefinitionError>,
    ) -> Result<T, DefinitionError> {
        self.get(name).map_or(Ok(default), read)
    }

    /// The value of a field that must be present.
    pub(super) fn required(&self, name: &'static str, possible: &str) -> Result<Value<'a, '_>, DefinitionError> {
        self.get(name).ok_or_else(|| DefinitionError::Missing {
            line: line(self.text, self.start),
            place: self.place.clone(),
            field: name,
            possible: possible.to_owned(),
        })
    }

    /// The error of a field whose value is possible in itself.
    pub(super) fn conflict(&self, name: &'static str, problem: String) -> DefinitionError {
        let start = self.table.get(name).map_or(self.start, |value| value.span().start);
        DefinitionError::Conflict { line: line(self.text, start), place: self.place.clone(), problem }
    }
}

/// The value of a field, or an element of the value.
pub(super) struct Value<'a, 'f> {
    text: &'a str,
    place: &'f str,
    name: &'static str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a, 'f> Value<'a, 'f> {
    /// The error of an impossible value.
    pub(super) fn refused(&self, possible: &str) -> DefinitionError {
        DefinitionError::Value {
            line: self.line(),
            place: self.place.to_owned(),
            field: self.name.to_owned(),
            found: self.found(),
            possible: possible.to_owned(),
        }
    }

    /// The error of a value that is possible in itself.
    pub(super) fn conflict(&self, problem: String) -> DefinitionError {
        DefinitionError::Conflict { line: self.line(), place: self.place.to_owned(), problem }
    }

    /// The value as a text.
    pub(super) fn text(&self, possible: &str) -> Result<&'a str, DefinitionError> {
        self.value.get_ref().as_str().ok_or_else(|| self.refused(possible))
    }

    /// The value as a table, called `place` in messages.
    pub(super) fn table(&self, place: String, possible: &str) -> Result<TomlFields<'a>, DefinitionError> {
        let table = self.value.get_ref().as_table().ok_or_else(|| self.refused(possible))?;
        Ok(TomlFields::new(self.text, place, self.value.span().start, table))
    }

    /// The text of a field, if the value is a table that has it.
    pub(super) fn field_text(&self, name: &str) -> Option<&'a str> {
        self.value.get_ref().as_table()?.get(name)?.get_ref().as_str()
    }

    /// The elements of an array.
    pub(super) fn array(&self, possible: &str) -> Result<Vec<Value<'a, 'f>>, DefinitionError> {
        let values = self.value.get_ref().as_array().ok_or_else(|| self.refused(possible))?;
        let element = |value| Value { text: self.text, place: self.place, name: self.name, value };
        Ok(values.iter().map(element).collect())
    }

    /// A number from 1 to `max`.
    pub(super) fn count(&self, max: usize) -> Result<usize, DefinitionError> {
        let integer = self.value.get_ref().as_integer();
        integer
            .and_then(|integer| usize::from_str_radix(integer.as_str(), integer.radix()).ok())
            .filter(|count| (1..=max).contains(count))
            .ok_or_else(|| self.refused(&format!("a number from 1 to {max}")))
    }

    /// A duration within `range`, in µs.
    pub(super) fn duration_us(&self, range: RangeInclusive<i64>, possible: &str) -> Result<i64, DefinitionError> {
        let duration_us = parse_duration_us(self.text(possible)?);
        duration_us.filter(|duration_us| range.contains(duration_us)).ok_or_else(|| self.refused(possible))
    }

    /// The meaning of one of `choices`, by name. The names in `later` are planned.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)], later: &[&str]) -> Result<T, DefinitionError> {
        let possible = list(choices.iter().map(|(name, _)| *name), "or");
        let text = self.text(&possible)?;
        if later.contains(&text) {
            let what = format!("`{text}` for `{}`", self.name);
            return Err(DefinitionError::NotYet { line: self.line(), place: self.place.to_owned(), what });
        }
        let choice = choices.iter().find(|(name, _)| *name == text);
        choice.map(|(_, choice)| *choice).ok_or_else(|| self.refused(&possible))
    }

    /// The meanings of one or more of `choices`, each at most once, in the order of the file.
    pub(super) fn choices<T: Copy + PartialEq>(
        &self,
        choices: &[(&str, T)],
        later: &[&str],
    ) -> Result<Vec<T>, DefinitionError> {
        let possible = format!("a list of {}", list(choices.iter().map(|(name, _)| *name), "or"));
        let mut chosen = Vec::new();
        for value in self.array(&possible)? {
            let choice = value.choice(choices, later)?;
            if chosen.contains(&choice) {
                return Err(value.conflict(format!("`{}` has {} twice", self.name, value.found())));
            }
            chosen.push(choice);
        }
        if chosen.is_empty() { Err(self.refused(&possible)) } else { Ok(chosen) }
    }

    /// The value as written, for messages.
    fn found(&self) -> String {
        shortened(self.text.get(self.value.span()).unwrap_or_default())
    }

    fn line(&self) -> usize {
        line(self.text, self.value.span().start)
    }
}

/// The error of a text that is not TOML.
pub(super) fn syntax(text: &str, error: &toml::de::Error) -> DefinitionError {
    let start = error.span().map_or(text.len(), |span| span.start);
    DefinitionError::Syntax { line: line(text, start), message: error.message().to_owned() }
}

/// The inverse of [`parse_duration_us`], in the largest unit of which the duration is a multiple.
pub(super) fn duration_name(duration_us: i64) -> String {
    let unit = UNITS.iter().find(|(_, unit_us)| duration_us % unit_us == 0);
    unit.map_or_else(|| format!("{duration_us}us"), |(name, unit_us)| format!("{}{name}", duration_us / unit_us))
}

const UNITS: &[(&str, i64)] = &[("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000)];

/// A whole number and its unit: `1h`, `10m`, `90s`, `1500ms`.
fn parse_duration_us(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, unit_us) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<i64>().ok()?.checked_mul(*unit_us)
}

fn is_planned(field: &str) -> bool {
    FIELDS_LATER.contains(&field) || field.starts_with("dedup")
}

/// A list of names for a sentence.
fn list<'n>(names: impl Iterator<Item = &'n str>, conjunction: &str) -> String {
    let mut names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match (names.pop(), names.is_empty()) {
        (Some(last), false) => format!("{} {conjunction} {last}", names.join(", ")),
        (last, _) => last.unwrap_or_default(),
    }
}

/// The first line of a value, cut after [`FOUND_CHARS_MAX`].
fn shortened(found: &str) -> String {
    let first_line = found.lines().next().unwrap_or_default();
    let shown: String = first_line.chars().take(FOUND_CHARS_MAX).collect();
    if shown.len() < found.len() { shown + "…" } else { shown }
}

/// The line of a byte, from 1.
fn line(text: &str, start: usize) -> usize {
    1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count()
}
