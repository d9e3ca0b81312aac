//! The interface of an event format.

use super::fields::Play;
use super::verdict::Rejected;

/// A Kafka record, without its key.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The partition of the record.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// Kafka's timestamp, in ms since 1970: that of the producer or of the broker, as the topic is
    /// configured.
    pub timestamp_ms: Option<i64>,
    /// When it arrived, in µs since 1970: see [`crate::intake::schema`].
    pub seen_us: i64,
    /// The event; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Why a record gives no play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The record is no play, and never will be one.
    Rejected(Rejected),
    /// The format needs something else first, such as a schema. The source keeps the record,
    /// retries soon, and reads no further until then. The text names what is missing, for people.
    Waiting(String),
}

impl From<Rejected> for Unread {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

#[cfg(test)]
impl Unread {
    /// The rejection; panics if the format waits.
    pub fn rejected(self) -> Rejected {
        match self {
            Self::Rejected(rejected) => rejected,
            Self::Waiting(what) => panic!("waits for {what}"),
        }
    }
}

/// Reads the records of one format. Whether a record is a play depends on the record alone, not on
/// the clock or on other records.
///
/// [`read`](Self::read) runs on a worker's thread, which also counts and answers queries, so it
/// must not block. A format that calls another service does so on another thread, and returns
/// [`Unread::Waiting`] until the answer is there.
pub trait EventFormat: Send {
    /// Calls `accept` once with the play of a record, or returns the reason why it is none. The
    /// play satisfies every rule of [`crate::intake`]; its texts are borrowed from the record or
    /// from the format.
    ///
    /// # Errors
    /// The reason and the place in the record, for people; or what the format waits for. `accept`
    /// has not been called then.
    fn read(&mut self, record: &Record<'_>, accept: &mut dyn FnMut(&Play<'_>)) -> Result<(), Unread>;
}
