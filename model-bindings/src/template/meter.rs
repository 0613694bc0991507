//! What a template has used of its time and memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Time that a template may take.
const MAX_TIME: Duration = Duration::from_secs(1);
/// Bytes that a template may add to what it is given.
pub const MAX_ADDED_BYTES: usize = 256 << 10;
/// Bytes of the largest value, beside what the template is given.
const MAX_VALUE: usize = 1 << 20;
/// Bytes of all values that a template makes, whether it keeps them or not, beside a multiple of what it is given.
const MAX_MADE: usize = 64 << 20;
/// Templates that collect a conversation piece by piece make it anew with each.
const COPIES: usize = 512;
/// Bytes that may be made in any case.
const MOST_MADE: usize = 512 << 20;
/// Bytes that a value takes beside its text, about.
const NODE: usize = 32;
/// What values may take, for each byte that a template is given: a list of digits takes 16 times its JSON.
const GROWTH: usize = 32;
/// How deep lists and maps may be in each other: deeper ones could overflow the stack when they are written or freed.
const MAX_DEPTH: usize = 160;

/// Counts. Shared by everything that a template calls.
pub struct Meter {
    deadline: Instant,
    largest: usize,
    most: usize,
    made: AtomicUsize,
}

impl Meter {
    /// For a template that is given so many bytes.
    pub fn new(given: usize) -> Self {
        Self {
            deadline: Instant::now() + MAX_TIME,
            largest: MAX_VALUE + given * GROWTH,
            most: (MAX_MADE + given * COPIES).min(MOST_MADE),
            made: AtomicUsize::new(0),
        }
    }

    /// Ends a template that takes too long.
    pub fn tick(&self) -> Result<(), Error> {
        if Instant::now() > self.deadline {
            return Err(refused("the chat template took longer than a second"));
        }
        Ok(())
    }

    /// Counts bytes that are about to be made.
    pub fn make(&self, bytes: usize) -> Result<(), Error> {
        self.tick()?;
        let before = self.made.fetch_add(bytes, Ordering::Relaxed);
        if bytes > self.largest || before.saturating_add(bytes) > self.most {
            return Err(refused(
                "the chat template uses more memory than is allowed",
            ));
        }
        Ok(())
    }

    /// Counts a value that was made.
    pub fn take(&self, value: &Value) -> Result<(), Error> {
        self.make(self.weigh(value)?)
    }

    /// Counts a value whose elements were there before.
    pub fn gather(&self, value: &Value) -> Result<(), Error> {
        let bytes = self.weigh(value)?;
        match value.len() {
            Some(count) if value.as_str().is_none() => self.make_many(count, 0),
            _ => self.make(bytes),
        }
    }

    /// Counts so many values with so many bytes of text between them.
    pub fn make_many(&self, count: usize, bytes: usize) -> Result<(), Error> {
        self.make(count.saturating_mul(NODE).saturating_add(bytes))
    }

    /// Bytes of a value, as often as it holds them.
    pub fn weigh(&self, value: &Value) -> Result<usize, Error> {
        let mut room = self.largest;
        self.weigh_within(value, &mut room, MAX_DEPTH)?;
        Ok(self.largest - room)
    }

    fn weigh_within(&self, value: &Value, room: &mut usize, depth: usize) -> Result<(), Error> {
        let own = NODE + value.as_str().map_or(0, str::len);
        *room = room
            .checked_sub(own)
            .ok_or_else(|| refused("the chat template uses more memory than is allowed"))?;
        if !matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
        ) {
            return Ok(());
        }
        self.tick()?;
        let inner = depth
            .checked_sub(1)
            .ok_or_else(|| refused("the chat template puts values too deep into each other"))?;
        for element in value.try_iter()? {
            if value.kind() == ValueKind::Map {
                self.weigh_within(&value.get_item(&element)?, room, inner)?;
            }
            self.weigh_within(&element, room, inner)?;
        }
        Ok(())
    }
}

/// How a template ends that is not let go on.
pub fn refused(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}
