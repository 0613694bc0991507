#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod backoff;
mod call;
mod child;
#[cfg(unix)]
mod daemon;
mod error;
mod frames;
mod handshake;
mod host;
mod link;
mod long_result;
pub mod messages;
mod running;
mod settings;
mod source;
mod stream;
mod supervisor;

pub use call::Call;
pub use error::{Death, Error, ErrorKind, RpcError};
pub use handshake::Introduction;
pub use host::{Host, State};
pub use messages::{Finish, Piece, Progress, Request, Streamed};
pub use settings::{RestartPolicy, Settings};
pub use source::{Credentials, Daemon, HostCommand};
pub use stream::{AnswerStream, Event};
pub use supervisor::Exit;

/// The guide's example, which is run: by `native-host` of the path, with its own models.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/botserver.md")]
struct Guide;
