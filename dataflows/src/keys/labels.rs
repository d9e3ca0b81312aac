//! The labels of a key: one for each dimension that its grouping counts by.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::label::Label;

/// The labels of a key, in the order of the dimensions of its grouping. Up to two lie inline, in 32
/// bytes; absent labels are empty.
///
/// ```
/// use reprise_dataflows::keys::label::Label;
/// use reprise_dataflows::keys::labels::Labels;
///
/// // The key of a grouping that counts by country and device.
/// let labels: Labels = ["PT", "mobile"].into_iter().map(Label::new).collect();
/// assert_eq!(labels.get(1).as_str(), "mobile");
/// // A grouping without dimensions has no labels.
/// assert_eq!(Labels::default().get(0).as_str(), "");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Held);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    Two([Label; 2]),
    /// Three or more.
    More(Box<[Label]>),
}

impl Clone for Held {
    // A call for each update is 6 % of a replay of many tracks, so the usual case is copied inline.
    #[inline(always)]
    fn clone(&self) -> Self {
        match self {
            Self::Two([first, second]) => Self::Two([first.clone(), second.clone()]),
            Self::More(labels) => Self::More(copy(labels)),
        }
    }
}

#[cold]
fn copy(labels: &[Label]) -> Box<[Label]> {
    labels.into()
}

const _: () = assert!(size_of::<Labels>() == 2 * size_of::<Label>());

impl Labels {
    /// The label at the index `place`; empty if there is none.
    pub fn get(&self, place: usize) -> Label {
        self.as_slice().get(place).cloned().unwrap_or_default()
    }

    /// All labels, at least two: absent ones are empty.
    pub fn as_slice(&self) -> &[Label] {
        match &self.0 {
            Held::Two(labels) => labels,
            Held::More(labels) => labels,
        }
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self(Held::Two(Default::default()))
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        let mut labels = labels.into_iter();
        let two = [labels.next().unwrap_or_default(), labels.next().unwrap_or_default()];
        match labels.next() {
            None => Self(Held::Two(two)),
            Some(third) => Self(Held::More(two.into_iter().chain([third]).chain(labels).collect())),
        }
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().iter().for_each(|label| label.hash(state));
    }
}

impl std::fmt::Debug for Labels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_slice().fmt(formatter)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Label>::deserialize(deserializer).map(|labels| labels.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_values() {
        for texts in [&[][..], &["US"], &["US", "mobile"], &["US", "", "a city with a long name"]] {
            let labels: Labels = texts.iter().map(|text| Label::new(text)).collect();
            for place in 0..4 {
                assert_eq!(labels.get(place).as_str(), texts.get(place).copied().unwrap_or_default());
            }
            assert_eq!(labels, labels.as_slice().iter().cloned().collect());
        }
    }
}
