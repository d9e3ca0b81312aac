//! The periods of charts: their first days, ends and names.

use jiff::civil::Weekday;
use serde::{Deserialize, Serialize};

use super::date::{Unreadable, civil, day_name, day_of, weekday, year_name};

/// The span of time that one list of a chart covers.
///
/// ```
/// use jiff::civil::Weekday;
/// use reprise_dataflows::time::{Period, day_name};
///
/// // A chart week from Friday to Thursday.
/// let starts = Weekday::Friday;
/// let week = Period::Week.parse("2026-W48", starts)?;
/// assert_eq!(day_name(week), "2026-11-20");
/// assert_eq!(Period::Week.end(week, starts), Some(week + 7));
/// // Any day of a week gives its first day.
/// assert_eq!(Period::Week.start(week + 6, starts), week);
/// # Ok::<(), reprise_dataflows::time::Unreadable>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// A calendar day.
    Day,
    /// Seven days; the calendar says with which weekday they begin.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
    /// All time.
    All,
}

impl Period {
    /// The first day of the period that holds `day`, in days since 1970; 0 for all time.
    pub fn start(self, day: i32, week_starts: Weekday) -> i32 {
        match self {
            Self::Day => day,
            Self::Week => day - i32::from(weekday(day).since(week_starts)),
            Self::Month => {
                let (year, month, _) = civil(day);
                day_of(year, month, 1)
            }
            Self::Year => day_of(civil(day).0, 1, 1),
            Self::All => 0,
        }
    }

    /// The first day after the period that holds `start_day`; `None` for all time.
    pub fn end(self, start_day: i32, week_starts: Weekday) -> Option<i32> {
        let start_day = self.start(start_day, week_starts);
        let (year, month, _) = civil(start_day);
        match self {
            Self::Day => Some(start_day + 1),
            Self::Week => Some(start_day + 7),
            Self::Month if month == 12 => Some(day_of(year + 1, 1, 1)),
            Self::Month => Some(day_of(year, month + 1, 1)),
            Self::Year => Some(day_of(year + 1, 1, 1)),
            Self::All => None,
        }
    }

    /// The name of the period that holds `start_day`, in ISO 8601: `2026-11-20`, `2026-W47`,
    /// `2026-11`, `2026`; `all` for all time.
    ///
    /// A week has the number of the ISO week that holds its fourth day: the ISO week with which it
    /// shares most days, and for weeks that start on Monday its own number.
    ///
    /// ```
    /// use jiff::civil::Weekday;
    /// use reprise_dataflows::time::Period;
    ///
    /// // 2027-01-03 is a Sunday. Its ISO week holds more days of 2026 than of 2027.
    /// let day = Period::Day.parse("2027-01-03", Weekday::Monday)?;
    /// assert_eq!(Period::Week.name(day, Weekday::Monday), "2026-W53");
    /// // If weeks start on Sunday, the first week of 2027 begins on that day.
    /// assert_eq!(Period::Week.name(day, Weekday::Sunday), "2027-W01");
    /// assert_eq!(Period::Month.name(day, Weekday::Monday), "2027-01");
    /// # Ok::<(), reprise_dataflows::time::Unreadable>(())
    /// ```
    pub fn name(self, start_day: i32, week_starts: Weekday) -> String {
        let start_day = self.start(start_day, week_starts);
        let (year, month, _) = civil(start_day);
        match self {
            Self::Day => day_name(start_day),
            Self::Week => {
                let (year, week) = iso_week(start_day + 3);
                format!("{}-W{week:02}", year_name(year))
            }
            Self::Month => format!("{}-{month:02}", year_name(year)),
            Self::Year => year_name(year),
            Self::All => "all".to_owned(),
        }
    }

    /// The first day of the period whose [`Period::name`] is `text`.
    ///
    /// # Errors
    /// If no period has this name. Other spellings of a name are refused.
    ///
    /// ```
    /// use jiff::civil::Weekday;
    /// use reprise_dataflows::time::{Period, day_name};
    ///
    /// assert_eq!(day_name(Period::Month.parse("2026-11", Weekday::Monday)?), "2026-11-01");
    /// let error = Period::Month.parse("2026-13", Weekday::Monday).unwrap_err();
    /// assert_eq!(error.to_string(), "`2026-13` is not a month such as `2026-11`");
    /// # Ok::<(), reprise_dataflows::time::Unreadable>(())
    /// ```
    pub fn parse(self, text: &str, week_starts: Weekday) -> Result<i32, Unreadable> {
        self.first_day(text, week_starts)
            .filter(|&day| self.name(day, week_starts) == text)
            .ok_or_else(|| Unreadable { found: text.to_owned(), expected: self.expected() })
    }

    /// The first day that `text` stands for, if `text` has the form of a name. A number out of
    /// range, such as month 13, gives a day of another period, whose name is not `text`.
    fn first_day(self, text: &str, week_starts: Weekday) -> Option<i32> {
        if self == Self::All {
            return Some(0);
        }
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let mut parts = digits.split('-');
        let year = sign * bounded(parts.next()?)?;
        let mut part = || parts.next();
        match self {
            Self::Day => Some(day_of(year, bounded(part()?)?, bounded(part()?)?)),
            Self::Week => {
                let week = bounded(part()?.strip_prefix('W')?)?;
                let fourth_day_in_week = i32::from(week_starts.since(Weekday::Friday));
                Some(iso_year_start(year) + 7 * (week - 1) + fourth_day_in_week - 3)
            }
            Self::Month => Some(day_of(year, bounded(part()?)?, 1)),
            Self::Year => Some(day_of(year, 1, 1)),
            Self::All => Some(0),
        }
    }

    /// For messages: the name of a period, with an example.
    fn expected(self) -> &'static str {
        match self {
            Self::Day => "a day such as `2026-11-20`",
            Self::Week => "a week such as `2026-W47`",
            Self::Month => "a month such as `2026-11`",
            Self::Year => "a year such as `2026`",
            Self::All => "`all`, the only period of this chart",
        }
    }
}

/// The ISO year and week of a day: a week belongs to the year that holds its Thursday.
fn iso_week(day: i32) -> (i32, i32) {
    let thursday = Period::Week.start(day, Weekday::Monday) + 3;
    let (year, _, _) = civil(thursday);
    (year, (thursday - day_of(year, 1, 1)) / 7 + 1)
}

/// The Monday of the first ISO week of a year: the week of January 4.
fn iso_year_start(year: i32) -> i32 {
    Period::Week.start(day_of(year, 1, 4), Weekday::Monday)
}

/// A number of up to six digits: no date made from it overflows.
fn bounded(digits: &str) -> Option<i32> {
    let plausible = digits.len() <= 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plausible { digits.parse().ok() } else { None }
}
