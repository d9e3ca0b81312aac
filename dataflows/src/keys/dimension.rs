//! The columns of a play by which charts can be split into scopes.
//!
//! The table in this file is the only definition of the dimensions. A new dimension is an entry at
//! the end of the table and a column of [`crate::play::schema`].

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The label of plays without a value. It is a scope of its own: the scopes of a dimension add up
/// to all plays.
pub const NONE: &str = "none";

/// An entry of the table.
struct DimensionProperties {
    /// The name in `charts.toml`, and the prefix of scopes.
    name: &'static str,
    /// The column of [`crate::play::schema`].
    column: &'static str,
    /// Whether its scopes are written without the prefix, as in `US`.
    is_bare: bool,
    /// Whether a value is accepted in a query although no play has had it yet.
    is_plausible: fn(&str) -> bool,
    /// For messages: examples of scopes, and the form of a value.
    examples: &'static str,
    expected: &'static str,
}

const TABLE: &[DimensionProperties] = &[
    DimensionProperties {
        name: "country",
        column: "country",
        is_bare: true,
        is_plausible: |value| value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase()),
        examples: "countries such as `US`",
        expected: "a country of two capital letters",
    },
    DimensionProperties {
        name: "device",
        column: "device",
        is_bare: false,
        is_plausible: |_| false,
        examples: "devices such as `device:mobile`",
        expected: "a device that was ever seen",
    },
    DimensionProperties {
        name: "city",
        column: "city",
        is_bare: false,
        is_plausible: |_| false,
        examples: "cities such as `city:Lisbon`",
        expected: "a city that was ever seen",
    },
];

/// A column by which charts can be split, as the index of its entry in the table. The order of
/// dimensions is that of the table.
///
/// ```
/// use reprise_dataflows::keys::dimension::Dimension;
///
/// let names: Vec<&str> = Dimension::all().map(Dimension::name).collect();
/// assert_eq!(names, ["country", "device", "city"]);
///
/// let city = Dimension::named("city").unwrap();
/// assert_eq!(city.column(), "city");
/// // A scope of a country is written `US`, a scope of any other dimension with its name.
/// assert_eq!(Dimension::all().filter(|dimension| dimension.is_bare()).count(), 1);
/// assert!(!city.is_bare());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dimension(u8);

impl Dimension {
    /// The country of the listener.
    pub const COUNTRY: Self = Self(0);
    /// The kind of device that played the track.
    pub const DEVICE: Self = Self(1);
    /// The number of dimensions.
    pub const COUNT: usize = TABLE.len();

    /// Every dimension, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len() as u8).map(Self)
    }

    /// The dimension with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|dimension| dimension.name() == name)
    }

    /// The dimension whose scopes are written without a prefix.
    pub fn bare() -> Option<Self> {
        Self::all().find(|dimension| dimension.is_bare())
    }

    fn properties(self) -> &'static DimensionProperties {
        &TABLE[usize::from(self.0)]
    }

    /// The index in the table, from 0.
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// The name in `charts.toml`, and the prefix of its scopes.
    pub fn name(self) -> &'static str {
        self.properties().name
    }

    /// The column of [`crate::play::schema`].
    pub fn column(self) -> &'static str {
        self.properties().column
    }

    /// Whether its scopes are written without a prefix, as in `US`.
    pub fn is_bare(self) -> bool {
        self.properties().is_bare
    }

    /// Whether `value` is accepted in a query although no play has had it yet.
    ///
    /// ```
    /// use reprise_dataflows::keys::dimension::Dimension;
    ///
    /// // A chart of a country without plays is empty; `us` is a mistake.
    /// assert!(Dimension::COUNTRY.is_plausible("IS"));
    /// assert!(!Dimension::COUNTRY.is_plausible("us"));
    /// // Devices have no fixed form: only those of plays are known.
    /// assert!(!Dimension::DEVICE.is_plausible("mobile"));
    /// ```
    pub fn is_plausible(self, value: &str) -> bool {
        (self.properties().is_plausible)(value)
    }

    /// Examples of its scopes, for messages.
    pub fn examples(self) -> &'static str {
        self.properties().examples
    }

    /// The form of a value, for messages.
    pub fn expected(self) -> &'static str {
        self.properties().expected
    }
}

impl fmt::Debug for Dimension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A dimension is serialized by its name.
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
