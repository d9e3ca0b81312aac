//! The settings of the Parquet files of a lake.

use crate::intake::SEEN;

use super::rows::CUT;
use super::table::{TableKind, WRITTEN_BY};
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

/// The greatest number of rows of a row group, the unit that readers skip or read.
pub const ROW_GROUP_ROWS_MAX: usize = 1 << 20;

/// The limit of a column's dictionary in a row group: large enough for the songs of a whole row
/// group. A column that outgrows its dictionary continues without one, and a replay counts
/// dictionary keys much faster than strings.
pub const DICTIONARY_BYTES_MAX: usize = 8 << 20;

/// The settings of each column of `kind`. Statistics cost time for every value, so only the columns
/// that readers prune by have them. A dictionary of values that hardly repeat makes a file slower
/// to write (by half, measured) and not much smaller.
pub fn properties(kind: &TableKind) -> WriterProperties {
    const TEXTS_THAT_DIFFER: [&str; 5] = ["user_id", "event_id", "detail", "key", "value"];
    // A constant as differences costs as little space as in a dictionary, and less time.
    const NUMBERS_BY_DIFFERENCE: [&str; 5] = ["kafka_offset", "duration_ms", "listened_ms", SEEN, CUT];
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(WRITTEN_BY.to_string())
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::None);
    for column in kind.bounded {
        properties = properties.set_column_statistics_enabled((*column).into(), EnabledStatistics::Chunk);
    }
    for column in TEXTS_THAT_DIFFER {
        properties = properties.set_column_dictionary_enabled(column.into(), false);
    }
    for column in NUMBERS_BY_DIFFERENCE.into_iter().chain([kind.time_column]) {
        properties = properties
            .set_column_dictionary_enabled(column.into(), false)
            .set_column_encoding(column.into(), Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}
