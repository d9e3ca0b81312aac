//! Reads `charts.toml`, in which a user defines the charts.
//!
//! A wrong definition may count the wrong plays for weeks. The reader therefore walks the document
//! by hand, not through `serde`: it ignores nothing, and each error names the line, the chart, the
//! field, the value and what is possible. Fields that are planned for later versions have an error
//! of their own; they would otherwise look like spelling mistakes.
//!
//! ```
//! use reprise_dataflows::rules::charts_toml::DefinitionError;
//! use reprise_dataflows::rules::definition::Definitions;
//!
//! let definitions = Definitions::parse(
//!     "[[chart]]
//!     name = 'artists-tokyo'
//!     period = 'day'
//!     zone = 'Asia/Tokyo'
//!     item = 'artist'",
//! )?;
//! // The file has a chart, so those of the default are not there. Fields are as in the default.
//! let chart = &definitions.charts[0];
//! assert_eq!(definitions.charts.len(), 1);
//! assert_eq!((chart.name.as_str(), chart.top), ("artists-tokyo", 100));
//! assert_eq!(definitions.trending.top, 50);
//!
//! // A field that does nothing yet is refused, but not as a mistake.
//! let planned = Definitions::parse("[trending]\nmovement = true").unwrap_err();
//! assert!(matches!(planned, DefinitionError::NotYet { line: 2, .. }));
//! # Ok::<(), DefinitionError>(())
//! ```

mod error;
mod fields;
#[cfg(test)]
mod tests;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use toml::de::DeTable;

use super::definition::{Chart, Definitions, Eligible, ItemKind, Measure, ScopeKind, TRENDING_NAME, Trending};
use crate::time::{Calendar, Period};
pub use error::{DefinitionError, FILE_BYTES_MAX};
use fields::{TomlFields, Value, duration_name};

/// The charts of a run without a `charts.toml`, as such a file.
pub const DEFAULT_TOML: &str = r#"[trending]
window = "10m"
slide = "1m"                       # the window moves by this much
scopes = ["global", "country"]     # device, city
item = "track"                     # or artist, album
measure = "plays"
eligible = "completed"             # or all, or a minimum listening time: "30s"
top = 50

[[chart]]
name = "weekly"
period = "week"                    # day, week, month, year, all
zone = "UTC"                       # days end at its midnight; or a name such as Europe/Lisbon
week_starts = "monday"
scopes = ["global", "country"]
item = "track"
measure = "plays"
eligible = "completed"
top = 100

# What a chart leaves out is as above.

[[chart]]
name = "monthly"
period = "month"

[[chart]]
name = "all-time"
period = "all"
"#;

/// The most charts of a file.
pub const CHARTS_MAX: usize = 64;
/// The longest list of a chart.
pub const TOP_MAX: usize = 1000;
/// The most panes of the trending window.
pub const PANES_MAX: i64 = 1440;

/// The longest trending window.
const WINDOW_MAX_US: i64 = 24 * 3_600_000_000;
/// The shortest slide of the trending window.
const SLIDE_MIN_US: i64 = 1_000_000;
/// The longest listening time that a chart can require: its ms fit an `i32`.
const LISTENED_MAX_US: i64 = i32::MAX as i64 * 1000;

