//! The items that charts list, and the stable hash of its text by which an item is known to all
//! workers.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip128::{Hasher128, SipHasher13};

/// An entry of the table, which is the only definition of the kinds. A new kind is an entry at its
/// end and a column of [`crate::play::schema`].
struct KindProperties {
    /// The name in `charts.toml`.
    name: &'static str,
    /// The column of the texts by which plays are counted.
    column: &'static str,
}

const TABLE: &[KindProperties] = &[
    KindProperties { name: "track", column: "song_id" },
    KindProperties { name: "artist", column: "artist" },
    KindProperties { name: "album", column: "album" },
];

/// A kind of item that a chart can list, as the index of its entry in the table.
///
/// ```
/// use reprise_dataflows::keys::item::ItemKind;
///
/// let names: Vec<&str> = ItemKind::all().map(ItemKind::name).collect();
/// assert_eq!(names, ["track", "artist", "album"]);
/// // Tracks are told apart by id: two tracks may have the same title.
/// assert_eq!(ItemKind::TRACK.column(), "song_id");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKind(u8);

impl ItemKind {
    /// Tracks, by their id. Only tracks have titles.
    pub const TRACK: Self = Self(0);
    /// Artists, by their name.
    pub const ARTIST: Self = Self(1);
    /// The number of kinds.
    pub const COUNT: usize = TABLE.len();

    /// Every kind, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len() as u8).map(Self)
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    /// The index in the table, from 0.
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// The name in `charts.toml`.
    pub fn name(self) -> &'static str {
        TABLE[usize::from(self.0)].name
    }

    /// The column of [`crate::play::schema`]. A play without a value there counts for no item of
    /// the kind.
    pub fn column(self) -> &'static str {
        TABLE[usize::from(self.0)].column
    }
}

impl fmt::Debug for ItemKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A kind is serialized by its name.
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

/// A hash of 128 bits that stands for an item on every worker, in every process and in every
/// release: SipHash-1-3 with a zero key, over the number of the kind and the text. The run stops if
/// two texts have the same hash (see [`crate::names::catalogue`]).
///
/// ```
/// use reprise_dataflows::keys::item::{ItemKey, ItemKind};
///
/// let track = ItemKey::new(ItemKind::TRACK, "S000001");
/// // An artist of the same text is another item.
/// assert_ne!(track, ItemKey::new(ItemKind::ARTIST, "S000001"));
///
/// // Any worker computes the owner of an item without asking: here one of four workers.
/// let owner = track.route() % 4;
/// assert_eq!(owner, ItemKey::new(ItemKind::TRACK, "S000001").route() % 4);
///
/// // What a checkpoint stores of an item.
/// assert_eq!(ItemKey::from_bits(track.to_bits()), track);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ItemKey([u64; 2]);

impl ItemKey {
    /// The hash of an item of `kind` with this text.
    pub fn new(kind: ItemKind, text: &str) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write_u8(kind.0);
        hasher.write(text.as_bytes());
        let hash = hasher.finish128();
        Self([hash.h1, hash.h2])
    }

    /// A hash of the item together with `seed`, which is a hash itself.
    pub fn mix(&self, seed: u64) -> u64 {
        // A wide multiplication whose halves are folded. Each factor is uniform by itself.
        let product = u128::from(self.0[0] ^ seed) * u128::from(self.0[1] ^ seed.rotate_left(32) | 1);
        (product >> 64) as u64 ^ product as u64
    }

    /// The two halves of the hash.
    pub fn to_bits(self) -> [u64; 2] {
        self.0
    }

    /// The inverse of [`Self::to_bits`].
    pub fn from_bits(bits: [u64; 2]) -> Self {
        Self(bits)
    }

    /// The number that decides which worker owns the item: modulo the number of workers.
    pub fn route(&self) -> u64 {
        self.0[0]
    }
}

impl Hash for ItemKey {
    /// Hashes one half: the bits are uniform, and a hash table needs no more.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tallies of a checkpoint are stored under these values: a change of them changes the
    /// format.
    #[test]
    fn is_stable() {
        let track = ItemKey::new(ItemKind::TRACK, "S000001");
        assert_eq!(track, ItemKey::new(ItemKind::TRACK, "S000001"));
        assert_ne!(track, ItemKey::new(ItemKind::ARTIST, "S000001"));
        assert_eq!(format!("{:016x}{:016x}", track.0[0], track.0[1]), "a8474ae02266541daf828559a80321e4");
    }
}
