//! Tallies as bytes, for workers in other processes: a key once for each run of equal keys, items
//! as they are, counts as variable-length integers.

use super::varint;
use crate::keys::dimension::Dimension;
use crate::keys::item::ItemKey;
use crate::keys::label::Label;
use crate::keys::labels::Labels;
use crate::operators::exchange::Pack;
use crate::rules::plan::{Key, Tally};
use crate::tick::Epoch;

/// Bytes of an item.
const ITEM_BYTES: usize = 16;
/// The most labels of a key: one for each dimension, and at least two.
const LABELS_MAX: u64 = if Dimension::COUNT > 2 { Dimension::COUNT as u64 } else { 2 };

/// A run is the updates of one key and time: the key, the time, the number of updates, their items,
/// their counts.
impl Pack for (Tally, Epoch, i64) {
    fn pack(updates: &[Self], bytes: &mut Vec<u8>) {
        bytes.reserve(updates.len() * (ITEM_BYTES + 2));
        varint::write(bytes, updates.len() as u64);
        for run in updates.chunk_by(|((a, _), at, _), ((b, _), bt, _)| at == bt && a == b) {
            let ((key, _), time, _) = &run[0];
            varint::write(bytes, key.grouping.into());
            varint::write_signed(bytes, key.bucket);
            varint::write(bytes, key.labels.as_slice().len() as u64);
            for label in key.labels.as_slice() {
                varint::write(bytes, label.as_str().len() as u64);
                bytes.extend_from_slice(label.as_str().as_bytes());
            }
            varint::write(bytes, *time);
            varint::write(bytes, run.len() as u64);
            for ((_, item), _, _) in run {
                let [a, b] = item.to_bits();
                bytes.extend_from_slice(&a.to_le_bytes());
                bytes.extend_from_slice(&b.to_le_bytes());
            }
            run.iter().for_each(|(_, _, diff)| varint::write_signed(bytes, *diff));
        }
    }

    fn unpack(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut rest = Rest(bytes);
        let count = usize::try_from(rest.number()?).ok()?;
        // The count may be damaged: allocate no more than the bytes can hold.
        let mut updates = Vec::with_capacity(count.min(bytes.len() / ITEM_BYTES));
        while updates.len() < count {
            let grouping = u32::try_from(rest.number()?).ok()?;
            let bucket = rest.signed()?;
            let labels = rest.number()?;
            if labels > LABELS_MAX {
                return None;
            }
            let labels = (0..labels).map(|_| rest.label()).collect::<Option<Labels>>()?;
            let key = Key { grouping, bucket, labels };
            let time = rest.number()?;
            let run = usize::try_from(rest.number()?).ok().filter(|run| (1..=count - updates.len()).contains(run))?;
            let (items, _) = rest.take(run.checked_mul(ITEM_BYTES)?)?.as_chunks::<8>();
            for item in items.chunks_exact(2) {
                let item = ItemKey::from_bits([item[0], item[1]].map(u64::from_le_bytes));
                updates.push(((key.clone(), item), time, rest.signed()?));
            }
        }
        Some(updates)
    }
}

/// The bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        varint::read(&mut self.0)
    }

    fn signed(&mut self) -> Option<i64> {
        varint::read_signed(&mut self.0)
    }

    fn label(&mut self) -> Option<Label> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok().map(Label::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::definition::ItemKind;

    fn update() -> impl Strategy<Value = (Tally, Epoch, i64)> {
        let numbers = (0u32..3, prop_oneof![0i64..3, any::<i64>()], 0u32..50, prop_oneof![1u64..3, any::<u64>()]);
        (
            numbers,
            prop_oneof![-3i64..300, any::<i64>()],
            prop::sample::select(vec!["", "US", "a device with a long name"]),
        )
            .prop_map(|((grouping, bucket, item, time), diff, text)| {
                let key = Key { grouping, bucket, labels: [Label::new(text)].into_iter().collect() };
                ((key, ItemKey::new(ItemKind::TRACK, &item.to_string())), time, diff)
            })
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(mut updates in prop::collection::vec(update(), 0..300), sorted: bool, padding in 0usize..8) {
            if sorted {
                updates.sort();
            }
            let mut bytes = Vec::new();
            Pack::pack(&updates, &mut bytes);
            bytes.resize(bytes.len() + padding, 0xff);
            prop_assert_eq!(<(Tally, Epoch, i64)>::unpack(&bytes), Some(updates));
        }

        /// Damaged bytes are refused, or give some updates, no more than there are bytes.
        #[test]
        fn damaged_bytes_end_nothing(
            updates in prop::collection::vec(update(), 1..20),
            changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
            length in any::<usize>(),
        ) {
            let mut bytes = Vec::new();
            Pack::pack(&updates, &mut bytes);
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            bytes.truncate(length % (bytes.len() + 1));
            let unpacked = <(Tally, Epoch, i64)>::unpack(&bytes).unwrap_or_default();
            prop_assert!(unpacked.len() <= bytes.len());
        }
    }

    #[test]
    fn a_run_costs_seventeen_bytes_an_update() {
        let key = Key { grouping: 1, bucket: 20_000, labels: [Label::new("US")].into_iter().collect() };
        let item = |number: u32| ItemKey::new(ItemKind::TRACK, &number.to_string());
        let updates: Vec<_> = (0..1000).map(|number| ((key.clone(), item(number)), 1_795_635_000_000, 3)).collect();
        let mut bytes = Vec::new();
        Pack::pack(&updates, &mut bytes);
        assert!(bytes.len() < 17_100, "{}", bytes.len());
    }
}
