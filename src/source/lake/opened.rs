//! An open file of the lake, whose footer has been read and agrees with the log.

use crate::lake::LakeFile;
use crate::lake::footer_checksum::FooterChecksum;
use crate::lake::store::Object;
use anyhow::{Result, ensure};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use std::sync::Arc;

/// An open file whose footer is intact and agrees with the log.
pub struct Opened {
    /// The file itself.
    pub content: Object,
    /// The checksums of its footer and columns; absent in a file of another tool.
    pub checksum: FooterChecksum,
    /// The parsed footer.
    pub metadata: Arc<ParquetMetaData>,
}

impl Opened {
    /// Opens a file and reads its footer.
    ///
    /// # Errors
    /// If the file cannot be read, or if its size, checksum or number of rows is wrong.
    pub fn new(file: &LakeFile) -> Result<Self> {
        let content = file.place.open()?;
        let size_bytes = content.size_bytes();
        ensure!(size_bytes == file.size_bytes, "it has {size_bytes} bytes, and the log says {}", file.size_bytes);
        let checksum = FooterChecksum::read(&content)?;
        let metadata = Arc::new(ParquetMetaDataReader::new().parse_and_finish(&content)?);
        let rows = metadata.file_metadata().num_rows() as u64;
        ensure!(rows == file.rows, "it has {rows} rows, and the log says {}", file.rows);
        Ok(Self { content, checksum, metadata })
    }
}
