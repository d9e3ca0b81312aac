//! Describes the dead letters of a run in words, for the log and for `no_plays` of the status.

use std::collections::BTreeMap;

use crate::report::rejected::RejectedRecord;
use crate::text::grouped;

/// Dead letters of the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejects {
    /// How many dead letters have the reason.
    pub count: u64,
    /// The reason, and the place and the fault of one example.
    pub text: String,
}

/// The most frequent of `reasons`, with the first of the `newest` dead letters of `topic` that has
/// it as the example. `None` if no reason has a count.
pub fn most<'a>(
    topic: &str,
    reasons: &BTreeMap<String, u64>,
    mut newest: impl Iterator<Item = &'a RejectedRecord>,
) -> Option<Rejects> {
    let (reason, &count) = reasons.iter().filter(|(_, count)| **count > 0).max_by_key(|(_, count)| **count)?;
    let text = match newest.find(|record| record.reason == *reason) {
        Some(RejectedRecord { partition, offset, detail, .. }) => {
            format!("{reason} ({detail}), as at offset {offset} of {topic}/{partition}")
        }
        None => reason.clone(),
    };
    Some(Rejects { count, text })
}

/// A sentence for a run that has read `records` records and not one play; `most` describes the
/// largest group of them.
pub fn no_plays(records: u64, most: &Rejects) -> String {
    let how_many = match records {
        1 => "1 record, and it is no play".to_owned(),
        _ if most.count == records => format!("{} records, none is a play", grouped(records)),
        _ => format!("{} records, none is a play; {} of them", grouped(records), grouped(most.count)),
    };
    format!("{how_many}: {}", most.text)
}

/// A sentence for a run that has read nothing new from Kafka, and whose lake holds `dead_letters`
/// dead letters of earlier runs and not one play.
pub fn none_before(dead_letters: u64) -> String {
    let are = if dead_letters == 1 { "1 dead letter" } else { &format!("{} dead letters", grouped(dead_letters)) };
    format!("the lake holds {are} and no play, and nothing new has arrived")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(reason: &str, offset: i64, detail: &str) -> RejectedRecord {
        let (reason, detail) = (reason.to_owned(), detail.to_owned());
        RejectedRecord { partition: 1, offset, time_us: None, reason, detail, value: None }
    }

    #[test]
    fn the_most_frequent_reason_is_named() {
        let sentence = |reasons: &[(&str, u64)], newest: &[RejectedRecord]| {
            let reasons = reasons.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
            let most = most("plays", &reasons, newest.iter())?;
            Some(no_plays(reasons.values().sum(), &most))
        };
        let newest = [record("not_json", 9, "no brace"), record("missing_field", 8, "missing: title; keys: name")];
        assert_eq!(
            sentence(&[("missing_field", 1000), ("not_json", 1), ("empty", 0)], &newest).unwrap(),
            "1,001 records, none is a play; 1,000 of them: missing_field (missing: title; keys: name), as at offset 8 of plays/1"
        );
        assert_eq!(
            sentence(&[("not_json", 1)], &newest).unwrap(),
            "1 record, and it is no play: not_json (no brace), as at offset 9 of plays/1"
        );
        assert_eq!(sentence(&[("empty", 2)], &newest).unwrap(), "2 records, none is a play: empty");
        assert_eq!(sentence(&[("empty", 0)], &newest), None);
    }
}
