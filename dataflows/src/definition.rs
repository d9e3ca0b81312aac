//! What a chart is: its period, scopes, item, measure, eligibility and depth, and the `charts.toml` that says so.

use serde::{Deserialize, Serialize};

use crate::calendar::{Calendar, Period};
use crate::label::Label;

/// Everything that `charts.toml` says. The built-in default is trending, weekly, monthly and all-time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definitions {
    pub trending: Trending,
    /// In the order of the file; a [`Cell`] names one by its index.
    pub charts: Vec<Chart>,
}

/// The sliding window of what is played now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trending {
    pub window_us: i64,
    /// Divides `window_us`.
    pub slide_us: i64,
    pub scopes: Vec<ScopeKind>,
    pub item: ItemKind,
    pub measure: Measure,
    pub eligible: Eligible,
    pub top: usize,
}

/// A chart by calendar period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Lower-case letters, digits and hyphens; unique; never `trending`.
    pub name: String,
    pub period: Period,
    pub calendar: Calendar,
    pub scopes: Vec<ScopeKind>,
    pub item: ItemKind,
    pub measure: Measure,
    pub eligible: Eligible,
    pub top: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    Global,
    Country,
    Device,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    Track,
    Artist,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    Plays,
}

/// Which plays count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Eligible {
    All,
    Completed,
    /// Heard for at least so many ms. A play that does not say how long it was heard counts if it is completed and
    /// seven tenths of its duration, which is what completed means, are as long.
    ListenedMs(i32),
}

/// The part of the audience that a cell counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    Global,
    Country(Label),
    Device(Label),
}

/// The [`Cell::chart`] of the trending window.
pub const TRENDING: u32 = u32::MAX;

/// One list of a chart: a period of it, for a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// Index into [`Definitions::charts`], or [`TRENDING`].
    pub chart: u32,
    /// First day of the period in the chart's calendar, in days since 1970; 0 for all time and for trending.
    pub start_day: i32,
    pub scope: Scope,
}
