//! The definition of a chart: its period, scopes, items, measure, eligibility and length.
//!
//! These types define a chart for the live pipeline and for replays. [`super::charts_toml`] reads
//! them from a file.

#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::keys::dimension::Dimension;
use crate::keys::label::Label;
use crate::time::{Calendar, Period};

pub use crate::keys::item::ItemKind;

/// All charts of a run: the content of a `charts.toml`. The default has trending and the charts
/// `weekly`, `monthly` and `all-time`.
///
/// ```
/// use reprise_dataflows::rules::definition::{Definitions, TRENDING};
///
/// let definitions = Definitions::builtin();
/// let monthly = definitions.index_of("monthly").unwrap();
/// assert_eq!(definitions.top(monthly), 100);
/// // Trending has an index and a name too, but is not among the charts by period.
/// assert_eq!(definitions.name(TRENDING), "trending");
/// assert!(definitions.chart(TRENDING).is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definitions {
    /// The trending window. Every run has one.
    pub trending: Trending,
    /// The charts by period, in the order of the file. A [`Cell`] refers to a chart by its index.
    pub charts: Vec<Chart>,
}

impl Definitions {
    /// The chart at an index; `None` for [`TRENDING`], which is not a [`Chart`].
    pub fn chart(&self, chart: u32) -> Option<&Chart> {
        self.charts.get(chart as usize)
    }

    /// The length of a full list of the chart, or of [`TRENDING`]; 0 if there is no such chart.
    pub fn top(&self, chart: u32) -> usize {
        if chart == TRENDING { self.trending.top } else { self.chart(chart).map_or(0, |chart| chart.top) }
    }

    /// The name of the chart, or of [`TRENDING`]; empty if there is no such chart.
    pub fn name(&self, chart: u32) -> &str {
        if chart == TRENDING { TRENDING_NAME } else { self.chart(chart).map_or("", |chart| &chart.name) }
    }

    /// The index of the chart called `name`: the inverse of [`Definitions::name`].
    pub fn index_of(&self, name: &str) -> Option<u32> {
        if name == TRENDING_NAME {
            return Some(TRENDING);
        }
        self.charts.iter().position(|chart| chart.name == name).map(|index| index as u32)
    }
}

/// The chart of the recent plays, in a sliding window.
///
/// ```
/// use reprise_dataflows::rules::definition::Definitions;
/// use reprise_dataflows::time::{instant_name, parse_instant};
///
/// // The built-in window has ten minutes and moves by one: it ends with the minute of the clock.
/// let trending = Definitions::builtin().trending;
/// let (start_us, end_us) = trending.window(parse_instant("2026-11-20T14:41:40Z")?);
/// assert_eq!(instant_name(start_us), "2026-11-20T14:32:00Z");
/// assert_eq!(instant_name(end_us), "2026-11-20T14:42:00Z");
/// # Ok::<(), reprise_dataflows::time::Unreadable>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trending {
    /// The length of the window in µs.
    pub window_us: i64,
    /// The length of a pane in µs: the window moves by panes. It divides `window_us`.
    pub slide_us: i64,
    /// The scopes, each kind once: a list for each scope.
    pub scopes: Vec<ScopeKind>,
    /// The kind of items that are ranked.
    pub item: ItemKind,
    /// The quantity by which items are ranked.
    pub measure: Measure,
    /// The plays that count.
    pub eligible: Eligible,
    /// The length of a full list.
    pub top: usize,
    /// For how long before the window panes are kept for [`QueryKind::Window`], in µs. It does not
    /// change the window itself.
    ///
    /// [`QueryKind::Window`]: crate::query::QueryKind::Window
    pub history_us: i64,
}

impl Trending {
    /// The end of the window at a clock, in µs since 1970: the first multiple of the slide after
    /// the clock.
    pub fn end_us(&self, clock_us: i64) -> i64 {
        clock_us.div_euclid(self.slide_us).saturating_add(1).saturating_mul(self.slide_us)
    }

    /// The window at a clock: its first µs, and the µs after its last.
    pub fn window(&self, clock_us: i64) -> (i64, i64) {
        let end_us = self.end_us(clock_us);
        (end_us.saturating_sub(self.window_us), end_us)
    }
}

