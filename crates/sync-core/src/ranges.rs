//! Sets of sequence numbers that are mostly runs: what a relay is known to hold, what a sender never sent us.

use sync_types::Seq;

/// A set of [`Seq`], kept as ascending runs that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// One run; nothing if the ends are the wrong way round.
    pub(crate) fn run(first: Seq, last: Seq) -> Self {
        let mut ranges = Self::default();
        ranges.insert_run(first.get(), last.get());
        ranges
    }

    /// From stored runs. Runs that are out of order are taken apart and put in their place.
    pub(crate) fn from_runs(runs: &[(Seq, Seq)]) -> Self {
        let mut ranges = Self::default();
        for (first, last) in runs {
            ranges.insert_run(first.get(), last.get());
        }
        ranges
    }

    /// As runs, ascending.
    pub(crate) fn to_runs(&self) -> Vec<(Seq, Seq)> {
        self.0.iter().map(|(first, last)| (Seq::new(*first), Seq::new(*last))).collect()
    }

    /// How many separate runs there are.
    pub(crate) fn runs(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn contains(&self, seq: Seq) -> bool {
        let index = self.0.partition_point(|(_, last)| *last < seq.get());
        self.0.get(index).is_some_and(|(first, _)| *first <= seq.get())
    }

    pub(crate) fn insert(&mut self, seq: Seq) {
        self.insert_run(seq.get(), seq.get());
    }

    /// Adds everything from `first` to `last`; nothing if they are the wrong way round.
    pub(crate) fn insert_run(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let start = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let end = self.0.partition_point(|(begin, _)| *begin <= last.saturating_add(1));
        let merged =
            self.0[start..end].iter().fold((first, last), |run, other| (run.0.min(other.0), run.1.max(other.1)));
        self.0.splice(start..end, [merged]);
    }

    /// Takes one number out. Whether it was in.
    pub(crate) fn remove(&mut self, seq: Seq) -> bool {
        let number = seq.get();
        let index = self.0.partition_point(|(_, last)| *last < number);
        let Some(&(first, last)) = self.0.get(index).filter(|(first, _)| *first <= number) else { return false };
        let rest = [(first, number.wrapping_sub(1)), (number.wrapping_add(1), last)];
        let rest = [(number > first).then_some(rest[0]), (number < last).then_some(rest[1])];
        self.0.splice(index..=index, rest.into_iter().flatten());
        true
    }

    /// The lowest number in this set that is not in the other.
    pub(crate) fn first_beyond(&self, other: &Self) -> Option<Seq> {
        self.0.iter().find_map(|&(first, last)| {
            let index = other.0.partition_point(|(_, end)| *end < first);
            let Some(&(begin, end)) = other.0.get(index).filter(|(begin, _)| *begin <= first) else {
                return Some(Seq::new(first));
            };
            debug_assert!(begin <= first && first <= end);
            (end < last).then(|| Seq::new(end + 1))
        })
    }

    /// What is in both.
    pub(crate) fn both(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for &(first, last) in &self.0 {
            for &(begin, end) in other.0.iter().filter(|(begin, end)| *begin <= last && *end >= first) {
                both.insert_run(first.max(begin), last.min(end));
            }
        }
        both
    }

    /// What is in either.
    pub(crate) fn either(mut self, other: &Self) -> Self {
        other.0.iter().for_each(|&(first, last)| self.insert_run(first, last));
        self
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets the lowest run.
    pub(crate) fn drop_first_run(&mut self) {
        if !self.0.is_empty() {
            self.0.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_set() {
        let mut state = 7u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        for _ in 0..200 {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for _ in 0..60 {
                let (first, len) = (random() % 40 + 1, random() % 5);
                if random() % 3 == 0 {
                    assert_eq!(ranges.remove(Seq::new(first)), model.remove(&first));
                } else {
                    ranges.insert_run(first, first + len);
                    model.extend(first..=first + len);
                }
                for number in 0..50 {
                    assert_eq!(ranges.contains(Seq::new(number)), model.contains(&number));
                }
                assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "runs touch: {ranges:?}");
                assert_eq!(Ranges::from_runs(&ranges.to_runs()), ranges);
                let (other, other_model): (Vec<_>, BTreeSet<_>) = (0..6)
                    .map(|_| random() % 40 + 1)
                    .map(|number| ((Seq::new(number), Seq::new(number)), number))
                    .unzip();
                let others = Ranges::from_runs(&other);
                let members = |ranges: &Ranges| {
                    (0..99).filter(|number| ranges.contains(Seq::new(*number))).collect::<BTreeSet<_>>()
                };
                assert_eq!(members(&ranges.both(&others)), &model & &other_model);
                assert_eq!(members(&ranges.clone().either(&others)), &model | &other_model);
                let beyond = model.difference(&other_model).next().map(|number| Seq::new(*number));
                assert_eq!(ranges.first_beyond(&Ranges::from_runs(&other)), beyond);
            }
        }
    }
}
