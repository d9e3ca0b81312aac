//! What the topic holds, as keys of cells and hashes of their contents, and the messages that bring
//! it to newer charts. All decisions are made here, without a broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use reprise_dataflows::rules::definition::TRENDING_NAME;
use serde::Deserialize;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::kafka::topics::partition_of;
use crate::state::charts::{AsOf, CellKey, ChartCell, Charts, Filter};
use crate::text::json;

/// The last message of each key in the topic.
pub struct Ledger {
    partitions: usize,
    keys: BTreeMap<Box<str>, Held>,
    /// The charts that the topic was last brought to; none if it has only been read.
    charts: Option<Arc<Charts>>,
}

/// The last message of a key.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// The partition of the key. A key stays in its partition, even if partitions are added to the
    /// topic: messages of two partitions have no order.
    partition: i32,
    /// A hash of the cell without its `as_of`; none after a tombstone.
    content: Option<u128>,
}

/// A message to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The partition to send it to.
    pub partition: i32,
    /// The key of the cell.
    pub key: &'a str,
    /// The cell in JSON; none in a tombstone.
    pub value: Option<&'a [u8]>,
}

/// The changes that a [`Ledger`] notes once the messages are in the topic.
pub struct Sent {
    keys: Vec<(Box<str>, Held)>,
    charts: Arc<Charts>,
}

/// The fields that name the cell of a value. Values of every version of the program have them.
#[derive(Deserialize)]
struct Named {
    chart: String,
    scope: String,
    period: String,
}

impl Ledger {
    /// The ledger of an empty topic with this number of partitions.
    pub fn new(partitions: usize) -> Self {
        Self { partitions, keys: BTreeMap::new(), charts: None }
    }

    /// Notes a message that the topic has. The messages of a partition must come in their order.
    ///
    /// # Errors
    /// If this program has not written the message: messages of others must not be overwritten or
    /// deleted.
    pub fn read(&mut self, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<()> {
        let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()) else { bail!("its key is no text") };
        let content = value.map(|value| content_of(key, value)).transpose()?;
        self.keys.insert(key.into(), Held { partition, content });
        Ok(())
    }

    /// The `as_of` of the charts that the topic was last brought to.
    pub fn as_of(&self) -> Option<AsOf> {
        Some(self.charts.as_ref()?.as_of())
    }

    /// Calls `send` with a message for each cell whose content differs from that in the topic, and
    /// with a tombstone for each cell that no longer exists.
    ///
    /// # Errors
    /// The error of `send`.
    pub fn bring_to(&self, charts: &Arc<Charts>, mut send: impl FnMut(Message<'_>) -> Result<()>) -> Result<Sent> {
        let mut keys = Vec::new();
        for (key, place) in self.candidates(charts) {
            let cell = place.map(|(chart, scope, start_day)| charts.cell(chart, &scope, Some(start_day), None));
            let cell = cell.filter(|cell| !cell.entries.is_empty());
            let content = cell.as_ref().map(content).transpose()?;
            let held = self.keys.get(&key).copied();
            if held.and_then(|held| held.content) == content {
                continue;
            }
            let partition =
                held.map_or_else(|| partition_of(key.as_bytes(), self.partitions) as i32, |held| held.partition);
            let value = cell.map(|cell| json::to_vec(&cell)).transpose()?;
            send(Message { partition, key: &key, value: value.as_deref() })?;
            keys.push((key, Held { partition, content }));
        }
        Ok(Sent { keys, charts: charts.clone() })
    }

    /// Notes that the messages are in the topic. Returns their number.
    pub fn note(&mut self, sent: Sent) -> usize {
        let messages = sent.keys.len();
        self.keys.extend(sent.keys);
        self.charts = Some(sent.charts);
        messages
    }

    /// The keys whose cells may differ from the topic, each with the cell's key in the charts, or
    /// with none if the cell certainly no longer exists.
    fn candidates(&self, charts: &Charts) -> BTreeMap<Box<str>, Option<CellKey>> {
        let keyed = |place: CellKey| (key_of(charts, &place), Some(place));
        match &self.charts {
            Some(earlier) => charts.changed_since(earlier).into_iter().map(keyed).collect(),
            None => {
                let held = self.keys.keys().map(|key| (key.clone(), None));
                held.chain(charts.keys(&Filter::default()).into_iter().cloned().map(keyed)).collect()
            }
        }
    }
}

fn key_of(charts: &Charts, (chart, scope, start_day): &CellKey) -> Box<str> {
    key(charts.definitions().name(*chart), &scope.name(), &charts.period(*chart, Some(*start_day)).0)
}

/// The key of a cell's messages. The names of charts and periods have no slash, and no chart is
/// called `trending`. So no two cells share a key, whatever the name of a country contains.
fn key(chart: &str, scope: &str, period: &str) -> Box<str> {
    // The window slides, so its key has no period: each window replaces the one before.
    if chart == TRENDING_NAME { format!("{chart}/{scope}") } else { format!("{chart}/{scope}/{period}") }.into()
}

fn content(cell: &ChartCell) -> Result<u128> {
    Ok(hash(&serde_json::to_vec(&ChartCell { as_of: AsOf::default(), ..cell.clone() })?))
}

/// The hash of the content of a value that was published under `key`.
fn content_of(key: &str, value: &[u8]) -> Result<u128> {
    let named = serde_json::from_slice::<Named>(value).ok();
    let Some(Named { chart, scope, period }) = named else { bail!("its value is no cell of a chart") };
    if *self::key(&chart, &scope, &period) != *key {
        bail!("its value is of another cell than its key");
    }
    // A value that another version of the program has written in another form counts as different
    // content.
    serde_json::from_slice::<ChartCell>(value).map_or_else(|_| Ok(hash(value)), |cell| content(&cell))
}

fn hash(bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    std::hash::Hasher::write(&mut hasher, bytes);
    hasher.finish128().as_u128()
}
