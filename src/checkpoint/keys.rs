//! The keys of a checkpoint, numbered: tallies name them by number.

use std::collections::HashMap;

use anyhow::{Context, Result};
use reprise_dataflows::plan::Key;

/// Their file.
pub const FILE: &str = "keys.json";

/// Key ↔ number. Numbers are never given anew, so those of an earlier checkpoint stay what they were.
#[derive(Default)]
pub struct Keys {
    list: Vec<Key>,
    numbers: HashMap<Key, u32>,
    last: Option<(Key, u32)>,
}

impl Keys {
    pub fn new(list: Vec<Key>) -> Self {
        let numbers = list.iter().cloned().zip(0..).collect();
        Self { list, numbers, last: None }
    }

    pub fn list(&self) -> &[Key] {
        &self.list
    }

    /// The number of a key. Tallies come grouped by key, so the last one is the best guess.
    pub fn number(&mut self, key: Key) -> Result<u32> {
        if let Some((last, number)) = &self.last
            && *last == key
        {
            return Ok(*number);
        }
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.list.len()).context("the charts count by too many keys")?;
                self.list.push(key.clone());
                self.numbers.insert(key.clone(), number);
                number
            }
        };
        self.last = Some((key, number));
        Ok(number)
    }
}
