//! What callers want from the engine's thread: requests that wait, and cancellations and pauses of those at work.
//!
//! One lock guards it all, so that a cancellation meets a request in exactly one of its states.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::AbortFlag;
use crate::pace::Pace;
use crate::request::{Request, RequestId, SubmitError};

/// A request that was overtaken this often is as urgent as if its priority were one higher.
const AGEING: u32 = 8;

/// A request on its way in.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) id: RequestId,
    pub(crate) request: Request,
    pub(crate) at: Instant,
}

/// What is asked about a request at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Cancel,
    /// Leave it out of batches.
    Pause,
    /// Go on with it.
    Resume,
}

/// What the thread is to do before its next step, in this order.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) controls: Vec<(RequestId, Control)>,
    /// Requests whose deadline passed while they waited.
    pub(crate) late: Vec<Submitted>,
    pub(crate) admitted: Vec<Submitted>,
    pub(crate) shut_down: bool,
}

/// What became of a cancellation.
#[derive(Debug)]
pub(crate) enum Cancelled {
    /// There is no such request (any more).
    Unknown,
    /// It had not begun; it is the caller's now.
    Waiting(Box<Submitted>),
    /// The thread will end it by the end of the step.
    Running,
}

/// Requests that nobody will serve.
#[derive(Debug)]
pub(crate) struct Orphans {
    pub(crate) running: Vec<RequestId>,
    pub(crate) waiting: Vec<Submitted>,
}

#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
    abort: AbortFlag,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    running: HashSet<RequestId>,
    /// What the thread has not seen yet about running requests.
    controls: Vec<(RequestId, Control)>,
    /// Requests in the current batch that are not cancelled. It stays as it is when the batch is done: an abort
    /// that comes too late is cleared before the next one.
    in_batch: Vec<RequestId>,
    shut_down: bool,
    /// Why no request is taken any more.
    closed: Option<SubmitError>,
}

/// A request in the queue.
struct Waiting {
    submitted: Submitted,
    paused: bool,
    /// How many requests left the queue before it that came later.
    overtaken: u32,
}

impl Waiting {
    fn deadline(&self) -> Option<Instant> {
        self.submitted.request.deadline
    }

    fn urgency(&self) -> i64 {
        i64::from(self.submitted.request.priority) + i64::from(self.overtaken / AGEING)
    }
}

impl Inbox {
    /// The flag that stops a decode when all requests in it are cancelled.
    pub(crate) fn abort_flag(&self) -> &AbortFlag {
        &self.abort
    }

    /// Queues a request, unless `bound` requests wait already.
    pub(crate) fn submit(
        &self,
        submitted: Submitted,
        bound: usize,
        pace: Pace,
    ) -> Result<(), SubmitError> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        if state.waiting.len() >= bound {
            return Err(SubmitError::Overloaded {
                queue_depth: state.waiting.len(),
                retry_after: state.retry_after(pace),
            });
        }
        state.waiting.push_back(Waiting {
            submitted,
            paused: false,
            overtaken: 0,
        });
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Cancels a request in whatever state it is.
    pub(crate) fn cancel(&self, id: RequestId) -> Cancelled {
        let mut state = self.lock();
        if let Some(index) = state.position(id) {
            return state
                .waiting
                .remove(index)
                .map_or(Cancelled::Unknown, |waiting| {
                    Cancelled::Waiting(Box::new(waiting.submitted))
                });
        }
        if !state.running.contains(&id) {
            return Cancelled::Unknown;
        }
        state.controls.push((id, Control::Cancel));
        state.in_batch.retain(|&other| other != id);
        if state.in_batch.is_empty() {
            self.abort.raise();
        }
        drop(state);
        self.changed.notify_one();
        Cancelled::Running
    }

