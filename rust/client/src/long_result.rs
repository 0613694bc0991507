//! Results that come in parts (`$/chunk`), put together and checked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Params of `$/chunk`.
#[derive(Deserialize)]
pub(crate) struct Chunk<'a> {
    pub(crate) id: u64,
    index: u64,
    #[serde(borrow)]
    data: std::borrow::Cow<'a, str>,
}

/// The answer that stands for the parts.
#[derive(Deserialize)]
struct Told {
    chunked: bool,
    chunks: u64,
    sha256: String,
}

/// The parts of one result so far.
#[derive(Default)]
pub(crate) struct LongResult {
    bytes: Vec<u8>,
    parts: u64,
}

impl LongResult {
    /// One more part; no more than `limit` bytes in all.
    pub(crate) fn add(&mut self, chunk: &Chunk<'_>, limit: usize) -> Result<(), Error> {
        if chunk.index != self.parts {
            return Err(broken(format!(
                "part {} of a long result is missing",
                self.parts
            )));
        }
        let part = STANDARD.decode(chunk.data.as_bytes()).map_err(|error| {
            broken(format!(
                "part {} of a long result is damaged: {error}",
                chunk.index
            ))
        })?;
        let bytes = self.bytes.len() + part.len();
        if bytes > limit {
            return Err(Error::TooLong {
                what: "an answer",
                bytes,
                limit,
            });
        }
        self.bytes.extend_from_slice(&part);
        self.parts += 1;
        Ok(())
    }

    /// The JSON of the result, once the answer that stands for it has come.
    pub(crate) fn joined(self, answer: &str) -> Result<Vec<u8>, Error> {
        let told: Told = serde_json::from_str(answer).map_err(|error| {
            broken(format!("a long result ended without its checksum: {error}"))
        })?;
        let digest = base16ct::lower::encode_string(&Sha256::digest(&self.bytes));
        if !told.chunked || told.chunks != self.parts || !told.sha256.eq_ignore_ascii_case(&digest)
        {
            return Err(broken(
                "a long result does not match its checksum".to_owned(),
            ));
        }
        Ok(self.bytes)
    }

    /// Whether nothing has come: the answer stands for itself.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts == 0
    }
}

fn broken(problem: String) -> Error {
    Error::Broken { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(index: u64, data: &str) -> Chunk<'_> {
        Chunk {
            id: 1,
            index,
            data: data.into(),
        }
    }

    fn told(chunks: u64, of: &[u8]) -> String {
        let digest = base16ct::lower::encode_string(&Sha256::digest(of));
        format!(r#"{{"chunked": true, "chunks": {chunks}, "sha256": "{digest}"}}"#)
    }

    #[test]
    fn parts_are_joined_in_order() {
        let mut result = LongResult::default();
        assert!(result.is_empty());
        for (index, part) in [b"[1, ".as_slice(), b"2]"].iter().enumerate() {
            result
                .add(&chunk(index as u64, &STANDARD.encode(part)), 100)
                .unwrap();
        }
        assert_eq!(result.joined(&told(2, b"[1, 2]")).unwrap(), b"[1, 2]");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let part = STANDARD.encode(b"[1, 2]");
        let whole = || {
            let mut result = LongResult::default();
            result.add(&chunk(0, &part), 100).unwrap();
            result
        };
        assert!(
            whole().joined(&told(1, b"[1, 3]")).is_err(),
            "another checksum"
        );
        assert!(
            whole().joined(&told(2, b"[1, 2]")).is_err(),
            "another number of parts"
        );
        assert!(whole().joined("[1, 2]").is_err(), "no checksum");
        assert!(
            LongResult::default().add(&chunk(1, &part), 100).is_err(),
            "a gap"
        );
        assert!(
            LongResult::default().add(&chunk(0, "%%%"), 100).is_err(),
            "no base64"
        );
        assert!(matches!(
            LongResult::default().add(&chunk(0, &part), 5),
            Err(Error::TooLong { bytes: 6, .. })
        ));
    }
}
