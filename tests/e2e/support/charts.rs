//! The chart definitions that the tests use: as `charts.toml`, and as the oracle's types.

use jiff::civil::Weekday;

use super::oracle::{Chart, Item, Period, Scope, all, completed, listened_30s};

/// The charts of a run without `--charts`.
pub fn default_charts() -> Vec<Chart> {
    let weekly = Chart {
        name: "weekly",
        period: Period::Week,
        zone: "UTC",
        week_starts: Weekday::Monday,
        scopes: &[Scope::Global, Scope::Country],
        item: Item::Track,
        eligible: completed,
        top: 100,
    };
    let trending = Period::Window { length_s: 600, slide_s: 60 };
    vec![
        Chart { name: "trending", period: trending, top: 50, ..weekly.clone() },
        Chart { name: "monthly", period: Period::Month, ..weekly.clone() },
        Chart { name: "all-time", period: Period::All, ..weekly.clone() },
        weekly,
    ]
}

/// A charts file with every kind of chart that is not among the defaults.
pub const CHARTS: &str = r#"
[trending]
window = "2h"
slide = "5m"
scopes = ["global", "device"]
item = "artist"
eligible = "all"
top = 7

[[chart]]
name = "daily"
period = "day"
zone = "Asia/Kolkata"
scopes = ["global", "country", "device"]
eligible = "30s"
top = 10

[[chart]]
name = "yearly"
period = "year"
zone = "America/New_York"
eligible = "all"
top = 1000

[[chart]]
name = "artists"
period = "week"
week_starts = "sunday"
scopes = ["device"]
item = "artist"
eligible = "30s"

[[chart]]
name = "ever"
period = "all"
scopes = ["global"]
item = "artist"
eligible = "all"
top = 1
"#;

/// [`CHARTS`] as the oracle's types.
pub fn charts() -> Vec<Chart> {
    let daily = Chart {
        name: "daily",
        period: Period::Day,
        zone: "Asia/Kolkata",
        week_starts: Weekday::Monday,
        scopes: &[Scope::Global, Scope::Country, Scope::Device],
        item: Item::Track,
        eligible: listened_30s,
        top: 10,
    };
    let yearly = Chart {
        name: "yearly",
        period: Period::Year,
        zone: "America/New_York",
        scopes: &[Scope::Global, Scope::Country],
        eligible: all,
        top: 1000,
        ..daily.clone()
    };
    let artists = Chart {
        name: "artists",
        period: Period::Week,
        zone: "UTC",
        week_starts: Weekday::Sunday,
        scopes: &[Scope::Device],
        item: Item::Artist,
        top: 100,
        ..daily.clone()
    };
    let ever =
        Chart { name: "ever", period: Period::All, scopes: &[Scope::Global], eligible: all, top: 1, ..artists.clone() };
    let trending = Chart {
        name: "trending",
        period: Period::Window { length_s: 7200, slide_s: 300 },
        scopes: &[Scope::Global, Scope::Device],
        eligible: all,
        top: 7,
        ..artists.clone()
    };
    vec![daily, yearly, artists, ever, trending]
}
