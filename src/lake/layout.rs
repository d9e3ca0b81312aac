//! The names of the folders inside a table.

/// The folder for files that no commit names yet. Readers that find files by name skip names that
/// begin with `_`.
pub const STAGING: &str = "_staging";
/// The folder of a table's log.
pub const LOG: &str = "_delta_log";

/// The folder for merged files whose originals still exist. The log names the merged files, and
/// readers that find files by name do not see them. Below this folder they have the path that they
/// will get when the originals are deleted.
pub const MERGED: &str = "_merged";
