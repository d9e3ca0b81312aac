//! Instants, for serde: µs since 1970 in memory, RFC 3339 in JSON.

use reprise_dataflows::time::{instant_name, parse_instant};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Writes an instant, given in µs since 1970, as RFC 3339; none as null.
///
/// # Errors
/// Those of the `serializer`.
pub fn serialize<S: Serializer>(instant_us: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    instant_us.map(instant_name).serialize(serializer)
}

/// Reads an instant in RFC 3339 into µs since 1970; null as none.
///
/// # Errors
/// Those of the `deserializer`, and a text that is not an instant.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_instant(&text)).transpose().map_err(D::Error::custom)
}
