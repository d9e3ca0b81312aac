//! Why a `charts.toml` is refused.

/// Bytes that a `charts.toml` may have.
pub const FILE_BYTES_MAX: usize = 64 << 10;

/// Why a `charts.toml` is refused. Lines count from 1; the reader of the file adds its path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    #[error("the file has {size_bytes} bytes, and at most {FILE_BYTES_MAX} are read")]
    TooLarge { size_bytes: usize },
    #[error("line {line}: not TOML: {message}")]
    Syntax { line: usize, message: String },
    #[error("line {line}: {place}: `{field}` is unknown; possible are {possible}")]
    Unknown { line: usize, place: String, field: String, possible: String },
    #[error("line {line}: {place}: this version does not have {what} yet")]
    NotYet { line: usize, place: String, what: String },
    #[error("line {line}: {place} lacks `{field}`, which must be {possible}")]
    Missing { line: usize, place: String, field: &'static str, possible: String },
    #[error("line {line}: {place}: `{field}` is {found}, but must be {possible}")]
    Value { line: usize, place: String, field: String, found: String, possible: String },
    #[error("line {line}: {place}: {problem}")]
    Conflict { line: usize, place: String, problem: String },
}
