//! What a format of events is.

use super::verdict::{Play, Rejected};

/// What a Kafka record holds of a play.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub partition: i32,
    pub offset: i64,
    /// Kafka's own timestamp, in ms since 1970: by the topic's setting the producer's or the broker's.
    pub timestamp_ms: Option<i64>,
    pub value: Option<&'a [u8]>,
}

/// Reads the records of one format. Whether a record is a play is a function of the record alone: neither the clock nor other
/// records have a say.
pub trait EventFormat: Send {
    /// Calls `accept` once with the play that a record holds, or says why it holds none. The play keeps every rule of
    /// [`crate::intake`]; its texts are borrowed from the record or from the format.
    ///
    /// # Errors
    /// The reason, and for people where in the record it is.
    fn read(&mut self, record: &Record<'_>, accept: &mut dyn FnMut(&Play<'_>)) -> Result<(), Rejected>;
}