/// A chart by calendar period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Lower-case letters, digits and hyphens; unique; never `trending`.
    pub name: String,
    /// The length of time that a list covers.
    pub period: Period,
    /// The time zone of its days, and the first day of its weeks.
    pub calendar: Calendar,
    /// The scopes, each kind once: a list for each scope in each period.
    pub scopes: Vec<ScopeKind>,
    /// The kind of items that are ranked.
    pub item: ItemKind,
    /// The quantity by which items are ranked.
    pub measure: Measure,
    /// The plays that count.
    pub eligible: Eligible,
    /// The length of a full list.
    pub top: usize,
}

/// A kind of scope: all plays, or the plays with each value of a dimension.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeKind {
    /// One list, of all plays.
    Global,
    /// One list for each value of the dimension.
    By(Dimension),
}

impl ScopeKind {
    /// One list for each country.
    pub const COUNTRY: Self = Self::By(Dimension::COUNTRY);
    /// One list for each device.
    pub const DEVICE: Self = Self::By(Dimension::DEVICE);

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Global).chain(Dimension::all().map(Self::By))
    }

    /// The name in `charts.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => GLOBAL,
            Self::By(dimension) => dimension.name(),
        }
    }

    /// Examples of its scopes, for messages.
    pub fn examples(self) -> &'static str {
        match self {
            Self::Global => "`global`",
            Self::By(dimension) => dimension.examples(),
        }
    }
}

impl fmt::Debug for ScopeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A kind is serialized by its name.
impl Serialize for ScopeKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ScopeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let kind = Self::all().find(|kind| kind.name() == name);
        kind.ok_or_else(|| D::Error::custom(format!("`{name}` is not a kind of scope")))
    }
}

/// A quantity by which items are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// The number of eligible plays.
    Plays,
    /// The number of users with an eligible play in the cell. Only for charts by period. A play
    /// without a user does not count. The state grows with the users of each item and cell, and a
    /// checkpoint does not hold it; so `charts.toml` does not offer the measure yet.
    Listeners,
}

/// The plays that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Eligible {
    /// All plays.
    All,
    /// Completed plays.
    Completed,
    /// Plays that were listened to for at least this long, in ms. If an event does not say how
    /// long, the play counts if it is completed and 70 % of the track's duration are at least this
    /// long: a play is completed after 70 % of the track.
    ListenedMs(i32),
}

impl Eligible {
    /// Whether a play counts, given its columns of these names. `listened_ms` is `None` if the
    /// event does not say it.
    ///
    /// ```
    /// use reprise_dataflows::rules::definition::Eligible;
    ///
    /// let half_minute = Eligible::ListenedMs(30_000);
    /// assert!(half_minute.counts(false, 180_000, Some(31_000)));
    /// // Without a listening time, a completed play stands for 70 % of the track.
    /// assert!(half_minute.counts(true, 43_000, None));
    /// assert!(!half_minute.counts(true, 42_000, None));
    /// ```
    #[inline]
    pub fn counts(self, completed: bool, duration_ms: i32, listened_ms: Option<i32>) -> bool {
        match (self, listened_ms) {
            (Self::All, _) => true,
            (Self::Completed, _) => completed,
            (Self::ListenedMs(least_ms), Some(listened_ms)) => listened_ms >= least_ms,
            (Self::ListenedMs(least_ms), None) => completed && i64::from(duration_ms) * 7 >= i64::from(least_ms) * 10,
        }
    }
}

/// The plays that a cell counts: all, or those with a label.
///
/// ```
/// use reprise_dataflows::rules::definition::{Scope, ScopeKind};
///
/// let portugal = Scope::parse("PT")?;
/// assert_eq!(portugal, Scope::country("PT"));
/// assert_eq!(portugal.kind(), ScopeKind::COUNTRY);
/// assert_eq!(Scope::parse("device:mobile")?, Scope::device("mobile"));
/// // A country called `global` needs its prefix.
/// assert_eq!(Scope::country("global").name(), "country:global");
///
/// assert!(Scope::parse("planet:Mars").is_err());
/// # Ok::<(), reprise_dataflows::rules::definition::UnknownScope>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// All plays.
    Global,
    /// The plays with this label in this dimension.
    Of(Dimension, Label),
}

