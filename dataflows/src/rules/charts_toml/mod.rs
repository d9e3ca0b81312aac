//! Reads `charts.toml`, where a user says which charts there are.
//!
//! It walks the parsed document by hand rather than through `serde`, because a wrong definition counts the wrong plays
//! for weeks: every refusal names the line, the chart, the field, what was found and what is possible, and nothing that
//! is written is ignored. What later versions will read is refused as such, so that nobody takes it for a mistake in
//! spelling.

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

/// The charts of a run without a `charts.toml`, in its own words.
pub const DEFAULT_TOML: &str = r#"[trending]
window = "10m"
slide = "1m"                       # the window moves on so far at a time
scopes = ["global", "country"]     # device, city
item = "track"                     # or artist, album
measure = "plays"
eligible = "completed"             # or all, or for how long a play is heard at least: "30s"
top = 50

[[chart]]
name = "weekly"
period = "week"                    # day, week, month, year, all
zone = "UTC"                       # or a name such as Europe/Lisbon: whose midnight ends a day
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

/// Charts that it may define.
pub const CHARTS_MAX: usize = 64;
/// Entries that a list may have.
pub const TOP_MAX: usize = 1000;
/// How many slides long the trending window may be.
pub const PANES_MAX: i64 = 1440;

/// The longest trending window.
const WINDOW_MAX_US: i64 = 24 * 3_600_000_000;
/// The shortest slide of the trending window.
const SLIDE_MIN_US: i64 = 1_000_000;
/// The longest time heard that a chart can ask for: what fits the ms of a play.
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

/// What a name is, as messages say it.
const CHART_NAME: &str = "1 to 64 of the lower-case letters a to z, digits and hyphens";

impl Definitions {
    /// Reads a `charts.toml`. What it leaves out is as in the built-in default.
    ///
    /// # Errors
    /// If it is not one; the error names the line, the chart and what is possible there.
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

/// The window must be whole panes of one slide each, and not too many of them.
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
    // Whichever of the two is written is where to look; the other may be the default.
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

/// How messages name a chart: by its name if it has a proper one, and by its number from 1.
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

/// UTC is `None`, like an absent zone, because then the sources need no day of their own for the chart.
fn zone(value: &Value<'_, '_>) -> Result<Option<TimeZone>, DefinitionError> {
    let possible = "a time zone of the IANA database, such as `Europe/Lisbon`";
    let zone = crate::time::zone(value.text(possible)?).ok_or_else(|| value.refused(possible))?;
    Ok(Some(zone).filter(|zone| *zone != TimeZone::UTC))
}

fn eligible(value: &Value<'_, '_>) -> Result<Eligible, DefinitionError> {
    let possible = "`completed`, `all`, or for how long a play is heard at least, such as `30s`";
    match value.text(possible)? {
        "completed" => Ok(Eligible::Completed),
        "all" => Ok(Eligible::All),
        _ => {
            let listened_us = value.duration_us(1000..=LISTENED_MAX_US, possible)?;
            Ok(Eligible::ListenedMs((listened_us / 1000) as i32))
        }
    }
}
