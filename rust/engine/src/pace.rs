//! How fast requests go through the engine, for those that are told to come again later.

use std::time::Duration;

use crate::event::{Event, FinishReason};
use crate::request::Request;

/// How much a new measurement counts against those before it.
const WEIGHT: f64 = 0.1;
/// What is said until something is measured.
const UNKNOWN: Duration = Duration::from_secs(1);

/// Running measures of the engine's work.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// Seconds of a token, of a prompt or generated.
    token: Option<f64>,
    /// Tokens of an answer.
    answer: Option<f64>,
}

impl Pace {
    /// Learns from a step.
    pub(crate) fn step(&mut self, tokens: usize, took: Duration) {
        if tokens > 0 {
            self.token = Some(blend(self.token, took.as_secs_f64() / tokens as f64));
        }
    }

    /// Learns how long answers are.
    pub(crate) fn observe(&mut self, event: &Event) {
        if let Event::Finished {
            reason: FinishReason::Stop | FinishReason::Length,
            usage,
            ..
        } = event
        {
            self.answer = Some(blend(self.answer, usage.completion_tokens as f64));
        }
    }

    /// After how long the next of these requests leaves the queue: what one of them takes on the average, for as
    /// soon as so much is done there is room for another.
    pub(crate) fn next_leaves<'a>(&self, waiting: impl Iterator<Item = &'a Request>) -> Duration {
        let work = |request: &Request| {
            let most = f64::from(request.max_tokens);
            request.prompt.len() as f64 + self.answer.map_or(most, |answer| answer.min(most))
        };
        let (count, tokens) = waiting.fold((0.0, 0.0), |(count, tokens), request| {
            (count + 1.0, tokens + work(request))
        });
        match self.token {
            Some(token) if count > 0.0 => Duration::from_secs_f64(tokens / count * token),
            Some(_) => Duration::ZERO,
            None => UNKNOWN,
        }
    }
}

fn blend(known: Option<f64>, new: f64) -> f64 {
    known.map_or(new, |known| known + WEIGHT * (new - known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Timings, Usage};

    fn answered(completion_tokens: usize) -> Event {
        Event::Finished {
            id: 1,
            reason: FinishReason::Stop,
            usage: Usage {
                completion_tokens,
                ..Usage::default()
            },
            timings: Timings::default(),
            seed: 0,
        }
    }

    #[test]
    fn it_is_what_one_of_those_that_wait_takes() {
        let waiting = [
            Request::new(vec![1; 100], 100),
            Request::new(vec![1; 300], 500),
        ];
        let mut pace = Pace::default();
        assert_eq!(pace.next_leaves(waiting.iter()), UNKNOWN);
        pace.step(10, Duration::from_millis(20));
        // A thousand tokens of 2 ms, of two requests.
        assert_eq!(pace.next_leaves(waiting.iter()), Duration::from_secs(1));
        pace.observe(&answered(50));
        assert_eq!(pace.next_leaves(waiting.iter()), Duration::from_millis(500));
        assert_eq!(pace.next_leaves([].iter()), Duration::ZERO);
    }
}
