//! What a chart is: its period, scopes, item, measure, eligibility and depth.
//!
//! These types are the one meaning of a chart, for live and replay alike. `charts_toml.rs` makes them from a file.

use std::fmt;

use serde::{Deserialize, Serialize};

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    Global,
    Country,
    Device,
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    Global,
    Country(Label),
    Device(Label),
}

/// A text that names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a scope: write `global`, a country such as `US`, or a device such as `device:mobile`")]
pub struct UnknownScope(pub String);

const GLOBAL: &str = "global";
const COUNTRY_PREFIX: &str = "country:";
const DEVICE_PREFIX: &str = "device:";

impl Scope {
    /// The scope as people write it: `global`, `US`, `device:mobile`. A country that could be taken for something else
    /// is written `country:…`, so that two scopes never share a name.
    pub fn name(&self) -> String {
        self.to_string()
    }

    /// The kind of list that it is asked of.
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::Global => ScopeKind::Global,
            Self::Country(_) => ScopeKind::Country,
            Self::Device(_) => ScopeKind::Device,
        }
    }

    /// The inverse of [`Scope::name`]. Every country may be written with `country:`.
    pub fn parse(text: &str) -> Result<Self, UnknownScope> {
        if text == GLOBAL {
            Ok(Self::Global)
        } else if let Some(device) = text.strip_prefix(DEVICE_PREFIX) {
            Ok(Self::Device(Label::new(device)))
        } else if let Some(country) = text.strip_prefix(COUNTRY_PREFIX) {
            Ok(Self::Country(Label::new(country)))
        } else if is_plain_country(text) {
            Ok(Self::Country(Label::new(text)))
        } else {
            Err(UnknownScope(text.to_owned()))
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str(GLOBAL),
            Self::Country(country) if is_plain_country(country.as_str()) => f.write_str(country.as_str()),
            Self::Country(country) => write!(f, "{COUNTRY_PREFIX}{}", country.as_str()),
            Self::Device(device) => write!(f, "{DEVICE_PREFIX}{}", device.as_str()),
        }
    }
}

fn is_plain_country(text: &str) -> bool {
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
        (0..3, text).prop_map(|(kind, text)| match kind {
            0 => Scope::Global,
            1 => Scope::Country(Label::new(&text)),
            _ => Scope::Device(Label::new(&text)),
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
        let us = || Label::new("US");
        assert_eq!(Scope::parse("US"), Ok(Scope::Country(us())));
        assert_eq!(Scope::parse("country:US"), Ok(Scope::Country(us())));
        assert_eq!(Scope::parse("device:mobile"), Ok(Scope::Device(Label::new("mobile"))));
        assert_eq!(Scope::Country(Label::new("global")).name(), "country:global");
        assert_eq!(Scope::Country(Label::default()).name(), "country:");
        assert_eq!(
            Scope::parse("city:Lisbon").unwrap_err().to_string(),
            "`city:Lisbon` is not a scope: write `global`, a country such as `US`, or a device such as `device:mobile`"
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
