//! How a track or an artist is known across workers: by a stable hash of its text.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    Track,
    Artist,
}

/// 128 bits that stand for an item's text on every worker, in every process and in every release: SipHash-1-3 with a
/// zero key over the kind and the text. Two texts under one key stop the run (see [`crate::names::catalogue`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ItemKey([u64; 2]);

impl ItemKey {
    pub fn new(kind: ItemKind, text: &str) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write_u8(match kind {
            ItemKind::Track => 0,
            ItemKind::Artist => 1,
        });
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
        let track = ItemKey::new(ItemKind::Track, "S000001");
        assert_eq!(track, ItemKey::new(ItemKind::Track, "S000001"));
        assert_ne!(track, ItemKey::new(ItemKind::Artist, "S000001"));
        assert_eq!(format!("{:016x}{:016x}", track.0[0], track.0[1]), "a8474ae02266541daf828559a80321e4");
    }
}
