//! The handle that callers hold, and the thread that owns the backend.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::backend::{Backend, Limits, ModelInfo};
use crate::event::{Event, FinishReason};
use crate::inbox::{Cancelled, Inbox, Submitted};
use crate::pace::Pace;
use crate::queue::EventQueue;
use crate::request::{Request, RequestId, SubmitError};
use crate::scheduler::{Fatal, Scheduler};
use crate::sequence::ended_in_queue;
use crate::speculation::Speculation;
use crate::stats::{Stats, Totals};

/// Settings of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Most requests that wait; past it they are refused as [`SubmitError::Overloaded`].
    pub queue_bound: usize,
    /// The name of the thread that computes.
    pub thread_name: String,
    /// How long a step should take at most while requests wait for their next token: prompts are computed in chunks
    /// that keep to it, as far as measured.
    pub target_step: Duration,
    /// Fewest prompt tokens of a step, whatever it takes.
    pub least_prefill: u32,
    /// When sequences are continued by guesses from their own text. Only models with
    /// [`ModelInfo::prefix_reuse`] are, and never `deterministic` requests.
    pub speculation: Speculation,
    /// Most guessed tokens of a sequence in a step. The backend's [`Limits::n_outputs_max`] bounds them too.
    pub longest_draft: u32,
    /// Bytes of main memory for sequences that leave the KV cache for others, and may be wanted again; 0 is none.
    pub spill_bytes: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            queue_bound: 256,
            thread_name: "tabagent-engine".into(),
            target_step: Duration::from_millis(120),
            least_prefill: 32,
            speculation: Speculation::default(),
            longest_draft: 15,
            spill_bytes: 0,
        }
    }
}

/// Generates text on a thread of its own. All methods can be called from any thread.
///
/// Dropping it cancels what is left and joins the thread.
pub struct Engine {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    next_id: AtomicU64,
    queue_bound: usize,
    model: ModelInfo,
    limits: Limits,
}

struct Shared {
    inbox: Inbox,
    events: EventQueue,
    totals: Mutex<Totals>,
    pace: Mutex<Pace>,
}

