//! What a prompt token was measured to cost, by the context before it and by the batch that it is in.

/// Kernels compute so many tokens at once, and pay for a whole tile where one is begun: llama.cpp's multiplications on
/// AMX, and its own attention on the CPU.
pub(super) const TILE: usize = 64;
/// How much a new measurement counts against those before it.
const WEIGHT: f64 = 0.4;
/// Contexts of up to this many tokens are one class; each further class is twice as long.
const SHORT_CONTEXT: usize = 256;
/// Classes of contexts, and of numbers of decodes; the last one is open.
const CLASSES: usize = 16;
/// Sizes of batches: less than a tile, then one, two, four … tiles; the last one is open.
const SIZES: usize = 6;
/// What was never tried is taken to cost this much of the nearest thing that was.
const HOPE: f64 = 0.95;
/// After each step with another kind of batch, a kind is taken to cost this much of what it did, so that an old
/// measurement does not stand for ever.
const FORGIVENESS: f64 = 0.99;

/// Seconds of a step of nothing but decodes, by how many there are: 1, 2 or 3, 4 to 7 …
#[derive(Debug, Clone, Default)]
pub(super) struct DecodeCosts {
    classes: [Option<f64>; CLASSES],
}

impl DecodeCosts {
    /// Learns from a step.
    pub(super) fn observe(&mut self, count: usize, took: f64) {
        let known = &mut self.classes[many(count)];
        *known = Some(blend(*known, took));
    }

    /// Takes a guess for so many, where nothing is known, until there is something to learn from.
    pub(super) fn suppose(&mut self, count: usize, took: f64) {
        let least = self.of(count);
        self.classes[many(count)].get_or_insert(took.max(least));
    }

    /// What so many take: as measured, or at least what fewer do; 0 if nothing is known.
    pub(super) fn of(&self, count: usize) -> f64 {
        let (fewer, more) = self.classes.split_at(many(count) + 1);
        let known = fewer.iter().rev().chain(more).flatten().next();
        known.copied().unwrap_or_default()
    }
}

/// What prompt tokens are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    /// Whether there are no decodes in it.
    pub(super) apart: bool,
    /// Tokens in all.
    pub(super) entries: usize,
}

/// Seconds of a prompt token, by class of context, then by kind of batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Costs {
    classes: [Class; CLASSES],
}

#[derive(Debug, Clone, Default)]
struct Class {
    together: [Option<f64>; SIZES],
    apart: [Option<f64>; SIZES],
    /// The kind of batch that was measured last: whether apart, and its size.
    last: Option<(bool, usize)>,
}

impl Costs {
    /// Learns what a token cost after `context` others.
    pub(super) fn observe(&mut self, context: usize, batch: Batch, cost: f64) {
        self.classes[class(context)].observe(batch, cost);
    }

    /// What a token costs after `context` others: as measured in such a batch, or the nearest thing to it.
    pub(super) fn of(&self, context: usize, batch: Batch) -> Option<f64> {
        let wanted = class(context);
        let class = |class: usize| self.classes[class].of(batch);
        // A token attends to all before it, so its cost may double with the context, and does not shrink.
        let shorter = (0..=wanted).rev().find_map(|shorter| {
            class(shorter).map(|cost| cost * f64::from(1u32 << (wanted - shorter)))
        });
        shorter.or_else(|| (wanted..CLASSES).find_map(class))
    }
}

impl Class {
    fn observe(&mut self, batch: Batch, cost: f64) {
        let cost = cost.max(f64::MIN_POSITIVE); // costs are divided by
        let size = size(batch.entries);
        let before = self.way(batch.apart)[size];
        let again = self.last.replace((batch.apart, size)) == Some((batch.apart, size));
        let (after, change) = match before.filter(|_| again) {
            // The context grows within a class, and machines become busy: that holds for all kinds of batches.
            Some(before) => (
                blend(Some(before), cost),
                blend(Some(before), cost) / before,
            ),
            None => (cost, 1.0),
        };
        let change = change * FORGIVENESS;
        let all = self.together.iter_mut().chain(&mut self.apart);
        all.flatten().for_each(|cost| *cost *= change);
        let known = match batch.apart {
            true => &mut self.apart,
            false => &mut self.together,
        };
        known[size] = Some(after);
    }

