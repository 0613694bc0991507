//! Bytes from a file, in order, with the position and what is left always known.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{GgufError, Problem};
use crate::limits::MAX_METADATA_BYTES;

const BUFFER_BYTES: usize = 256 << 10;

/// A reader that refuses to read, or to make room for, more than the file still holds.
pub(crate) struct Source<R> {
    reader: BufReader<R>,
    file: PathBuf,
    size: u64,
    position: u64,
}

impl<R: Read> Source<R> {
    pub fn new(file: &Path, reader: R, size: u64) -> Self {
        // A tiny file gets a tiny buffer: memory follows the bytes there are.
        let buffer = usize::try_from(size)
            .unwrap_or(BUFFER_BYTES)
            .clamp(1, BUFFER_BYTES);
        Self {
            reader: BufReader::with_capacity(buffer, reader),
            file: file.to_owned(),
            size,
            position: 0,
        }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// An error about what lies at `offset`.
    pub fn error_at(&self, offset: u64, problem: Problem) -> GgufError {
        GgufError {
            file: self.file.clone(),
            offset: Some(offset),
            problem,
        }
    }

    /// An error about what lies at the current position.
    pub fn error(&self, problem: Problem) -> GgufError {
        self.error_at(self.position, problem)
    }

    /// Makes sure that `count` elements of at least `bytes` bytes each can follow, before room is made for them.
    pub fn expect(
        &self,
        what: &dyn Fn() -> String,
        count: u64,
        bytes: u64,
    ) -> Result<(), GgufError> {
        let needed = count.saturating_mul(bytes);
        let available = self.size - self.position;
        if needed > available {
            return Err(self.error(Problem::Truncated {
                what: what(),
                needed,
                available,
            }));
        }
        if self.position + needed > MAX_METADATA_BYTES {
            let value = self.position + needed;
            return Err(self.error(Problem::TooLarge {
                what: format!("metadata up to the end of {}", what()),
                value,
                limit: MAX_METADATA_BYTES,
            }));
        }
        Ok(())
    }

    /// Fills `buffer` completely.
    pub fn fill(&mut self, what: &dyn Fn() -> String, buffer: &mut [u8]) -> Result<(), GgufError> {
        let needed = buffer.len() as u64;
        self.expect(what, needed, 1)?;
        match self.reader.read_exact(buffer) {
            Ok(()) => {
                self.position += needed;
                Ok(())
            }
            // The file became shorter since its size was asked for.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.error(Problem::Truncated {
                    what: what(),
                    needed,
                    available: 0,
                }))
            }
            Err(error) => Err(self.error(Problem::Io(error))),
        }
    }

    pub fn bytes<const N: usize>(
        &mut self,
        what: &dyn Fn() -> String,
    ) -> Result<[u8; N], GgufError> {
        let mut buffer = [0; N];
        self.fill(what, &mut buffer)?;
        Ok(buffer)
    }

    pub fn u32(&mut self, what: &dyn Fn() -> String) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    pub fn u64(&mut self, what: &dyn Fn() -> String) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.bytes(what)?))
    }

    /// Appends a string of at most `limit` bytes, its length before it, to `out`.
    pub fn string(
        &mut self,
        what: &dyn Fn() -> String,
        limit: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), GgufError> {
        let start = self.position;
        let length = self.u64(what)?;
        if length > limit {
            let what = format!("the length of {}", what());
            return Err(self.error_at(
                start,
                Problem::TooLarge {
                    what,
                    value: length,
                    limit,
                },
            ));
        }
        self.expect(what, length, 1)?;
        let before = out.len();
        // `expect` has bounded the length by the metadata's limit, which fits a usize.
        out.resize(before + length as usize, 0);
        self.fill(what, &mut out[before..])
    }

    /// Reads `count` elements of N bytes, piece by piece through a small buffer.
    pub fn array<const N: usize, T>(
        &mut self,
        what: &dyn Fn() -> String,
        count: u64,
        decode: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, GgufError> {
        self.expect(what, count, N as u64)?;
        let mut values = Vec::with_capacity(count as usize);
        let mut buffer = [0_u8; 8192];
        let mut left = count as usize;
        while left > 0 {
            let piece = left.min(buffer.len() / N);
            let bytes = &mut buffer[..piece * N];
            self.fill(what, bytes)?;
            let (elements, _) = bytes.as_chunks::<N>();
            values.extend(elements.iter().map(|element| decode(*element)));
            left -= piece;
        }
        Ok(values)
    }
}