const PERIODS: &[(&str, Period)] = &[
    ("day", Period::Day),
    ("week", Period::Week),
    ("month", Period::Month),
    ("year", Period::Year),
    ("all", Period::All),
];
const MEASURES: &[(&str, Measure)] = &[("plays", Measure::Plays)];
const MEASURES_LATER: &[&str] = &["listeners", "minutes"];
const WEEKDAYS: &[(&str, Weekday)] = &[
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

/// The form of a name, for messages.
const CHART_NAME: &str = "1 to 64 of the lower-case letters a to z, digits and hyphens";

impl Definitions {
    /// Reads a `charts.toml`. A table or field that is absent is as in the built-in default.
    ///
    /// # Errors
    /// If `text` is not TOML, or has a field or value that is not possible: see
    /// [`DefinitionError`].
    ///
    /// ```
    /// use reprise_dataflows::rules::definition::Definitions;
    ///
    /// assert_eq!(Definitions::parse("")?, Definitions::builtin());
    /// // An empty list is not absent: a run with trending only.
    /// assert!(Definitions::parse("chart = []")?.charts.is_empty());
    /// # Ok::<(), reprise_dataflows::rules::charts_toml::DefinitionError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, DefinitionError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(DefinitionError::TooLarge { size_bytes: text.len() });
        }
        let document = DeTable::parse(text).map_err(|error| fields::syntax(text, &error))?;
        let file = TomlFields::new(text, "the file".to_owned(), 0, document.get_ref());
        file.refuse_others(&["trending", "chart"])?;
        Ok(Self {
            trending: match file.get("trending") {
                Some(table) => trending(&table.table("[trending]".to_owned(), "a table, `[trending]`")?)?,
                None => trending_default(),
            },
            charts: match file.get("chart") {
                Some(array) => charts(&array)?,
                None => Self::builtin().charts,
            },
        })
    }

    /// The definitions of [`DEFAULT_TOML`].
    #[expect(clippy::expect_used, reason = "a constant that a test reads")]
    pub fn builtin() -> Self {
        Self::parse(DEFAULT_TOML).expect("DEFAULT_TOML is a constant, and a test reads it")
    }
}

impl Default for Definitions {
    fn default() -> Self {
        Self::builtin()
    }
}

fn trending_default() -> Trending {
    Trending {
        window_us: 600_000_000,
        slide_us: 60_000_000,
        scopes: scopes_default(),
        item: ItemKind::TRACK,
        measure: Measure::Plays,
        eligible: Eligible::Completed,
        top: 50,
        history_us: 0,
    }
}

fn scope_kinds() -> Vec<(&'static str, ScopeKind)> {
    ScopeKind::all().map(|kind| (kind.name(), kind)).collect()
}

fn item_kinds() -> Vec<(&'static str, ItemKind)> {
    ItemKind::all().map(|kind| (kind.name(), kind)).collect()
}

fn scopes_default() -> Vec<ScopeKind> {
    vec![ScopeKind::Global, ScopeKind::COUNTRY]
}

fn trending(fields: &TomlFields<'_>) -> Result<Trending, DefinitionError> {
    fields.refuse_others(&["window", "slide", "scopes", "item", "measure", "eligible", "top"])?;
    let default = trending_default();
    let trending = Trending {
        window_us: fields.or("window", default.window_us, |value| {
            value.duration_us(SLIDE_MIN_US..=WINDOW_MAX_US, "a time from `1s` to `24h`")
        })?,
        slide_us: fields.or("slide", default.slide_us, |value| {
            value.duration_us(SLIDE_MIN_US..=WINDOW_MAX_US, "a time from `1s` to the length of the window")
        })?,
        scopes: fields.or("scopes", default.scopes, |value| value.choices(&scope_kinds(), &[]))?,
        item: fields.or("item", default.item, |value| value.choice(&item_kinds(), &[]))?,
        measure: fields.or("measure", default.measure, |value| value.choice(MEASURES, MEASURES_LATER))?,
        eligible: fields.or("eligible", default.eligible, |value| eligible(&value))?,
        top: fields.or("top", default.top, |value| value.count(TOP_MAX))?,
        history_us: default.history_us,
    };
    check_panes(fields, &trending)?;
    Ok(trending)
}

/// The window must be a multiple of the slide, and at most [`PANES_MAX`] slides.
fn check_panes(fields: &TomlFields<'_>, trending: &Trending) -> Result<(), DefinitionError> {
    let (window_us, slide_us) = (trending.window_us, trending.slide_us);
    let required = if window_us % slide_us != 0 {
        "a multiple of `slide`".to_owned()
    } else if window_us / slide_us > PANES_MAX {
        format!("at most {PANES_MAX} times `slide`")
    } else {
        return Ok(());
    };
    let (window, slide) = (duration_name(window_us), duration_name(slide_us));
    // The error names the field that is written; the other may be the default.
    let field = if fields.get("window").is_some() { "window" } else { "slide" };
    Err(fields.conflict(field, format!("`window` is {window}, but must be {required}, which is {slide}")))
}

