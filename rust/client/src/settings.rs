//! How a client behaves, whatever it is connected to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::host::State;

type OnState = Arc<dyn Fn(&State) + Send + Sync>;
type OnLog = Arc<dyn Fn(&str) + Send + Sync>;

/// Times, limits and callbacks; [`Settings::default`] is meant for a server that keeps a host for itself.
#[derive(Clone)]
pub struct Settings {
    /// How this program calls itself to the host.
    pub client_name: String,
    /// Its version.
    pub client_version: String,
    /// How long a host may take from its start to the end of the handshake (30 s).
    pub start_timeout: Duration,
    /// How often a host that is ready is asked for a sign of life (15 s).
    pub ping_every: Duration,
    /// How long it may take to give one (30 s); then it is killed and started again.
    pub ping_deadline: Duration,
    /// How long a host may take to end by itself once its input has ended (2 s); then it is killed.
    pub exit_grace: Duration,
    /// What happens when the host dies.
    pub restart: RestartPolicy,
    /// The longest frame taken from the host (64 MiB, at least 4,096 bytes); longer results come in parts.
    pub max_frame_in: usize,
    /// The longest result that is put together of parts (256 MiB).
    pub max_result: usize,
    /// How many bytes of one stream may wait to be taken (1 MiB); then that stream is cancelled, with
    /// [`Error::SlowReader`](crate::Error::SlowReader), and no other.
    pub stream_buffer: usize,
    /// Called with each state, in order; none is left out, as it can be with [`Host::watch`](crate::Host::watch).
    pub on_state: Option<OnState>,
    /// Called with each line of the child's stderr, where the host logs (JSON, a line each).
    pub on_log: Option<OnLog>,
}

impl Settings {
    /// With a callback for each state.
    #[must_use]
    pub fn on_state(mut self, callback: impl Fn(&State) + Send + Sync + 'static) -> Self {
        self.on_state = Some(Arc::new(callback));
        self
    }

    /// With a callback for each line of the child's stderr.
    #[must_use]
    pub fn on_log(mut self, callback: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_log = Some(Arc::new(callback));
        self
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_name: env!("CARGO_PKG_NAME").to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            start_timeout: Duration::from_secs(30),
            ping_every: Duration::from_secs(15),
            ping_deadline: Duration::from_secs(30),
            exit_grace: Duration::from_secs(2),
            restart: RestartPolicy::default(),
            max_frame_in: 64 * 1024 * 1024,
            max_result: 256 * 1024 * 1024,
            stream_buffer: 1024 * 1024,
            on_state: None,
            on_log: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("client_name", &self.client_name)
            .field("start_timeout", &self.start_timeout)
            .field("restart", &self.restart)
            .finish_non_exhaustive()
    }
}

/// When a host that was ready and died is started again (or, of a daemon, connected to again).
#[derive(Clone, Debug)]
pub struct RestartPolicy {
    /// How many starts in a row may fail or end early (5); after them the host is stopped for good. 0: never
    /// start again.
    pub limit: u32,
    /// The wait before the first of them (100 ms); it doubles each time, and half of it is random.
    pub first_wait: Duration,
    /// The longest wait (10 s).
    pub longest_wait: Duration,
    /// A host that was ready for so long (30 s) has not ended early: the count begins anew.
    pub forgiven_after: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            limit: 5,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(10),
            forgiven_after: Duration::from_secs(30),
        }
    }
}
