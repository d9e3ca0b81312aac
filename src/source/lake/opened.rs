//! A file of the lake that is open: its footer has been read and fits the log.

use crate::lake::LakeFile;
use crate::lake::footer_checksum::FooterChecksum;
use anyhow::{Result, ensure};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use std::fs::File;
use std::sync::Arc;

/// A file whose footer is as it was written, and as the log says.
pub struct Opened {
    pub content: File,
    pub checksum: FooterChecksum,
    pub metadata: Arc<ParquetMetaData>,
}

impl Opened {
    pub fn new(file: &LakeFile) -> Result<Self> {
        let content = File::open(&file.path)?;
        let size_bytes = content.metadata()?.len();
        ensure!(size_bytes == file.size_bytes, "it has {size_bytes} bytes, and the log says {}", file.size_bytes);
        let checksum = FooterChecksum::read(&content)?;
        let metadata = Arc::new(ParquetMetaDataReader::new().parse_and_finish(&content)?);
        let rows = metadata.file_metadata().num_rows() as u64;
        ensure!(rows == file.rows, "it has {rows} rows, and the log says {}", file.rows);
        Ok(Self { content, checksum, metadata })
    }
}
