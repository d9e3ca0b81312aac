//! `reprise status`: the status of a running instance.

use std::fmt;

use anyhow::Result;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::instance::{Format, Instance};
use crate::terminal::output::table::{columns, fitted};
use crate::text::grouped;

/// The options of `reprise status`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise status
  reprise status --url http://charts.example:7878
  reprise status --format json | jq .lag")]
pub struct Options {
    #[command(flatten)]
    instance: Instance,
    /// The output format.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Asks the instance, and prints its answer.
///
/// # Errors
/// If the instance does not answer, or refuses.
pub fn run(options: &Options) -> Result<()> {
    options.instance.print(&["v1", "status"], &[], options.format, describe)
}

/// The members of an object, in the order in which the instance writes them, which is by
/// importance.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A line for each member, and a table of the partitions. It shows all members that the instance
/// sends, so the instance may be of another version.
fn describe(Members(members): Members, width: Option<u16>) -> String {
    let of_partitions = |(name, _): &&(String, Value)| name == "partitions";
    let name_width = members.iter().map(|(name, _)| label(name).len()).max().unwrap_or(0);
    let line = |(name, value): &(String, Value)| {
        fitted(&format!("{:name_width$}  {}", label(name), shown(name, value)), width)
    };
    let lines: Vec<String> = members.iter().filter(|member| !of_partitions(member)).map(line).collect();
    let partitions = members.iter().find(of_partitions).and_then(|(_, value)| value.as_array());
    let names = ["#partition", "#start_offset", "#committed_offset", "#next_offset", "#end_offset", "#lag"];
    let rows = partitions
        .into_iter()
        .flatten()
        .map(|partition| names.iter().map(|name| shown(name, &partition[name.trim_start_matches('#')])).collect());
    let header = names.map(|name| name.replace('_', " "));
    format!("{}\n\n{}", lines.join("\n"), columns(&header.each_ref().map(String::as_str), rows, width))
}

/// The label of a member of the status. The time that a number covers is added where the number
/// means nothing without it.
fn label(name: &str) -> String {
    let span = match name {
        "accepted" | "dead_letters" => " since this start",
        "window_misses" => " of the last five minutes",
        _ => "",
    };
    name.trim_end_matches("_ms").replace('_', " ") + span
}

fn shown(name: &str, value: &Value) -> String {
    let unit = if name.ends_with("_ms") { " ms" } else { "" };
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => format!("{}{unit}", grouped(number)),
            None => format!("{:.1}{unit}", number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(|value| shown(name, value)).collect::<Vec<_>>().join(", "),
        Value::Object(members) if members.is_empty() => "none".to_owned(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("{name} {}", shown(name, value))).collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_lines_and_partitions() {
        let status = r#"{"topic":"song-plays\u001b[2J","accepted":1234567,"dead_letters":{"not_json":3,"too_old":1},
            "plays_per_second":1999.5,"freshness_ms":1200,"ready":true,"paused":null,"window_misses":{},
            "partitions":[{"partition":0,"start_offset":0,"next_offset":12345,"committed_offset":null,"end_offset":12350,"lag":5}]}"#;
        insta::assert_snapshot!(describe(serde_json::from_str(status).unwrap(), None), @r"
        topic                                   song-plays\u{1b}[2J
        accepted since this start               1,234,567
        dead letters since this start           not_json 3, too_old 1
        plays per second                        1999.5
        freshness                               1,200 ms
        ready                                   yes
        paused                                  –
        window misses of the last five minutes  none

         partition   start offset   committed offset   next offset   end offset   lag
        ──────────────────────────────────────────────────────────────────────────────
                 0              0                  –        12,345       12,350     5
        ");
    }
}
