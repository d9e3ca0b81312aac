//! The content of an object: of one that is complete, and of one that is being written.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// Content that can be read at any offset, by several threads.
pub trait ReadAt: Send + Sync {
    /// The size in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills `bytes` from the offset `at` on, or fails.
    fn fill(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

/// An object that is being written. It is not one before [`Draft::sync`]: if that is not reached,
/// the writer deletes what there is.
pub trait Draft: ReadAt + Write {
    /// Writes `bytes` over those at the offset `at`.
    fn overwrite(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes the content complete and durable.
    fn sync(&self) -> io::Result<()>;
}

/// A complete object, open for reading. Its length is that at the moment of opening.
#[derive(Clone)]
pub struct Object {
    content: Arc<dyn ReadAt>,
    length: u64,
}

/// Reads an object from an offset to its end.
pub struct Rest {
    object: Object,
    at: u64,
}

impl Object {
    /// Opens `content`.
    ///
    /// # Errors
    /// If its length is unknown.
    pub fn new(content: impl ReadAt + 'static) -> io::Result<Self> {
        Ok(Self { length: content.length()?, content: Arc::new(content) })
    }

    /// The size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.length
    }

    /// A reader of the bytes from the offset `at` on, in order.
    pub fn reader(&self, at: u64) -> BufReader<Rest> {
        BufReader::new(Rest { object: self.clone(), at })
    }

    /// How many of `wanted` bytes there are from the offset `at` on.
    fn available(&self, at: u64, wanted: usize) -> usize {
        (wanted as u64).min(self.length.saturating_sub(at)) as usize
    }
}

impl ReadAt for Object {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn fill(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.content.fill(bytes, at)
    }
}

impl Read for Rest {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let some = self.object.available(self.at, bytes.len());
        self.object.fill(&mut bytes[..some], self.at)?;
        self.at += some as u64;
        Ok(some)
    }
}

impl Length for Object {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Object {
    type T = BufReader<Rest>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.reader(start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let available = self.available(start, length);
        if available < length {
            return Err(ParquetError::EOF(format!("Expected to read {length} bytes, read only {available}")));
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

impl ReadAt for Vec<u8> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn fill(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let part = self.get(at as usize..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(part.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// In memory, for files that are written in one piece.
impl Draft for Vec<u8> {
    fn overwrite(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let part = self.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
        part.ok_or(ErrorKind::UnexpectedEof)?.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadAt for Box<dyn Draft> {
    fn length(&self) -> io::Result<u64> {
        (**self).length()
    }

    fn fill(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        (**self).fill(bytes, at)
    }
}

impl Draft for Box<dyn Draft> {
    fn overwrite(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        (**self).overwrite(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }
}
