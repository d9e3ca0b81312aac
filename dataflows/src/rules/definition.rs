//! What a chart is: its period, scopes, item, measure, eligibility and depth.
//!
//! These types are the one meaning of a chart, for live and replay alike. `charts_toml.rs` makes them from a file.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::keys::dimension::Dimension;
use crate::keys::label::Label;
use crate::time::{Calendar, Period};

pub use crate::keys::item::ItemKind;

/// Everything that `charts.toml` says. The built-in default is trending, weekly, monthly and all-time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definitions {
    pub trending: Trending,
    /// In the order of the file; a [`Cell`] names one by its index.
    pub charts: Vec<Chart>,
}

impl Definitions {
    /// The chart at an index; `None` for [`TRENDING`], which is not a [`Chart`].
    pub fn chart(&self, chart: u32) -> Option<&Chart> {
        self.charts.get(chart as usize)
    }

    /// How many entries a list of the chart, or of [`TRENDING`], has at most; 0 if there is no such chart.
    pub fn top(&self, chart: u32) -> usize {
        if chart == TRENDING { self.trending.top } else { self.chart(chart).map_or(0, |chart| chart.top) }
    }

    /// The name of the chart, or of [`TRENDING`]; empty if there is no such chart.
    pub fn name(&self, chart: u32) -> &str {
        if chart == TRENDING { TRENDING_NAME } else { self.chart(chart).map_or("", |chart| &chart.name) }
    }

    /// The inverse of [`Definitions::name`].
    pub fn index_of(&self, name: &str) -> Option<u32> {
        if name == TRENDING_NAME {
            return Some(TRENDING);
        }
        self.charts.iter().position(|chart| chart.name == name).map(|index| index as u32)
    }
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
    /// For how long plays that have left the window can still be asked for. It is of no account to the window itself.
    pub history_us: i64,
}

impl Trending {
    /// The end of the window at a clock: the first boundary of a slide after it.
    pub fn end_us(&self, clock_us: i64) -> i64 {
        clock_us.div_euclid(self.slide_us).saturating_add(1).saturating_mul(self.slide_us)
    }

    /// The window at a clock, from its first µs to before its end.
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
    pub period: Period,
    pub calendar: Calendar,
    pub scopes: Vec<ScopeKind>,
    pub item: ItemKind,
    pub measure: Measure,
    pub eligible: Eligible,
    pub top: usize,
}

/// What a chart's lists are of: everybody, or each value of a dimension.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeKind {
    Global,
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

    /// What it is called in `charts.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => GLOBAL,
            Self::By(dimension) => dimension.name(),
        }
    }

    /// Some of its scopes, for messages.
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

/// By its name.
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

impl Eligible {
    /// Whether a play counts, given its `completed`, `duration_ms` and, if it says so, `listened_ms`.
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

/// The part of the audience that a cell counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    Global,
    /// Those whose plays have this label.
    Of(Dimension, Label),
}

/// The number of the kind, then the label: digests of charts rest on it, so it must not change.
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

/// A text that names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a scope: write `global`, a country such as `US`, or a device such as `device:mobile`")]
pub struct UnknownScope(pub String);

const GLOBAL: &str = "global";

impl Scope {
    /// Of the plays from `country`.
    pub fn country(country: &str) -> Self {
        Self::Of(Dimension::COUNTRY, Label::new(country))
    }

    /// Of the plays on `device`.
    pub fn device(device: &str) -> Self {
        Self::Of(Dimension::DEVICE, Label::new(device))
    }

    /// The scope as people write it: `global`, `US`, `device:mobile`. A country that could be taken for something else
    /// is written `country:…`, so that two scopes never share a name.
    pub fn name(&self) -> String {
        self.to_string()
    }

    /// The kind of list that it is asked of.
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::Global => ScopeKind::Global,
            Self::Of(dimension, _) => ScopeKind::By(*dimension),
        }
    }

    /// The least scope of a kind, in the order of scopes.
    pub fn first(kind: ScopeKind) -> Self {
        match kind {
            ScopeKind::Global => Self::Global,
            ScopeKind::By(dimension) => Self::Of(dimension, Label::default()),
        }
    }

    /// The inverse of [`Scope::name`]. Every country may be written with `country:`.
    ///
    /// # Errors
    /// If it is no scope: it has another prefix than that of a dimension.
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

/// Whether `text` without a prefix can be taken for nothing else.
fn is_bare_value(text: &str) -> bool {
    !text.is_empty() && text != GLOBAL && !text.contains(':')
}

