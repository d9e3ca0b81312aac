//! The verdict on a record: a play, or the reason why it is none.

use super::timestamp;
use crate::intake::{Rejection, check_time};
use std::fmt;

/// The most bytes of the detail of a rejection.
pub const DETAIL_BYTES_MAX: usize = 512;

/// Why a record is not a play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub reason: Rejection,
    /// The field and the value found, for people. At most [`DETAIL_BYTES_MAX`] bytes.
    pub detail: String,
}

impl Rejected {
    /// Not inlined, so that the code for good records stays small.
    #[cold]
    pub fn new(reason: Rejection, detail: fmt::Arguments<'_>) -> Self {
        let mut detail = detail.to_string();
        if detail.len() > DETAIL_BYTES_MAX {
            let dots = "…";
            detail.truncate(beginning(&detail, DETAIL_BYTES_MAX - dots.len()).len());
            detail.push_str(dots);
        }
        Self { reason, detail }
    }
}

/// The first `bytes_max` bytes of a text, or up to three fewer, so that no character is cut.
pub fn beginning(text: &str, bytes_max: usize) -> &str {
    let fits = |&end: &usize| text.is_char_boundary(end);
    let end = (0..=bytes_max.min(text.len())).rev().find(fits).unwrap_or(0);
    &text[..end]
}

/// The event time, if it is neither too old nor too far ahead of its record.
pub fn plausible(event_us: i64, kafka_ms: Option<i64>) -> Result<i64, Rejected> {
    let kafka_us = kafka_ms.map(|ms| ms.saturating_mul(1000));
    check_time(event_us, kafka_us).map(|()| event_us).map_err(|reason| implausible(reason, event_us, kafka_us))
}

#[cold]
pub fn implausible(reason: Rejection, event_us: i64, kafka_us: Option<i64>) -> Rejected {
    let event = timestamp::Display(event_us);
    match (reason, kafka_us.map(timestamp::Display)) {
        (Rejection::TooFarAhead, Some(kafka)) => {
            let detail = format_args!("timestamp: {event} is more than an hour ahead of the Kafka record's {kafka}");
            Rejected::new(reason, detail)
        }
        (Rejection::TooOld, _) => Rejected::new(reason, format_args!("timestamp: {event} is before the year 2000")),
        _ => Rejected::new(reason, format_args!("timestamp: {event} is after the year 9999")),
    }
}