fn charts(array: &Value<'_, '_>) -> Result<Vec<Chart>, DefinitionError> {
    let tables = array.array("a list of tables, each under its own `[[chart]]`")?;
    if tables.len() > CHARTS_MAX {
        return Err(array.conflict(format!("there are {} charts, and at most {CHARTS_MAX} are possible", tables.len())));
    }
    let mut charts: Vec<Chart> = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        let fields = table.table(chart_place(index, table), "a table under `[[chart]]`")?;
        let chart = chart(&fields)?;
        if charts.iter().any(|other| other.name == chart.name) {
            return Err(fields.conflict("name", "two charts have this `name`".to_owned()));
        }
        charts.push(chart);
    }
    Ok(charts)
}

/// The name of a chart in messages: its name if that is valid, else its number from 1.
fn chart_place(index: usize, table: &Value<'_, '_>) -> String {
    match table.field_text("name").filter(|name| is_chart_name(name)) {
        Some(name) => format!("chart `{name}`"),
        None => format!("chart {}", index + 1),
    }
}

fn chart(fields: &TomlFields<'_>) -> Result<Chart, DefinitionError> {
    fields.refuse_others(&["name", "period", "zone", "week_starts", "scopes", "item", "measure", "eligible", "top"])?;
    let name = fields.required("name", CHART_NAME)?;
    let period = fields.required("period", "`day`, `week`, `month`, `year` or `all`")?.choice(PERIODS, &[])?;
    if fields.get("week_starts").is_some() && period != Period::Week {
        return Err(fields.conflict("week_starts", "`week_starts` is only for the period `week`".to_owned()));
    }
    Ok(Chart {
        name: chart_name(&name)?,
        period,
        calendar: Calendar {
            zone: fields.or("zone", None, |value| zone(&value))?,
            week_starts: fields.or("week_starts", Weekday::Monday, |value| value.choice(WEEKDAYS, &[]))?,
        },
        scopes: fields.or("scopes", scopes_default(), |value| value.choices(&scope_kinds(), &[]))?,
        item: fields.or("item", ItemKind::TRACK, |value| value.choice(&item_kinds(), &[]))?,
        measure: fields.or("measure", Measure::Plays, |value| value.choice(MEASURES, MEASURES_LATER))?,
        eligible: fields.or("eligible", Eligible::Completed, |value| eligible(&value))?,
        top: fields.or("top", 100, |value| value.count(TOP_MAX))?,
    })
}

fn chart_name(value: &Value<'_, '_>) -> Result<String, DefinitionError> {
    let name = value.text(CHART_NAME)?;
    if name == TRENDING_NAME {
        return Err(value.refused("another name, because the window of `[trending]` has this one"));
    }
    if is_chart_name(name) { Ok(name.to_owned()) } else { Err(value.refused(CHART_NAME)) }
}

fn is_chart_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// `None` for UTC, as for an absent zone: the days of the lake's partitions then serve the chart.
fn zone(value: &Value<'_, '_>) -> Result<Option<TimeZone>, DefinitionError> {
    let possible = "a time zone of the IANA database, such as `Europe/Lisbon`";
    let zone = crate::time::zone(value.text(possible)?).ok_or_else(|| value.refused(possible))?;
    Ok(Some(zone).filter(|zone| *zone != TimeZone::UTC))
}

fn eligible(value: &Value<'_, '_>) -> Result<Eligible, DefinitionError> {
    let possible = "`completed`, `all`, or a minimum listening time such as `30s`";
    match value.text(possible)? {
        "completed" => Ok(Eligible::Completed),
        "all" => Ok(Eligible::All),
        _ => {
            let listened_us = value.duration_us(1000..=LISTENED_MAX_US, possible)?;
            Ok(Eligible::ListenedMs((listened_us / 1000) as i32))
        }
    }
}
