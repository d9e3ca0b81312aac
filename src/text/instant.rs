//! Moments, for serde: µs since 1970 in memory, RFC 3339 in JSON.

use reprise_dataflows::time::{instant_name, parse_instant};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

pub fn serialize<S: Serializer>(instant_us: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    instant_us.map(instant_name).serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_instant(&text)).transpose().map_err(D::Error::custom)
}
