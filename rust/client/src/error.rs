//! What can go wrong: what the host refuses (the catalogue of the wire), and what becomes of the host itself.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::messages::Usage;

/// Why a request, or a start, came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host refuses, or failed at it.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The host, or the connection to it, ended while an answer was expected. It may have begun the request.
    #[error(transparent)]
    HostDied(Arc<Death>),
    /// The host is not running and will not be started again; `why` says since when.
    #[error("the host has been stopped: {why}")]
    Stopped {
        /// What was the matter.
        why: String,
    },
    /// The program could not be started.
    #[error("{program} could not be started: {source}")]
    Spawn {
        /// What was to be started.
        program: String,
        /// What the system says.
        source: Arc<std::io::Error>,
    },
    /// Nobody listens there.
    #[error("no host listens at {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: Arc<std::io::Error>,
    },
    /// The two sides do not trust each other.
    #[error("{problem}")]
    Handshake {
        /// What was wrong.
        problem: String,
    },
    /// The two sides speak different versions of the protocol; the text says which side to update.
    #[error("{problem}")]
    UnsupportedProtocol {
        /// What was wrong.
        problem: String,
        /// The versions that the host speaks.
        supported: Vec<String>,
    },
    /// The host did not introduce itself in the time that it was given.
    #[error(
        "the host did not introduce itself within {waited:?}{}",
        after(last_words)
    )]
    StartTimeout {
        /// How long it was given.
        waited: Duration,
        /// The last lines of its stderr.
        last_words: Vec<String>,
    },
    /// No answer within the time that the caller gave. The request has been cancelled.
    #[error("the host did not answer within {waited:?}")]
    Timeout {
        /// How long it was given.
        waited: Duration,
    },
    /// The host sent something that the wire contract rules out.
    #[error("the host broke the wire contract: {problem}")]
    Broken {
        /// What it sent.
        problem: String,
    },
    /// More of an answer is waiting to be taken from its stream than may wait. It has been cancelled.
    #[error("the stream was not read: {limit} bytes of it were waiting, so it was cancelled")]
    SlowReader {
        /// What may wait ([`Settings::stream_buffer`](crate::Settings::stream_buffer)), in bytes.
        limit: usize,
    },
    /// The request, or its answer, is longer than the limit.
    #[error("{what} of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// Which of the two.
        what: &'static str,
        /// How long it is, as far as is known.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The params cannot be told in JSON.
    #[error("the params of {method} are no JSON: {problem}")]
    InvalidParams {
        /// Of which request.
        method: String,
        /// What is wrong with them.
        problem: String,
    },
    /// The answer is not of the type that was asked for.
    #[error("the answer to {method} is not of its type: {problem}")]
    InvalidResult {
        /// Of which request.
        method: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The random numbers for a handshake, or the pipe for a secret, could not be had.
    #[error("{problem}")]
    System {
        /// What the system says.
        problem: String,
    },
}

impl Error {
    /// What the host answered, where it did.
    pub fn rpc(&self) -> Option<&RpcError> {
        match self {
            Self::Rpc(error) => Some(error),
            _ => None,
        }
    }

    /// The catalogue's name of what the host answered, where it did.
    pub fn kind(&self) -> Option<&ErrorKind> {
        self.rpc().map(|error| &error.kind)
    }

    /// Whether the host ended while an answer was expected.
    pub fn is_host_death(&self) -> bool {
        matches!(self, Self::HostDied(_))
    }

    /// Whether another start would end in the same way.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Handshake { .. } | Self::UnsupportedProtocol { .. } => true,
            Self::Rpc(error) => {
                matches!(
                    error.kind,
                    ErrorKind::Unauthenticated | ErrorKind::PermissionDenied
                )
            }
            Self::Spawn { source, .. } => matches!(
                source.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied
            ),
            _ => false,
        }
    }
}

/// How a host ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Death {
    /// What happened, in words.
    pub what: String,
    /// The exit code, where the host is a child that exited.
    pub exit_code: Option<i32>,
    /// The signal, where the host is a child that was killed by one.
    pub signal: Option<i32>,
    /// The last lines of its stderr, oldest first.
    pub last_words: Vec<String>,
}

impl fmt::Display for Death {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.what, after(&self.last_words))
    }
}

impl std::error::Error for Death {}

fn after(last_words: &[String]) -> String {
    if last_words.is_empty() {
        return String::new();
    }
    format!("; its last words:\n  {}", last_words.join("\n  "))
}

/// An error that the host answered (`docs/protocol.md`, Errors).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct RpcError {
    /// JSON-RPC's code.
    pub code: i64,
    /// Its name in the catalogue.
    pub kind: ErrorKind,
    /// What happened, in words.
    pub message: String,
    /// What the catalogue's row says, `kind` included.
    pub data: Box<Map<String, Value>>,
}

impl RpcError {
    /// The text so far, of a request that was cancelled or timed out.
    pub fn text(&self) -> Option<&str> {
        self.data.get("text").and_then(Value::as_str)
    }

    /// What that text took.
    pub fn usage(&self) -> Option<Usage> {
        Usage::deserialize(self.data.get("usage")?).ok()
    }

