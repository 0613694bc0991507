//! A descriptor that is readable while something waits, so that event loops can wait on it.
//!
//! `eventfd` where there is one (one descriptor, one word in the kernel), else a pipe. Other systems have neither
//! and wait by [`crate::Engine::wait`].

#[cfg(any(target_os = "linux", target_os = "android"))]
mod eventfd;
#[cfg(all(unix, any(test, not(any(target_os = "linux", target_os = "android")))))]
mod pipe;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use eventfd::Signal;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub(crate) use pipe::Signal;

#[cfg(not(unix))]
pub(crate) struct Signal;

#[cfg(not(unix))]
impl Signal {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self)
    }
    pub(crate) fn raise(&self) {}
    pub(crate) fn lower(&self) {}
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::fd::BorrowedFd;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_readable(fd: BorrowedFd<'_>) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1))
    }

    /// The same for both kinds, which share no trait.
    macro_rules! signal_tests {
        ($name:ident, $signal:ty) => {
            #[test]
            fn $name() {
                let signal = <$signal>::new().unwrap();
                assert!(!is_readable(signal.fd()));
                signal.lower();
                for _ in 0..3 {
                    for _ in 0..100_000 {
                        signal.raise();
                    }
                    assert!(is_readable(signal.fd()));
                    signal.lower();
                    assert!(!is_readable(signal.fd()));
                }
            }
        };
    }

    signal_tests!(the_chosen_kind_is_readable_while_raised, super::Signal);
    signal_tests!(a_pipe_is_readable_while_raised, super::pipe::Signal);
}