    fn of(&self, batch: Batch) -> Option<f64> {
        let same = nearest(self.way(batch.apart), batch.entries);
        let other = || nearest(self.way(!batch.apart), batch.entries);
        same.or_else(|| other().map(|cost| cost * HOPE))
    }

    fn way(&self, apart: bool) -> &[Option<f64>; SIZES] {
        if apart { &self.apart } else { &self.together }
    }
}

fn nearest(costs: &[Option<f64>; SIZES], entries: usize) -> Option<f64> {
    let wanted = size(entries);
    let known = costs.iter().enumerate();
    let known = known.filter_map(|(size, &cost)| Some((size.abs_diff(wanted), cost?)));
    known
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, cost)| cost)
}

pub(super) fn blend(known: Option<f64>, new: f64) -> f64 {
    known.map_or(new, |known| known + WEIGHT * (new - known))
}

fn class(context: usize) -> usize {
    let doublings = (context / SHORT_CONTEXT + 1).ilog2() as usize;
    doublings.min(CLASSES - 1)
}

fn many(count: usize) -> usize {
    (count.max(1).ilog2() as usize).min(CLASSES - 1)
}

fn size(entries: usize) -> usize {
    let doublings = (entries / TILE).checked_ilog2();
    doublings.map_or(0, |doublings| (doublings as usize + 1).min(SIZES - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(entries: usize) -> Batch {
        Batch {
            apart: true,
            entries,
        }
    }

    fn together(entries: usize) -> Batch {
        Batch {
            apart: false,
            entries,
        }
    }

    #[test]
    fn more_decodes_take_at_least_what_fewer_do() {
        let mut decodes = DecodeCosts::default();
        assert_eq!(decodes.of(4), 0.0);
        decodes.observe(4, 0.01);
        assert_eq!(decodes.of(40), 0.01);
        decodes.suppose(40, 0.001);
        assert_eq!(decodes.of(40), 0.01);
        decodes.suppose(100, 0.05);
        decodes.suppose(100, 0.5);
        assert_eq!(decodes.of(100), 0.05, "the first guess stands");
        decodes.observe(100, 0.1);
        assert!(decodes.of(100) > 0.06, "until it is known");
        assert_eq!(decodes.of(1), 0.01);
    }

    #[test]
    fn what_was_not_measured_is_taken_from_what_is_nearest() {
        let mut costs = Costs::default();
        assert_eq!(costs.of(0, apart(64)), None);
        costs.observe(1000, apart(512), 0.25);
        let known = costs.of(1000, apart(512)).unwrap();
        assert_eq!(costs.of(1000, apart(32)), Some(known));
        assert_eq!(costs.of(900, together(64)), Some(known * HOPE));
        assert_eq!(costs.of(0, apart(64)), Some(known), "no less than is known");
        assert_eq!(
            costs.of(2000, apart(64)),
            Some(2.0 * known),
            "twice the context"
        );
    }

    #[test]
    fn kinds_are_measured_by_themselves_and_change_together() {
        let mut costs = Costs::default();
        costs.observe(0, together(32), 2.0);
        costs.observe(0, apart(64), 1.0);
        let ratio =
            |costs: &Costs| costs.of(0, together(32)).unwrap() / costs.of(0, apart(64)).unwrap();
        assert!((1.9..=2.0).contains(&ratio(&costs)));
        (0..10).for_each(|_| costs.observe(0, apart(64), 3.0));
        assert!(costs.of(0, apart(64)) > Some(2.9));
        assert!((1.7..=2.0).contains(&ratio(&costs)));
        (0..200).for_each(|_| costs.observe(0, apart(64), 3.0));
        assert!(
            ratio(&costs) < 1.0,
            "what was not done for long is worth another try"
        );
    }
}