impl Engine {
    /// Moves a backend onto a new thread, which waits for requests.
    ///
    /// # Errors
    /// When the system gives no descriptor or no thread.
    pub fn spawn<B: Backend + 'static>(backend: B, config: EngineConfig) -> io::Result<Self> {
        let (model, limits) = (backend.model().clone(), backend.limits());
        let shared = Arc::new(Shared {
            inbox: Inbox::default(),
            events: EventQueue::new()?,
            totals: Mutex::default(),
            pace: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        let queue_bound = config.queue_bound;
        let thread = thread::Builder::new()
            .name(config.thread_name.clone())
            .spawn(move || run(Scheduler::new(backend, &config), &of_thread))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
            next_id: AtomicU64::new(1),
            queue_bound,
            model,
            limits,
        })
    }

    /// Facts of the model.
    #[must_use]
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }

    /// What the backend's context was made for.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Queues a request. Its events can be drained before this returns.
    ///
    /// # Errors
    /// When it can't be served as it is, the queue is full, or the engine has ended.
    pub fn submit(&self, request: Request) -> Result<RequestId, SubmitError> {
        request.validate(&self.model, &self.limits)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let submitted = Submitted {
            id,
            request,
            at: Instant::now(),
        };
        let pace = *self.shared.pace();
        self.shared
            .inbox
            .submit(submitted, self.queue_bound, pace)?;
        Ok(id)
    }

    /// Ends a request in whatever state it is: at once while it waits, else by the end of the step, which is
    /// stopped if it is for nobody else. Answers whether there was such a request; its last event is still to
    /// come then, and says [`crate::FinishReason::Cancelled`] unless it ended otherwise in the same step.
    pub fn cancel(&self, id: RequestId) -> bool {
        match self.shared.inbox.cancel(id) {
            Cancelled::Unknown => false,
            Cancelled::Running => true,
            Cancelled::Waiting(submitted) => {
                self.shared.publish(&mut vec![ended_in_queue(
                    &submitted,
                    FinishReason::Cancelled,
                )]);
                true
            }
        }
    }

    /// Leaves a request out of batches until [`Self::resume`], from the next step on; for peers that do not read.
    /// It keeps its KV cache as long as others do not need the room, and its place. Answers whether there is such a
    /// request.
    pub fn pause(&self, id: RequestId) -> bool {
        self.shared.inbox.set_paused(id, true)
    }

    /// Goes on with a request where it was paused. Answers whether there is such a request.
    pub fn resume(&self, id: RequestId) -> bool {
        self.shared.inbox.set_paused(id, false)
    }

    /// All events since the last call, in their order. Never blocks.
    #[must_use]
    pub fn drain(&self) -> Vec<Event> {
        self.shared.events.drain()
    }

    /// A descriptor that is readable while events wait. Only wait on it: reading it is [`Self::drain`]'s.
    #[cfg(unix)]
    #[must_use]
    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.shared.events.fd()
    }

    /// Blocks until events wait (true), or the time is over or the engine has ended with none left (false).
    /// Without a timeout it waits as long as it takes.
    #[must_use]
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.shared.events.wait(timeout)
    }

    /// What the engine has done and holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (queued, running, closed) = self.shared.inbox.occupancy();
        let pace = *self.shared.pace();
        Stats {
            queued,
            running,
            events_waiting: self.shared.events.len(),
            retry_after: self.shared.inbox.retry_after(pace),
            totals: *self.shared.totals(),
            unusable: closed.map(|reason| reason.to_string()),
        }
    }

    /// Cancels what is left, frees the backend and joins the thread. Events can be drained afterwards.
    pub fn shutdown(&self) {
        self.shared.inbox.shut_down();
        // A second caller waits here until the first one has joined.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // The thread catches its panics and reports them as events.
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Shared {
    /// Counts events and hands them out.
    fn publish(&self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        self.inbox
            .forget(events.iter().filter(|event| event.is_last()).map(Event::id));
        let mut totals = self.totals();
        events.iter().for_each(|event| totals.observe(event));
        drop(totals);
        let mut pace = self.pace();
        events.iter().for_each(|event| pace.observe(event));
        drop(pace);
        self.events.push(events);
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all requests that are left: cancelled by a shutdown, failed by a failure.
    fn close(&self, failure: Option<String>) {
        let mut events = Vec::new();
        match failure {
            Some(reason) => {
                let orphans = self.inbox.close(SubmitError::Unusable {
                    reason: reason.clone(),
                });
                let waiting = orphans.waiting.iter().map(|submitted| submitted.id);
                let ids = orphans.running.into_iter().chain(waiting);
                events.extend(ids.map(|id| Event::Failed {
                    id,
                    error: reason.clone(),
                }));
            }
            None => {
                let orphans = self.inbox.close(SubmitError::ShutDown);
                let cancelled = |submitted| ended_in_queue(submitted, FinishReason::Cancelled);
                events.extend(orphans.waiting.iter().map(cancelled));
            }
        }
        self.publish(&mut events);
        self.events.close();
    }
}

/// The thread: serves until shutdown, a fatal failure or a panic, and then leaves no request without an end.
fn run<B: Backend>(mut scheduler: Scheduler<B>, shared: &Shared) {
    let served = catch_unwind(AssertUnwindSafe(|| serve(&mut scheduler, shared)));
    let failure = match served {
        Ok(Ok(())) => None,
        Ok(Err(Fatal(message))) => Some(message),
        Err(panic) => Some(format!(
            "the engine's thread panicked: {}",
            panic_message(panic.as_ref())
        )),
    };
    shared.close(failure);
    // Its memory is given back here. A broken backend may panic once more; everybody has been told already.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(scheduler)));
}

/// The loop of the engine: one step after another while there is something to do.
fn serve<B: Backend>(scheduler: &mut Scheduler<B>, shared: &Shared) -> Result<(), Fatal> {
    loop {
        let work = shared
            .inbox
            .next_work(scheduler.is_idle(), scheduler.room());
        work.controls
            .into_iter()
            .for_each(|(id, control)| scheduler.control(id, control));
        let late = |submitted| ended_in_queue(submitted, FinishReason::Timeout);
        scheduler.events().extend(work.late.iter().map(late));
        scheduler.end_late(Instant::now());
        work.admitted
            .into_iter()
            .for_each(|submitted| scheduler.admit(submitted));
        if work.shut_down {
            scheduler.cancel_all();
        }
        let stepped = if work.shut_down {
            Ok(())
        } else {
            step(scheduler, shared)
        };
        shared.publish(scheduler.events());
        stepped?;
        if work.shut_down {
            return Ok(());
        }
    }
}

fn step<B: Backend>(scheduler: &mut Scheduler<B>, shared: &Shared) -> Result<(), Fatal> {
    let owners = scheduler.plan();
    if owners.is_empty() || !shared.inbox.begin_batch(&owners) {
        return Ok(());
    }
    let began = Instant::now();
    let decoded = scheduler.decode(shared.inbox.abort_flag());
    let absorbed = scheduler.absorb(decoded, began.elapsed());
    shared
        .pace()
        .step(scheduler.batch_length(), began.elapsed());
    let mut totals = shared.totals();
    totals.steps += 1;
    totals.preemptions = scheduler.preemptions();
    (totals.drafted, totals.drafts_kept) = scheduler.drafted();
    totals.shifts = scheduler.shifts();
    let spilled = scheduler.spilled();
    (totals.spilled, totals.restored) = (spilled.saved, spilled.restored);
    totals.spilled_bytes = spilled.bytes as u64;
    absorbed
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