    /// Pauses a request in whatever state it is, or lets it go on. Answers whether there is such a request.
    pub(crate) fn set_paused(&self, id: RequestId, paused: bool) -> bool {
        let mut state = self.lock();
        if let Some(index) = state.position(id) {
            state.waiting[index].paused = paused;
        } else if state.running.contains(&id) {
            let control = if paused {
                Control::Pause
            } else {
                Control::Resume
            };
            state.controls.push((id, control));
        } else {
            return false;
        }
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Asks the thread to end, and stops the decode that it is in.
    pub(crate) fn shut_down(&self) {
        let mut state = self.lock();
        state.shut_down = true;
        state.closed.get_or_insert(SubmitError::ShutDown);
        self.abort.raise();
        drop(state);
        self.changed.notify_one();
    }

    /// Takes up to `room` requests and all that is asked about others; blocks while `idle` and there is nothing.
    pub(crate) fn next_work(&self, idle: bool, room: usize) -> Work {
        let nothing = |state: &mut State| {
            idle && !state.shut_down
                && state.controls.is_empty()
                && (room == 0 || state.waiting.iter().all(|waiting| waiting.paused))
        };
        let mut state = self
            .changed
            .wait_while(self.lock(), nothing)
            .unwrap_or_else(PoisonError::into_inner);
        let controls = mem::take(&mut state.controls);
        let shut_down = state.shut_down;
        let late = state.take_late(Instant::now());
        let mut admitted = Vec::new();
        while !shut_down && admitted.len() < room {
            let Some(submitted) = state.take_next() else {
                break;
            };
            state.running.insert(submitted.id);
            // One that runs alone waits for those before it, and nobody is to come after it.
            let alone = submitted.request.deterministic;
            admitted.push(submitted);
            if alone {
                break;
            }
        }
        Work {
            controls,
            late,
            admitted,
            shut_down,
        }
    }

    /// Says whose batch is decoded next. Answers false when it is nobody's any more.
    pub(crate) fn begin_batch(&self, owners: &[RequestId]) -> bool {
        let mut state = self.lock();
        let wanted = owners
            .iter()
            .filter(|&&id| !state.controls.contains(&(id, Control::Cancel)))
            .copied()
            .collect::<Vec<_>>();
        if wanted.is_empty() || state.shut_down {
            return false;
        }
        self.abort.clear();
        state.in_batch = wanted;
        true
    }

    /// Forgets requests that are about to be reported as ended.
    pub(crate) fn forget(&self, ids: impl Iterator<Item = RequestId>) {
        let mut state = self.lock();
        for id in ids {
            state.running.remove(&id);
            state.controls.retain(|&(other, _)| other != id);
        }
    }

    /// Takes no more requests, and gives back those that are left.
    pub(crate) fn close(&self, reason: SubmitError) -> Orphans {
        let mut state = self.lock();
        state.closed.get_or_insert(reason);
        let mut running: Vec<RequestId> = state.running.drain().collect();
        running.sort_unstable();
        state.controls.clear();
        state.in_batch.clear();
        Orphans {
            running,
            waiting: state
                .waiting
                .drain(..)
                .map(|waiting| waiting.submitted)
                .collect(),
        }
    }

    /// Requests that wait, requests at work, and why no more are taken.
    pub(crate) fn occupancy(&self) -> (usize, usize, Option<SubmitError>) {
        let state = self.lock();
        (
            state.waiting.len(),
            state.running.len(),
            state.closed.clone(),
        )
    }

    /// After how long the next request leaves the queue.
    pub(crate) fn retry_after(&self, pace: Pace) -> Duration {
        self.lock().retry_after(pace)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Requests whose deadline has passed.
    fn take_late(&mut self, now: Instant) -> Vec<Submitted> {
        let (late, waiting): (Vec<Waiting>, _) = mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.deadline().is_some_and(|deadline| deadline <= now));
        self.waiting = waiting.into();
        late.into_iter().map(|waiting| waiting.submitted).collect()
    }

    fn retry_after(&self, pace: Pace) -> Duration {
        pace.next_leaves(
            self.waiting
                .iter()
                .map(|waiting| &waiting.submitted.request),
        )
    }

    /// The most urgent request; of several the one with the earliest deadline, or that has waited longest.
    fn take_next(&mut self) -> Option<Submitted> {
        let ready = self.waiting.iter().enumerate().filter(|(_, w)| !w.paused);
        let (index, _) = ready.min_by_key(|(index, waiting)| {
            let deadline = waiting.deadline();
            // One that has none comes after those that have.
            (
                Reverse(waiting.urgency()),
                deadline.is_none(),
                deadline,
                *index,
            )
        })?;
        for waiting in self.waiting.iter_mut().take(index) {
            waiting.overtaken = waiting.overtaken.saturating_add(1);
        }
        self.waiting.remove(index).map(|waiting| waiting.submitted)
    }

    fn position(&self, id: RequestId) -> Option<usize> {
        self.waiting
            .iter()
            .position(|waiting| waiting.submitted.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submitted(id: RequestId, priority: i8) -> Submitted {
        let request = Request {
            priority,
            ..Request::new(vec![1], 1)
        };
        Submitted {
            id,
            request,
            at: Instant::now(),
        }
    }

    fn ids(work: &Work) -> Vec<RequestId> {
        work.admitted.iter().map(|submitted| submitted.id).collect()
    }

    #[test]
    fn higher_priorities_go_first_and_equal_ones_in_order() {
        let inbox = Inbox::default();
        for (id, priority) in [(1, 0), (2, 5), (3, 0), (4, 5), (5, -1)] {
            inbox
                .submit(submitted(id, priority), 10, Pace::default())
                .unwrap();
        }
        assert_eq!(ids(&inbox.next_work(true, 3)), [2, 4, 1]);
        assert_eq!(ids(&inbox.next_work(false, 9)), [3, 5]);
        assert!(ids(&inbox.next_work(false, 9)).is_empty());
    }

    #[test]
    fn the_bound_is_on_those_that_wait() {
        let inbox = Inbox::default();
        inbox.submit(submitted(1, 0), 1, Pace::default()).unwrap();
        assert_eq!(
            inbox.submit(submitted(2, 0), 1, Pace::default()),
            Err(SubmitError::Overloaded {
                queue_depth: 1,
                retry_after: Pace::default().next_leaves([].into_iter())
            })
        );
        inbox.next_work(true, 1);
        inbox.submit(submitted(3, 0), 1, Pace::default()).unwrap();
    }

    #[test]
    fn a_batch_is_aborted_when_nobody_wants_it() {
        let inbox = Inbox::default();
        inbox.submit(submitted(1, 0), 9, Pace::default()).unwrap();
        inbox.submit(submitted(2, 0), 9, Pace::default()).unwrap();
        inbox.next_work(true, 2);
        assert!(inbox.begin_batch(&[1, 2]));
        assert!(matches!(inbox.cancel(1), Cancelled::Running));
        assert!(!inbox.abort_flag().is_raised());
        assert!(matches!(inbox.cancel(2), Cancelled::Running));
        assert!(inbox.abort_flag().is_raised());
        assert!(!inbox.begin_batch(&[1, 2]), "both are cancelled");
        assert_eq!(
            inbox.next_work(false, 0).controls,
            [(1, Control::Cancel), (2, Control::Cancel)]
        );
    }

    #[test]
    fn a_cancellation_that_comes_too_late_does_not_stop_the_next_batch() {
        let inbox = Inbox::default();
        inbox.submit(submitted(1, 0), 9, Pace::default()).unwrap();
        inbox.submit(submitted(2, 0), 9, Pace::default()).unwrap();
        inbox.next_work(true, 2);
        assert!(inbox.begin_batch(&[1]));
        inbox.cancel(1);
        assert!(inbox.begin_batch(&[1, 2]));
        assert!(!inbox.abort_flag().is_raised());
    }

    #[test]
    fn what_is_forgotten_cannot_be_cancelled() {
        let inbox = Inbox::default();
        inbox.submit(submitted(1, 0), 9, Pace::default()).unwrap();
        inbox.next_work(true, 1);
        inbox.cancel(1);
        inbox.forget([1].into_iter());
        assert!(matches!(inbox.cancel(1), Cancelled::Unknown));
        assert_eq!(inbox.next_work(false, 1).controls, []);
    }

    #[test]
    fn closing_gives_back_everything_once() {
        let inbox = Inbox::default();
        inbox.submit(submitted(1, 0), 9, Pace::default()).unwrap();
        inbox.next_work(true, 1);
        inbox.submit(submitted(2, 0), 9, Pace::default()).unwrap();
        let orphans = inbox.close(SubmitError::ShutDown);
        assert_eq!(orphans.running, [1]);
        assert_eq!(
            orphans
                .waiting
                .iter()
                .map(|waiting| waiting.id)
                .collect::<Vec<_>>(),
            [2]
        );
        assert_eq!(
            inbox.submit(submitted(3, 0), 9, Pace::default()),
            Err(SubmitError::ShutDown)
        );
        let orphans = inbox.close(SubmitError::Unusable {
            reason: String::new(),
        });
        assert!(orphans.running.is_empty() && orphans.waiting.is_empty());
        assert_eq!(inbox.occupancy(), (0, 0, Some(SubmitError::ShutDown)));
    }

    #[test]
    fn those_that_are_overtaken_rise() {
        let inbox = Inbox::default();
        inbox.submit(submitted(0, -1), 99, Pace::default()).unwrap();
        for id in 1..99 {
            inbox.submit(submitted(id, 1), 99, Pace::default()).unwrap();
        }
        let place = (0..99)
            .position(|_| ids(&inbox.next_work(false, 1)) == [0])
            .unwrap();
        assert_eq!(place, 2 * AGEING as usize);
    }

    fn with_deadline(id: RequestId, priority: i8, deadline: Instant) -> Submitted {
        let mut submitted = submitted(id, priority);
        submitted.request.deadline = Some(deadline);
        submitted
    }

    #[test]
    fn of_equals_the_earliest_deadline_goes_first() {
        let inbox = Inbox::default();
        let soon = Instant::now() + Duration::from_secs(600);
        let later = soon + Duration::from_secs(600);
        let all = [
            submitted(1, 0),
            with_deadline(2, 0, later),
            with_deadline(3, 0, soon),
            with_deadline(4, -1, soon),
            submitted(5, 1),
        ];
        for submitted in all {
            inbox.submit(submitted, 9, Pace::default()).unwrap();
        }
        assert_eq!(ids(&inbox.next_work(true, 9)), [5, 3, 2, 1, 4]);
    }

    #[test]
    fn who_has_no_deadline_does_not_starve() {
        let inbox = Inbox::default();
        let soon = Instant::now() + Duration::from_secs(600);
        inbox.submit(submitted(0, 0), 99, Pace::default()).unwrap();
        for id in 1..99 {
            let submitted = with_deadline(id, 0, soon);
            inbox.submit(submitted, 99, Pace::default()).unwrap();
        }
        let place = (0..99)
            .position(|_| ids(&inbox.next_work(false, 1)) == [0])
            .unwrap();
        assert_eq!(place, AGEING as usize);
    }

    #[test]
    fn who_is_late_leaves_the_queue_without_being_admitted() {
        let inbox = Inbox::default();
        let now = Instant::now();
        let future = now + Duration::from_secs(600);
        for submitted in [with_deadline(1, 0, now), with_deadline(2, 0, future)] {
            inbox.submit(submitted, 9, Pace::default()).unwrap();
        }
        let work = inbox.next_work(true, 9);
        let late: Vec<RequestId> = work.late.iter().map(|submitted| submitted.id).collect();
        assert_eq!((late, ids(&work)), (vec![1], vec![2]));
        assert_eq!(inbox.occupancy().0, 0);
    }

    #[test]
    fn who_is_paused_in_the_queue_stays_there() {
        let inbox = Inbox::default();
        inbox.submit(submitted(1, 0), 9, Pace::default()).unwrap();
        inbox.submit(submitted(2, 0), 9, Pace::default()).unwrap();
        assert!(inbox.set_paused(1, true));
        assert_eq!(ids(&inbox.next_work(true, 9)), [2]);
        assert!(inbox.set_paused(1, false));
        assert_eq!(ids(&inbox.next_work(true, 9)), [1]);
        assert!(inbox.set_paused(1, true));
        assert_eq!(
            inbox.next_work(true, 9).controls,
            [(1, Control::Pause)],
            "it is at work now"
        );
        assert!(!inbox.set_paused(3, true));
    }

    #[test]
    fn nobody_comes_in_with_one_that_runs_alone() {
        let inbox = Inbox::default();
        for id in 1..4 {
            let mut submitted = submitted(id, 0);
            submitted.request.deterministic = id == 2;
            inbox.submit(submitted, 9, Pace::default()).unwrap();
        }
        assert_eq!(ids(&inbox.next_work(true, 9)), [1, 2]);
        assert_eq!(ids(&inbox.next_work(true, 9)), [3]);
    }
}
