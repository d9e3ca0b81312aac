//! The errors of a `charts.toml`.

/// The largest `charts.toml` that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 64 << 10;

/// Why a `charts.toml` is refused. Lines are counted from 1. The message does not name the file.
///
/// ```
/// use reprise_dataflows::rules::charts_toml::DefinitionError;
/// use reprise_dataflows::rules::definition::Definitions;
///
/// let file = "[[chart]]\nname = 'hits'\nperiod = 'week'\ntop = 5000";
/// let error = Definitions::parse(file).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "line 4: chart `hits`: `top` is 5000, but must be a number from 1 to 1000",
/// );
/// // An editor may want the parts.
/// let DefinitionError::Value { line, field, .. } = error else { unreachable!() };
/// assert_eq!((line, field.as_str()), (4, "top"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The file exceeds [`FILE_BYTES_MAX`].
    #[error("the file has {size_bytes} bytes, and at most {FILE_BYTES_MAX} are read")]
    TooLarge {
        /// The size of the file.
        size_bytes: usize,
    },
    /// The text is not TOML.
    #[error("line {line}: not TOML: {message}")]
    Syntax {
        /// The line of the error.
        line: usize,
        /// The message of the TOML parser.
        message: String,
    },
    /// A field that no version has.
    #[error("line {line}: {place}: `{field}` is unknown; possible are {possible}")]
    Unknown {
        /// The line of the field.
        line: usize,
        /// The table, such as ``chart `weekly` ``.
        place: String,
        /// The name of the field.
        field: String,
        /// The names of the possible fields.
        possible: String,
    },
    /// A field or value that a later version is planned to have.
    #[error("line {line}: {place}: this version does not have {what} yet")]
    NotYet {
        /// The line of the field or value.
        line: usize,
        /// The table.
        place: String,
        /// The field or value.
        what: String,
    },
    /// A required field is absent.
    #[error("line {line}: {place} lacks `{field}`, which must be {possible}")]
    Missing {
        /// The line of the table.
        line: usize,
        /// The table.
        place: String,
        /// The name of the field.
        field: &'static str,
        /// The possible values.
        possible: String,
    },
    /// A value that the field cannot have.
    #[error("line {line}: {place}: `{field}` is {found}, but must be {possible}")]
    Value {
        /// The line of the value.
        line: usize,
        /// The table.
        place: String,
        /// The name of the field.
        field: String,
        /// The value as written, cut after 40 characters.
        found: String,
        /// The possible values.
        possible: String,
    },
    /// Fields that are possible each, but not together.
    #[error("line {line}: {place}: {problem}")]
    Conflict {
        /// The line of one of the fields.
        line: usize,
        /// The table.
        place: String,
        /// The message.
        problem: String,
    },
}
