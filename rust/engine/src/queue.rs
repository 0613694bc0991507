//! Events on their way out: pushed by steps, drained in bulk.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::event::Event;
use crate::signal::Signal;

/// A queue whose signal is raised exactly while it holds events.
///
/// It has no bound of its own: the requests at work and their `max_tokens` bound it.
pub(crate) struct EventQueue {
    state: Mutex<State>,
    arrived: Condvar,
    signal: Signal,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    closed: bool,
}

impl EventQueue {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            signal: Signal::new()?,
        })
    }

    /// Adds events in their order and leaves `events` empty.
    pub(crate) fn push(&self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let mut state = self.lock();
        if state.events.is_empty() {
            self.signal.raise();
        }
        state.events.append(events);
        drop(state);
        self.arrived.notify_all();
    }

    /// Takes all events.
    pub(crate) fn drain(&self) -> Vec<Event> {
        let mut state = self.lock();
        if !state.events.is_empty() {
            self.signal.lower();
        }
        mem::take(&mut state.events)
    }

    /// Blocks until there are events (true), or the time is over or no more can come (false).
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> bool {
        let idle = |state: &mut State| state.events.is_empty() && !state.closed;
        let state = self.lock();
        let state = match timeout {
            Some(timeout) => {
                self.arrived
                    .wait_timeout_while(state, timeout, idle)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => self
                .arrived
                .wait_while(state, idle)
                .unwrap_or_else(PoisonError::into_inner),
        };
        !state.events.is_empty()
    }

    /// Says that no more events come, so that nobody waits for them.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Events that wait to be drained.
    pub(crate) fn len(&self) -> usize {
        self.lock().events.len()
    }

    #[cfg(unix)]
    pub(crate) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.signal.fd()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(id: u64) -> Event {
        Event::Failed {
            id,
            error: String::new(),
        }
    }

    #[test]
    fn events_come_out_once_and_in_order() {
        let queue = EventQueue::new().unwrap();
        queue.push(&mut vec![failed(1), failed(2)]);
        queue.push(&mut vec![failed(3)]);
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.drain(), [failed(1), failed(2), failed(3)]);
        assert_eq!(queue.drain(), []);
    }

    #[cfg(unix)]
    #[test]
    fn the_descriptor_is_readable_while_events_wait() {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let queue = EventQueue::new().unwrap();
        let is_readable = || {
            let mut fds = [PollFd::from_borrowed_fd(queue.fd(), PollFlags::IN)];
            poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
        };
        for _ in 0..2 {
            assert!(!is_readable());
            queue.push(&mut vec![failed(1)]);
            queue.push(&mut vec![failed(2)]);
            assert!(is_readable());
            queue.drain();
            assert!(!is_readable());
            queue.push(&mut vec![]);
            queue.drain();
        }
    }

    #[test]
    fn waiting_ends_with_an_event_a_timeout_or_the_end() {
        let queue = EventQueue::new().unwrap();
        assert!(!queue.wait(Some(Duration::ZERO)));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.wait(None));
            queue.push(&mut vec![failed(1)]);
            assert!(waiter.join().unwrap());
        });
        queue.close();
        assert!(queue.wait(None));
        queue.drain();
        assert!(!queue.wait(None));
    }
}
