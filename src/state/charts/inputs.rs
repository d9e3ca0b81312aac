//! The inputs of each chart: its rules in words, and the plays that were counted for it.
//!
//! Two programs that compare their charts compare these first: different rules give different
//! charts, and different inputs reveal a difference before any top shows it.

use reprise_dataflows::rules::definition::{Definitions, TRENDING};
use serde::{Deserialize, Serialize};

use super::folded::Charts;
use super::overview::eligible_name;

/// The inputs of a chart, for comparing it with the same chart of another run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChartInputs {
    /// The chart's name.
    pub chart: String,
    /// The whole definition except the name, in the words of `charts.toml`.
    pub rules: String,
    /// The number of plays that the chart counts.
    pub plays: i64,
    /// A digest of all plays that were counted, independent of their order. Hexadecimal in JSON,
    /// whose numbers are read as floating point.
    #[serde(with = "hexadecimal")]
    pub digest: u64,
}

impl Charts {
    /// The inputs of every chart, by name.
    pub fn inputs(&self) -> Vec<ChartInputs> {
        let charts = [TRENDING].into_iter().chain(0..self.definitions.charts.len() as u32);
        let of = |chart: u32| {
            let inputs = self.inputs.get(&chart).copied().unwrap_or_default();
            ChartInputs {
                chart: self.definitions.name(chart).to_owned(),
                rules: rules(&self.definitions, chart),
                plays: inputs.plays,
                digest: inputs.digest,
            }
        };
        let mut inputs: Vec<ChartInputs> = charts.map(of).collect();
        inputs.sort_by(|a, b| a.chart.cmp(&b.chart));
        inputs
    }
}

fn rules(definitions: &Definitions, chart: u32) -> String {
    let rules = match definitions.chart(chart) {
        None => {
            let trending = &definitions.trending;
            format!(
                "window {} ms, slide {} ms, scopes {:?}, item {:?}, measure {:?}, eligible {}, top {}",
                trending.window_us / 1000,
                trending.slide_us / 1000,
                trending.scopes,
                trending.item,
                trending.measure,
                eligible_name(trending.eligible),
                trending.top
            )
        }
        Some(chart) => format!(
            "period {:?}, week_starts {:?}, scopes {:?}, item {:?}, measure {:?}, eligible {}, top {}",
            chart.period,
            chart.calendar.week_starts,
            chart.scopes,
            chart.item,
            chart.measure,
            eligible_name(chart.eligible),
            chart.top
        ),
    };
    let zone = definitions.chart(chart).and_then(|chart| chart.calendar.zone.as_ref()?.iana_name());
    format!("{}, zone {}", rules.to_lowercase(), zone.unwrap_or("UTC"))
}

/// Serializes digests as 16 hexadecimal digits.
mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes 16 digits.
    pub fn serialize<S: Serializer>(digest: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        format!("{digest:016x}").serialize(serializer)
    }

    /// Reads hexadecimal digits; fails for any other text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        u64::from_str_radix(&String::deserialize(deserializer)?, 16).map_err(D::Error::custom)
    }
}
