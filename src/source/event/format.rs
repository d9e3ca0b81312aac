//! What a format of events is.

use super::fields::Play;
use super::verdict::Rejected;

/// A Kafka record, without its key.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The partition of the record.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// Kafka's own timestamp, in ms since 1970: by the topic's setting the producer's or the broker's.
    pub timestamp_ms: Option<i64>,
    /// The event; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Why a record has given no play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The record is no play, and never will be one.
    Rejected(Rejected),
    /// The format waits for something without which the record cannot be read, such as a schema. The source keeps the record,
    /// tries again soon, and reads no further until then. The text says, for people, what the format waits for.
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

/// Reads the records of one format. Whether a record is a play is a function of the record alone: neither the clock nor other
/// records have a say.
///
/// [`read`](Self::read) runs on a worker's thread, which also counts and answers queries, so it never waits itself: a format
/// that has to ask another service does so on a thread of its own, and returns [`Unread::Waiting`] until it knows.
pub trait EventFormat: Send {
    /// Calls `accept` once with the play that a record holds, or says why it holds none. The play keeps every rule of
    /// [`crate::intake`]; its texts are borrowed from the record or from the format.
    ///
    /// # Errors
    /// The reason, and for people where in the record it is; or what the format waits for. Then `accept` was not called.
    fn read(&mut self, record: &Record<'_>, accept: &mut dyn FnMut(&Play<'_>)) -> Result<(), Unread>;
}
