//! What charts list, and how an item is known across workers: by a stable hash of its text.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip128::{Hasher128, SipHasher13};

/// What a chart can list: this table is all that there is to it. A new kind is a line here, and a column of
/// [`crate::play::schema`].
struct About {
    /// In `charts.toml`.
    name: &'static str,
    /// The column of the texts by which plays are counted.
    column: &'static str,
}

const TABLE: &[About] = &[
    About { name: "track", column: "song_id" },
    About { name: "artist", column: "artist" },
    About { name: "album", column: "album" },
];

/// A kind of item that a chart can list, as its line in the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKind(u8);

impl ItemKind {
    /// Tracks, by their id. They alone have titles.
    pub const TRACK: Self = Self(0);
    pub const ARTIST: Self = Self(1);
    /// How many there are.
    pub const COUNT: usize = TABLE.len();

    /// Every kind, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len() as u8).map(Self)
    }

    /// The kind called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    /// Its place in the table, from 0.
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// What it is called in `charts.toml`.
    pub fn name(self) -> &'static str {
        TABLE[usize::from(self.0)].name
    }

    /// Its column in [`crate::play::schema`]. A play without a value there counts for no item.
    pub fn column(self) -> &'static str {
        TABLE[usize::from(self.0)].column
    }
}

impl fmt::Debug for ItemKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// By its name.
impl Serialize for ItemKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ItemKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| D::Error::custom(format!("`{name}` is not a kind of item")))
    }
}

/// 128 bits that stand for an item's text on every worker, in every process and in every release: SipHash-1-3 with a
/// zero key over the kind and the text. Two texts under one key stop the run (see [`crate::names::catalogue`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ItemKey([u64; 2]);

impl ItemKey {
    pub fn new(kind: ItemKind, text: &str) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write_u8(kind.0);
        hasher.write(text.as_bytes());
        let hash = hasher.finish128();
        Self([hash.h1, hash.h2])
    }

    /// A hash of the item and of what `seed` is a hash of.
    pub fn mix(&self, seed: u64) -> u64 {
        // One wide multiplication, both halves folded: both factors are uniform, whatever the other one is.
        let product = u128::from(self.0[0] ^ seed) * u128::from(self.0[1] ^ seed.rotate_left(32) | 1);
        (product >> 64) as u64 ^ product as u64
    }

    /// The hash, in its two halves.
    pub fn to_bits(self) -> [u64; 2] {
        self.0
    }

    /// The item of a hash that [`Self::to_bits`] gave.
    pub fn from_bits(bits: [u64; 2]) -> Self {
        Self(bits)
    }

    /// The number by which items are spread over workers.
    pub fn route(&self) -> u64 {
        self.0[0]
    }
}

impl Hash for ItemKey {
    /// The bits are uniform already, so half of them are enough for a table.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tallies on disk are keyed by it, so a change of these values is a change of format.
    #[test]
    fn is_stable() {
        let track = ItemKey::new(ItemKind::TRACK, "S000001");
        assert_eq!(track, ItemKey::new(ItemKind::TRACK, "S000001"));
        assert_ne!(track, ItemKey::new(ItemKind::ARTIST, "S000001"));
        assert_eq!(format!("{:016x}{:016x}", track.0[0], track.0[1]), "a8474ae02266541daf828559a80321e4");
    }
}
