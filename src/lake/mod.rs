//! The lake: writing, committing and listing the table.
