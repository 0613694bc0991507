//! Frames: a 32-bit length in the machine's byte order, and that many bytes of JSON.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Why no further frame can be read.
pub(crate) enum Unreadable {
    /// The stream is over, within a frame or between two.
    Ended,
    /// What came is no frame.
    Broken(String),
}

/// The next frame's bytes.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    limit: usize,
) -> Result<Vec<u8>, Unreadable> {
    let mut prefix = [0; 4];
    reader
        .read_exact(&mut prefix)
        .await
        .map_err(|_| Unreadable::Ended)?;
    let length = u32::from_ne_bytes(prefix) as usize;
    if length == 0 || length > limit {
        return Err(Unreadable::Broken(misfit(prefix, length, limit)));
    }
    let mut payload = Vec::with_capacity(length.min(64 * 1024));
    // Not allocated at once: a length is only a promise.
    reader
        .take(length as u64)
        .read_to_end(&mut payload)
        .await
        .map_err(|_| Unreadable::Ended)?;
    if payload.len() == length {
        Ok(payload)
    } else {
        Err(Unreadable::Ended)
    }
}

fn misfit(prefix: [u8; 4], length: usize, limit: usize) -> String {
    let printable = prefix
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    if printable {
        let text = String::from_utf8_lossy(&prefix);
        return format!("text where a frame was expected; it begins with {text:?}");
    }
    format!("a frame of {length} bytes, where 1 to {limit} were agreed on")
}

/// The frame of a payload, whose length a caller has checked.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(payload.len() + 4);
    frame.extend_from_slice(&length.to_ne_bytes());
    frame.extend_from_slice(payload);
    frame
}