    /// When to ask again, where the host is busy or a limit was reached.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.data.get("retry_after_s").and_then(Value::as_f64)?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

impl RpcError {
    /// What a host answers to a request that was cancelled before anything came of it.
    pub(crate) fn cancelled() -> Self {
        let kind = ErrorKind::Cancelled;
        let mut data = Map::new();
        data.insert("kind".to_owned(), kind.name().into());
        Self {
            code: -32800,
            kind,
            message: "the request was cancelled".to_owned(),
            data: Box::new(data),
        }
    }
}

/// An error as the wire has it.
#[derive(Deserialize)]
pub(crate) struct WireError {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Option<Map<String, Value>>,
}

impl From<WireError> for RpcError {
    fn from(wire: WireError) -> Self {
        let data = wire.data.unwrap_or_default();
        let kind = ErrorKind::from_wire(data.get("kind").and_then(Value::as_str), wire.code);
        Self {
            code: wire.code,
            kind,
            message: wire.message,
            data: Box::new(data),
        }
    }
}

macro_rules! catalogue {
    ($($kind:ident $name:literal $code:literal $text:literal;)*) => {
        /// The names of the catalogue (`docs/protocol.md`, Errors).
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $(#[doc = $text] $kind,)*
            /// One that this client does not know: the host is newer.
            Other(String),
        }

        impl ErrorKind {
            /// Every name and its code, in the catalogue's order.
            pub const CATALOGUE: &'static [(&'static str, i64)] = &[$(($name, $code)),*];

            /// Its name on the wire.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$kind => $name,)*
                    Self::Other(name) => name,
                }
            }

            fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$kind),)*
                    _ => None,
                }
            }
        }
    };
}

catalogue! {
    ParseError "parse_error" -32700 "A frame held no JSON.";
    InvalidRequest "invalid_request" -32600 "No valid request.";
    FrameTooLarge "frame_too_large" -32600 "A frame is over the host's limit.";
    BatchTooLarge "batch_too_large" -32600 "A batch has too many members.";
    DuplicateId "duplicate_id" -32600 "An id is in flight already.";
    MethodNotFound "method_not_found" -32601 "No such method.";
    InvalidParams "invalid_params" -32602 "The params are wrong; `path` and `problem` say where and how.";
    InternalError "internal_error" -32603 "A fault of the host; its log has the `incident`.";
    Cancelled "cancelled" -32800 "Cancelled; `text` and `usage` hold what there was.";
    Unauthenticated "unauthenticated" -32001 "Authenticate first.";
    NotInitialized "not_initialized" -32002 "Initialize first.";
    PermissionDenied "permission_denied" -32003 "This peer may not; `scope` is what is missing.";
    UnsupportedProtocol "unsupported_protocol" -32004 "Another version of the protocol.";
    ModelNotFound "model_not_found" -32010 "No such model; `nearest` are like it.";
    ModelLoadFailed "model_load_failed" -32011 "The model could not be loaded.";
    InsufficientMemory "insufficient_memory" -32012 "The model does not fit.";
    Unsupported "unsupported" -32013 "Not supported here; `install` may bring it.";
    InvalidModelFile "invalid_model_file" -32014 "The model's file is damaged.";
    ModelAbsent "model_absent" -32015 "The model is not on this machine; `command` gets it.";
    DownloadFailed "download_failed" -32016 "A download failed.";
    AdapterNotFound "adapter_not_found" -32017 "No such adapter.";
    SessionNotFound "session_not_found" -32018 "No such session (any more).";
    StreamNotFound "stream_not_found" -32019 "No such stream (any more).";
    RateLimited "rate_limited" -32020 "Too many requests.";
    Overloaded "overloaded" -32021 "Too much is waiting.";
    Timeout "timeout" -32022 "The request's `timeout_s` is over; `text` and `usage` hold what there was.";
    InputTooLong "input_too_long" -32023 "The input is over the limit.";
    ContentRejected "content_rejected" -32024 "A content rule refuses it.";
    QuotaExceeded "quota_exceeded" -32025 "The tokens of the day are used up.";
    ShuttingDown "shutting_down" -32026 "The host is shutting down.";
    WorkerCrashed "worker_crashed" -32030 "The model's worker process died.";
}

impl ErrorKind {
    /// The kind by its name; where there is none, the first of the catalogue with this code.
    fn from_wire(name: Option<&str>, code: i64) -> Self {
        if let Some(name) = name {
            return Self::from_name(name).unwrap_or_else(|| Self::Other(name.to_owned()));
        }
        Self::CATALOGUE
            .iter()
            .find(|(_, known)| *known == code)
            .and_then(|(name, _)| Self::from_name(name))
            .unwrap_or_else(|| Self::Other(code.to_string()))
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_that_of_the_wire() {
        let contract = include_str!("../../../docs/protocol.md");
        let table = contract
            .split("<!-- generated: errors -->")
            .nth(1)
            .and_then(|rest| rest.split("<!-- /generated -->").next())
            .unwrap();
        let rows: Vec<(&str, i64)> = table
            .lines()
            .filter(|line| line.starts_with("| -"))
            .filter(|line| !line.starts_with("| ---"))
            .map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                (cells[2].trim_matches('`'), cells[1].parse().unwrap())
            })
            .collect();
        assert_eq!(rows, ErrorKind::CATALOGUE);
    }

    #[test]
    fn a_kind_that_is_not_known_keeps_its_name() {
        let wire: WireError = serde_json::from_str(
            r#"{"code": -32099, "message": "m", "data": {"kind": "brand_new"}}"#,
        )
        .unwrap();
        assert_eq!(
            RpcError::from(wire).kind,
            ErrorKind::Other("brand_new".to_owned())
        );
        let bare: WireError = serde_json::from_str(r#"{"code": -32601, "message": "m"}"#).unwrap();
        assert_eq!(RpcError::from(bare).kind, ErrorKind::MethodNotFound);
    }
}
