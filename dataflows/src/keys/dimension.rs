//! The columns of a play by which charts can be split into scopes.
//!
//! This table is all that there is to a dimension: a new one is a line here, and a column of [`crate::play::schema`].

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The label of plays without a value: a scope of its own, so that the scopes of a dimension add up to all plays.
pub const NONE: &str = "none";

/// A line of the table.
struct About {
    /// In `charts.toml`, and the prefix of scopes.
    name: &'static str,
    /// In [`crate::play::schema`].
    column: &'static str,
    /// Whether people write its values without the prefix, as in `US`.
    is_bare: bool,
    /// Whether a value can be one although no play has had it yet.
    is_plausible: fn(&str) -> bool,
    /// For messages: some of its scopes, and what a value must be.
    examples: &'static str,
    expected: &'static str,
}

const TABLE: &[About] = &[
    About {
        name: "country",
        column: "country",
        is_bare: true,
        is_plausible: |value| value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase()),
        examples: "countries such as `US`",
        expected: "a country of two capital letters",
    },
    About {
        name: "device",
        column: "device",
        is_bare: false,
        is_plausible: |_| false,
        examples: "devices such as `device:mobile`",
        expected: "a device that was ever seen",
    },
    About {
        name: "city",
        column: "city",
        is_bare: false,
        is_plausible: |_| false,
        examples: "cities such as `city:Lisbon`",
        expected: "a city that was ever seen",
    },
];

/// A column by which charts can be split, as its line in the table. Dimensions are ordered as they are there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dimension(u8);

impl Dimension {
    pub const COUNTRY: Self = Self(0);
    pub const DEVICE: Self = Self(1);
    /// How many there are.
    pub const COUNT: usize = TABLE.len();

    /// Every dimension, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len() as u8).map(Self)
    }

    /// The dimension called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|dimension| dimension.name() == name)
    }

    /// The dimension whose values are written without a prefix.
    pub fn bare() -> Option<Self> {
        Self::all().find(|dimension| dimension.is_bare())
    }

    fn about(self) -> &'static About {
        &TABLE[usize::from(self.0)]
    }

    /// Its place in the table, from 0.
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// What it is called in `charts.toml`, and what its scopes begin with.
    pub fn name(self) -> &'static str {
        self.about().name
    }

    /// Its column in [`crate::play::schema`].
    pub fn column(self) -> &'static str {
        self.about().column
    }

    /// Whether people write its values without a prefix, as in `US`.
    pub fn is_bare(self) -> bool {
        self.about().is_bare
    }

    /// Whether `value` can be one of its values although no play has had it yet.
    pub fn is_plausible(self, value: &str) -> bool {
        (self.about().is_plausible)(value)
    }

    /// Some of its scopes, for messages.
    pub fn examples(self) -> &'static str {
        self.about().examples
    }

    /// What a value must be, for messages.
    pub fn expected(self) -> &'static str {
        self.about().expected
    }
}

impl fmt::Debug for Dimension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// By its name.
impl Serialize for Dimension {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Dimension {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| D::Error::custom(format!("`{name}` is not a dimension")))
    }
}
