//! A signal by a pipe, for Unix systems without `eventfd`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};

/// Raised or not; raising twice is raising once.
pub(crate) struct Signal {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Signal {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe()?;
        for end in [&reader, &writer] {
            ioctl_fionbio(end, true)?;
            fcntl_setfd(end, FdFlags::CLOEXEC)?;
        }
        Ok(Self { reader, writer })
    }

    pub(crate) fn raise(&self) {
        // It can only fail where the pipe is full, and then the descriptor is readable already.
        let _ = rustix::io::write(&self.writer, &[1]);
    }

    pub(crate) fn lower(&self) {
        let mut sink = [0u8; 4096];
        while rustix::io::read(&self.reader, &mut sink).is_ok_and(|count| count == sink.len()) {}
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
