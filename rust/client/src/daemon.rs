//! A connection to a daemon, of the user that is trusted.
//!
//! A place where others may put a socket, or where a daemon has ended, can have somebody else's process listen. It
//! is to see neither an API key nor a prompt, so the kernel is asked whose it is before a byte is sent.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::UnixStream;

use crate::error::Error;
use crate::source::Daemon;

/// Connect, and look whose process listens. Not even root is an exception.
pub(crate) async fn connect(daemon: &Daemon) -> Result<UnixStream, Error> {
    let failed = |source: io::Error| Error::Connect {
        path: daemon.path.clone(),
        source: Arc::new(source),
    };
    let stream = UnixStream::connect(&daemon.path).await.map_err(failed)?;
    let trusted = daemon.user.map_or_else(own_user, Ok).map_err(failed)?;
    let found = stream.peer_cred().map_err(failed)?.uid();
    check(&daemon.path, found, trusted)?;
    Ok(stream)
}

fn check(path: &Path, found: u32, trusted: u32) -> Result<(), Error> {
    if found == trusted {
        return Ok(());
    }
    let path = path.display();
    let problem = format!(
        "a process of user {found} listens at {path}, not one of user {trusted}, so it was told nothing; \
         if user {found} is to be trusted, say Daemon::of_user({found})"
    );
    Err(Error::Handshake { problem })
}

/// Whoever connects, as the kernel has it: the effective user, who is at the other end of a pair of one's own.
fn own_user() -> io::Result<u32> {
    let (one, _other) = UnixStream::pair()?;
    Ok(one.peer_cred()?.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_but_the_trusted_one_is_told_anything() {
        let path = Path::new("/run/native-host.sock");
        assert!(check(path, 1000, 1000).is_ok());
        for (found, trusted) in [(1000, 0), (0, 1000), (1001, 1000)] {
            let refusal = check(path, found, trusted).unwrap_err();
            assert!(refusal.is_final(), "{refusal:?}");
            let text = refusal.to_string();
            for part in [
                format!("user {found} listens at /run/native-host.sock"),
                format!("Daemon::of_user({found})"),
            ] {
                assert!(text.contains(&part), "{text}");
            }
        }
    }
}
