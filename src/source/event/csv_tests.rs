//! A second event format, for tests only, which shows that one file adds a format. A record is a
//! line of comma-separated values.

use std::str::FromStr;

use crate::intake::{Rejection, check_song_id};
use crate::source::event::fields::Play;
use crate::source::event::format::{EventFormat, Unread};
use crate::source::event::verdict::{Rejected, plausible};
use crate::source::event::{Decoder, Record, timestamp};

/// `song_id,title,artist,user_id,timestamp,duration_ms,completed,device,country`
struct Csv;

fn rejected(reason: Rejection, field: &str) -> Rejected {
    Rejected::new(reason, format_args!("{field}"))
}

fn parsed<T: FromStr>(text: &str, field: &str) -> Result<T, Rejected> {
    text.parse().map_err(|_| rejected(Rejection::WrongType, field))
}

impl EventFormat for Csv {
    fn read(&mut self, record: &Record<'_>, accept: &mut dyn FnMut(&Play<'_>)) -> Result<(), Unread> {
        let line = std::str::from_utf8(record.value.unwrap_or_default());
        let line = line.map_err(|_| rejected(Rejection::NotUtf8, "the record"))?.trim_end();
        let fields: Vec<&str> = line.split(',').collect();
        let [song_id, title, artist, user_id, time, duration_ms, completed, device, country] = fields[..] else {
            return Err(rejected(Rejection::MissingField, "a line has nine values").into());
        };
        check_song_id(song_id).map_err(|reason| rejected(reason, "song_id"))?;
        let event_us = timestamp::from_text(time).ok_or_else(|| rejected(Rejection::BadTimestamp, "timestamp"))?;
        accept(&Play {
            song_id,
            title,
            artist,
            user_id,
            timestamp_us: plausible(event_us, record.timestamp_ms)?,
            duration_ms: parsed(duration_ms, "duration_ms")?,
            completed: parsed(completed, "completed")?,
            device,
            country,
            event_id: None,
            city: None,
            album: None,
            listened_ms: None,
        });
        Ok(())
    }
}

#[test]
fn a_format_is_one_file() {
    let record = |value: &'static str| Record {
        seen_us: 0,
        partition: 1,
        offset: 7,
        timestamp_ms: Some(1_746_421_600_000),
        value: Some(value.as_bytes()),
    };
    let (mut csv, mut json) = (Decoder::of(Box::new(Csv)), Decoder::new());
    let line = "S1,Moon,Ana,u7,2025-05-05 05:05:00,180000,true,mobile,PT\n";
    let object = r#"{"song_id":"S1","title":"Moon","artist":"Ana","user_id":"u7","timestamp":"2025-05-05 05:05:00",
        "duration_ms":180000,"completed":true,"device":"mobile","country":"PT"}"#;
    assert_eq!(csv.push(&record(line)), json.push(&record(object)));
    assert_eq!(csv.rows(), 1);
    assert_eq!(csv.finish().columns(), json.finish().columns());
    for (line, reason) in [
        ("S1,Moon", Rejection::MissingField),
        (",Moon,Ana,u7,2025-05-05 05:05:00,1,true,mobile,PT", Rejection::MissingField),
        ("S1,Moon,Ana,u7,yesterday,1,true,mobile,PT", Rejection::BadTimestamp),
        ("S1,Moon,Ana,u7,2031-05-05 05:05:00,1,true,mobile,PT", Rejection::TooFarAhead),
        ("S1,Moon,Ana,u7,2025-05-05 05:05:00,1,perhaps,mobile,PT", Rejection::WrongType),
    ] {
        assert_eq!(csv.push(&record(line)).map_err(|unread| unread.rejected().reason), Err(reason), "{line}");
    }
    assert_eq!(csv.rows(), 0);
}
