//! The tests' own type of a play: read from the copy that `generate --out` writes, or constructed.

use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// A play with the fields that charts and the lake use.
#[derive(Clone, Debug)]
pub struct Play {
    pub song_id: String,
    pub title: String,
    pub artist: String,
    pub user_id: String,
    pub time: Timestamp,
    pub duration_ms: i64,
    pub completed: bool,
    pub device: String,
    pub country: String,
    pub listened_ms: Option<i64>,
}

impl Play {
    /// A play of `song_id` at `time` (RFC 3339), with defaults for all other fields.
    pub fn new(song_id: &str, time: &str) -> Self {
        Self {
            song_id: song_id.to_owned(),
            title: format!("Title {song_id}"),
            artist: format!("Artist {song_id}"),
            user_id: "U1000".to_owned(),
            time: time.parse().expect("a time in RFC 3339"),
            duration_ms: 180_000,
            completed: true,
            device: "mobile".to_owned(),
            country: "US".to_owned(),
            listened_ms: None,
        }
    }

    /// Parses a line of `generate --out`.
    pub fn parse(line: &str) -> Self {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}")).to_owned();
        let time = DateTime::strptime("%Y-%m-%d %H:%M:%S", text("timestamp"));
        let time = time.and_then(|time| time.to_zoned(TimeZone::UTC)).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self {
            song_id: text("song_id"),
            title: text("title"),
            artist: text("artist"),
            user_id: text("user_id"),
            time: time.timestamp(),
            duration_ms: value["duration_ms"].as_i64().unwrap_or_else(|| panic!("no duration: {line}")),
            completed: value["completed"].as_bool().unwrap_or_else(|| panic!("no completed: {line}")),
            device: text("device"),
            country: text("country"),
            listened_ms: value["listened_ms"].as_i64(),
        }
    }

    /// The event as JSON, with its time in RFC 3339.
    pub fn json(&self) -> Vec<u8> {
        self.json_at(json!(self.time.to_string()))
    }

    /// The event as JSON, with `timestamp` as given.
    pub fn json_at(&self, timestamp: Value) -> Vec<u8> {
        let mut event = json!({
            "song_id": self.song_id, "title": self.title, "artist": self.artist, "user_id": self.user_id,
            "timestamp": timestamp, "duration_ms": self.duration_ms, "completed": self.completed,
            "device": self.device, "country": self.country,
        });
        if let Some(listened_ms) = self.listened_ms {
            event["listened_ms"] = json!(listened_ms);
        }
        event.to_string().into_bytes()
    }

    /// All fields in one line, to compare sets of plays by.
    pub fn line(&self) -> String {
        let Self { song_id, title, artist, user_id, time, duration_ms, completed, device, country, listened_ms } = self;
        let time_us = time.as_microsecond();
        format!(
            "{song_id}|{title}|{artist}|{user_id}|{time_us}|{duration_ms}|{completed}|{device}|{country}|{listened_ms:?}"
        )
    }
}

/// Reads all plays of a file that `generate --out` wrote.
pub fn read(path: &Path) -> Vec<Play> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(Play::parse).collect()
}