/// Hashes the number of the kind, then the label. Must not change: the digests of charts depend on
/// it.
impl Hash for Scope {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Global => state.write_isize(0),
            Self::Of(dimension, label) => {
                state.write_isize(1 + dimension.index() as isize);
                label.hash(state);
            }
        }
    }
}

/// A text that names no scope; it holds the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a scope: write `global`, a country such as `US`, or a device such as `device:mobile`")]
pub struct UnknownScope(pub String);

const GLOBAL: &str = "global";

impl Scope {
    /// The plays from `country`.
    pub fn country(country: &str) -> Self {
        Self::Of(Dimension::COUNTRY, Label::new(country))
    }

    /// The plays on `device`.
    pub fn device(device: &str) -> Self {
        Self::Of(Dimension::DEVICE, Label::new(device))
    }

    /// The name of the scope: `global`, `US`, `device:mobile`. A country whose bare name is
    /// ambiguous is written with its prefix, `country:…`: two scopes never share a name.
    pub fn name(&self) -> String {
        self.to_string()
    }

    /// The kind of the scope.
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::Global => ScopeKind::Global,
            Self::Of(dimension, _) => ScopeKind::By(*dimension),
        }
    }

    /// The smallest scope of a kind, in the order of scopes.
    pub fn first(kind: ScopeKind) -> Self {
        match kind {
            ScopeKind::Global => Self::Global,
            ScopeKind::By(dimension) => Self::Of(dimension, Label::default()),
        }
    }

    /// The inverse of [`Scope::name`]. Any country may be written with its prefix.
    ///
    /// # Errors
    /// If `text` is empty or has a prefix that is not the name of a dimension.
    pub fn parse(text: &str) -> Result<Self, UnknownScope> {
        if text == GLOBAL {
            return Ok(Self::Global);
        }
        let prefixed = text.split_once(':').and_then(|(name, value)| Some((Dimension::named(name)?, value)));
        let bare = || Some((Dimension::bare()?, text)).filter(|_| is_bare_value(text));
        let (dimension, value) = prefixed.or_else(bare).ok_or_else(|| UnknownScope(text.to_owned()))?;
        Ok(Self::Of(dimension, Label::new(value)))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str(GLOBAL),
            Self::Of(dimension, value) if dimension.is_bare() && is_bare_value(value.as_str()) => {
                f.write_str(value.as_str())
            }
            Self::Of(dimension, value) => write!(f, "{}:{}", dimension.name(), value.as_str()),
        }
    }
}

/// Whether `text` without a prefix can only be a value of the bare dimension.
fn is_bare_value(text: &str) -> bool {
    !text.is_empty() && text != GLOBAL && !text.contains(':')
}

/// The [`Cell::chart`] of the trending window.
pub const TRENDING: u32 = u32::MAX;
/// The name of the trending window among the charts.
pub const TRENDING_NAME: &str = "trending";

/// One list of a chart: a period and a scope.
///
/// ```
/// use reprise_dataflows::rules::definition::{Cell, Definitions, Scope};
/// use reprise_dataflows::time::Period;
///
/// // The weekly chart of the United States, for the week of 2026-11-20.
/// let definitions = Definitions::builtin();
/// let chart = definitions.index_of("weekly").unwrap();
/// let week_starts = definitions.charts[chart as usize].calendar.week_starts;
/// let start_day = Period::Week.parse("2026-W47", week_starts)?;
/// let cell = Cell { chart, start_day, scope: Scope::country("US") };
/// assert_eq!(cell.start_day, 20_773);
/// # Ok::<(), reprise_dataflows::time::Unreadable>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// The index in [`Definitions::charts`], or [`TRENDING`].
    pub chart: u32,
    /// The first day of the period in the chart's calendar, in days since 1970; 0 for all time and
    /// for trending.
    pub start_day: i32,
    /// The plays that are counted.
    pub scope: Scope,
}
