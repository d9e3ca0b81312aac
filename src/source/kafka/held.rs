//! A copy of a record that has to be read again later.

use reprise_kafka::Message;

/// A copy of a message, for a format that cannot read it yet: librdkafka frees a message when the next one is received.
pub struct HeldRecord {
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl HeldRecord {
    /// Copies a message.
    pub fn of(message: &Message<'_>) -> Self {
        let Message { partition, offset, timestamp_ms, key, value } = *message;
        Self { partition, offset, timestamp_ms, key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec) }
    }

    /// The message.
    pub fn message(&self) -> Message<'_> {
        let Self { partition, offset, timestamp_ms, key, value } = self;
        Message {
            partition: *partition,
            offset: *offset,
            timestamp_ms: *timestamp_ms,
            key: key.as_deref(),
            value: value.as_deref(),
        }
    }
}