/// The [`Cell::chart`] of the trending window.
pub const TRENDING: u32 = u32::MAX;
/// The name of the trending window among the charts.
pub const TRENDING_NAME: &str = "trending";

/// One list of a chart: a period of it, for a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// Index into [`Definitions::charts`], or [`TRENDING`].
    pub chart: u32,
    /// First day of the period in the chart's calendar, in days since 1970; 0 for all time and for trending.
    pub start_day: i32,
    pub scope: Scope,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scopes() -> impl Strategy<Value = Scope> {
        let text = prop_oneof!["(device|country|global)?:?[A-Z:]{0,3}", any::<String>()];
        (prop::sample::select(ScopeKind::all().collect::<Vec<_>>()), text).prop_map(|(kind, text)| match kind {
            ScopeKind::Global => Scope::Global,
            ScopeKind::By(dimension) => Scope::Of(dimension, Label::new(&text)),
        })
    }

    proptest! {
        #[test]
        fn a_scope_is_read_back_from_its_name(scope in scopes()) {
            prop_assert_eq!(Scope::parse(&scope.name()), Ok(scope));
        }

        #[test]
        fn two_scopes_never_share_a_name(a in scopes(), b in scopes()) {
            prop_assert_eq!(a.name() == b.name(), a == b);
        }

        /// A whole number is at most seven tenths of the duration just if it is at most their floor.
        #[test]
        fn heard_long_enough(
            completed: bool,
            least_ms in 1..=i32::MAX,
            near_ms in -3..=3i64,
            listened_ms in prop::option::of(0..=i32::MAX),
        ) {
            let duration_ms = (i64::from(least_ms) * 10 / 7 + near_ms).clamp(0, i32::MAX.into()) as i32;
            let expected = match listened_ms {
                Some(listened_ms) => listened_ms >= least_ms,
                None => completed && i64::from(duration_ms) * 7 / 10 >= i64::from(least_ms),
            };
            prop_assert_eq!(Eligible::ListenedMs(least_ms).counts(completed, duration_ms, listened_ms), expected);
            prop_assert_eq!(Eligible::Completed.counts(completed, duration_ms, listened_ms), completed);
            prop_assert!(Eligible::All.counts(completed, duration_ms, listened_ms));
        }

        #[test]
        fn the_window_holds_the_clock_and_ends_on_a_slide(
            clock_us in -1i64 << 55..1 << 55,
            slide_s in 1..3600i64,
            panes in 1..24i64,
        ) {
            let slide_us = slide_s * 1_000_000;
            let trending = Trending { slide_us, window_us: slide_us * panes, ..Definitions::builtin().trending };
            let (start_us, end_us) = trending.window(clock_us);
            prop_assert_eq!(end_us, trending.end_us(clock_us));
            prop_assert_eq!((end_us % slide_us, end_us - start_us), (0, trending.window_us));
            prop_assert!(end_us - slide_us <= clock_us && clock_us < end_us);
        }
    }

    #[test]
    fn scopes_that_people_write() {
        assert_eq!(Scope::parse("US"), Ok(Scope::country("US")));
        assert_eq!(Scope::parse("country:US"), Ok(Scope::country("US")));
        assert_eq!(Scope::parse("device:mobile"), Ok(Scope::device("mobile")));
        assert_eq!(Scope::country("global").name(), "country:global");
        assert_eq!(Scope::country("").name(), "country:");
        assert_eq!(
            Scope::parse("town:Lisbon").unwrap_err().to_string(),
            "`town:Lisbon` is not a scope: write `global`, a country such as `US`, or a device such as `device:mobile`"
        );
        assert!(Scope::parse("").is_err());
    }

    #[test]
    fn charts_by_index_and_by_name() {
        let definitions = Definitions::default();
        for (index, name, top) in [(0, "weekly", 100), (2, "all-time", 100), (TRENDING, "trending", 50)] {
            assert_eq!((definitions.name(index), definitions.top(index)), (name, top));
            assert_eq!(definitions.index_of(name), Some(index));
            assert_eq!(definitions.chart(index).is_none(), index == TRENDING);
        }
        assert_eq!((definitions.name(3), definitions.top(3), definitions.index_of("daily")), ("", 0, None));
    }

    /// The sums saturate instead of wrapping.
    #[test]
    fn the_last_clock_has_a_window() {
        let trending = Definitions::builtin().trending;
        assert_eq!(trending.end_us(i64::MAX), i64::MAX);
        assert_eq!(trending.end_us(0), 60_000_000);
    }
}
