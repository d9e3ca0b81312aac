//! The keys of a checkpoint, numbered: tallies name them by number.

use anyhow::{Context, Result};
use reprise_dataflows::key_numbers::KeyNumbers;
use reprise_dataflows::plan::Key;

/// Their file.
pub const FILE: &str = "keys.json";

/// Key ↔ number. Numbers are never given anew, so those of an earlier checkpoint stay what they were.
pub struct Keys {
    list: Vec<Key>,
    numbers: KeyNumbers<Key>,
}

impl Keys {
    pub fn new(list: Vec<Key>) -> Self {
        let numbers = list.iter().cloned().collect();
        Self { list, numbers }
    }

    pub fn list(&self) -> &[Key] {
        &self.list
    }

    pub fn number(&mut self, key: Key) -> Result<u32> {
        let (number, is_new) = self.numbers.number(&key);
        if is_new {
            self.list.push(key);
        }
        u32::try_from(number).context("the charts count by too many keys")
    }
}
