//! What cumulative metrics stood at, so that only what was added since becomes an event.
//!
//! OpenClaw tells, every few seconds, what each counter has reached since its process began, whether
//! anything happened or not. An event is the difference to what was told before; where nothing was
//! added there is no event. Three rules make that exact:
//!
//! 1. What a series stood at moves on only when the difference is stored, and in the same
//!    transaction ([`engine::Keep`]): a refused request, sent again, gives the same difference, and a
//!    restart neither loses nor repeats one.
//! 2. A process that begins anew (`start_time_unix_nano` moves on, or a counter falls) counts from 0.
//! 3. A point that is not newer than what is known adds nothing: it was sent again.
//!
//! The number of series is bounded. Where a new one finds no room, the one not heard of for longest
//! is forgotten; should it come back, it counts from its own start again, and since its events'
//! identities are made of series and time, what is stored already stays single.

use std::collections::{HashMap, HashSet};

use engine::Keep;

/// Which series: a hash over sender, scope, name, unit and attributes.
pub(crate) type Key = [u8; 16];

/// What a series stood at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Base {
    /// When its process began to count, in nanoseconds since 1970.
    pub(crate) start: u64,
    /// When it was told.
    pub(crate) time: u64,
    /// Its numbers: one for a sum or gauge; count, sum and buckets for a histogram.
    pub(crate) numbers: Vec<f64>,
}

impl Base {
    fn to_text(&self) -> String {
        let numbers = self.numbers.iter().map(|number| format!("{number:?}")).collect::<Vec<_>>().join(" ");
        format!("{} {} {numbers}", self.start, self.time)
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (start, time) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let numbers = parts.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { start, time, numbers })
    }
}

struct Entry {
    base: Base,
    /// By [`Series::clock`]: when it was last heard of.
    heard: u64,
}

/// All series of one source.
pub(crate) struct Series {
    entries: HashMap<Key, Entry>,
    most: usize,
    /// Counts requests; orders entries by when they were last heard of.
    clock: u64,
}

/// What one request will change once its events are stored.
#[derive(Default)]
pub(crate) struct Changes {
    moved: HashMap<Key, Base>,
    /// How many of `moved` are not known yet.
    new: usize,
    forgotten: HashSet<Key>,
    /// That no series is left to be forgotten, once that was found.
    full: bool,
}

impl Series {
    /// At most `most` series; `kept` is what [`Changes::keep`] had kept.
    pub(crate) fn new(most: usize, kept: &[(String, String)]) -> Self {
        let entries = kept
            .iter()
            .filter_map(|(key, value)| {
                let key = data_encoding::HEXLOWER.decode(key.as_bytes()).ok()?.try_into().ok()?;
                Some((key, Entry { base: Base::from_text(value)?, heard: 0 }))
            })
            .collect();
        Self { entries, most, clock: 0 }
    }

    /// Begins a request.
    pub(crate) fn begin(&mut self) -> Changes {
        self.clock += 1;
        Changes::default()
    }

    /// Whether there is room for one more series beside those of this request.
    fn make_room(&self, changes: &mut Changes) -> bool {
        if self.entries.len() - changes.forgotten.len() + changes.new < self.most {
            changes.new += 1;
            return true;
        }
        if changes.full {
            return false;
        }
        let candidates = self.entries.iter().filter(|(key, entry)| {
            entry.heard < self.clock && !changes.forgotten.contains(*key) && !changes.moved.contains_key(*key)
        });
        let Some(oldest) = candidates.min_by_key(|(_, entry)| entry.heard).map(|(key, _)| *key) else {
            changes.full = true;
            return false;
        };
        changes.forgotten.insert(oldest);
        changes.new += 1;
        true
    }

    /// What a cumulative point adds to what is known: its numbers less those known before, and the
    /// time since then in nanoseconds. `None` where it adds nothing.
    ///
    /// `falls` says that the numbers may go down (a sum that is not monotonic).
    ///
    /// # Errors
    /// When there is no room for another series.
    pub(crate) fn added(
        &mut self,
        key: Key,
        now: Base,
        falls: bool,
        changes: &mut Changes,
    ) -> Result<Option<(Vec<f64>, u64)>, NoRoom> {
        let known = self.known(&key, changes);
        let (from, since) = match &known {
            Some(known) if now.start < known.start || (now.start == known.start && now.time <= known.time) => {
                return Ok(None);
            }
            Some(known) if now.start == known.start && known.numbers.len() == now.numbers.len() => {
                let fell = !falls && now.numbers.first() < known.numbers.first();
                (if fell { Vec::new() } else { known.numbers.clone() }, known.time)
            }
            // Another process, or other buckets: it counts from its start.
            _ => (Vec::new(), now.start),
        };
        let added: Vec<f64> =
            now.numbers.iter().enumerate().map(|(at, number)| number - from.get(at).copied().unwrap_or(0.0)).collect();
        if added.iter().all(|number| *number == 0.0) {
            return Ok(None);
        }
        if known.is_none() && !self.make_room(changes) {
            return Err(NoRoom);
        }
        let interval = now.time.saturating_sub(since);
        changes.moved.insert(key, now);
        Ok(Some((added, interval)))
    }

    /// Whether a gauge says something new.
    ///
    /// # Errors
    /// When there is no room for another series.
    pub(crate) fn differs(&mut self, key: Key, now: Base, changes: &mut Changes) -> Result<bool, NoRoom> {
        match self.known(&key, changes) {
            Some(known) if now.time <= known.time || now.numbers == known.numbers => return Ok(false),
            None if !self.make_room(changes) => return Err(NoRoom),
            _ => {}
        }
        changes.moved.insert(key, now);
        Ok(true)
    }

    /// What is known of a series, by this request or those before; it is heard of now.
    fn known(&mut self, key: &Key, changes: &Changes) -> Option<Base> {
        let entry = self.entries.get_mut(key);
        let stored = entry.map(|entry| {
            entry.heard = self.clock;
            &entry.base
        });
        // A series that made room in this very request and is heard of after all counts as unknown.
        let stored = stored.filter(|_| !changes.forgotten.contains(key));
        changes.moved.get(key).or(stored).cloned()
    }

    /// The events of `changes` are stored.
    pub(crate) fn commit(&mut self, changes: Changes) {
        for key in changes.forgotten {
            self.entries.remove(&key);
        }
        for (key, base) in changes.moved {
            self.entries.insert(key, Entry { base, heard: self.clock });
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Changes {
    /// What to keep with the events.
    pub(crate) fn keep(&self) -> Vec<Keep> {
        let name = |key: &Key| data_encoding::HEXLOWER.encode(key);
        let forgotten = self.forgotten.iter().map(|key| Keep { key: name(key), value: None });
        let moved = self.moved.iter().map(|(key, base)| Keep { key: name(key), value: Some(base.to_text()) });
        forgotten.chain(moved).collect()
    }
}

/// There are as many series as are allowed, and all of them are in use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base(start: u64, time: u64, number: f64) -> Base {
        Base { start, time, numbers: vec![number] }
    }

    fn tell(series: &mut Series, key: u8, base: Base) -> Option<f64> {
        let mut changes = series.begin();
        let added = series.added([key; 16], base, false, &mut changes).unwrap();
        series.commit(changes);
        added.map(|(numbers, _)| numbers[0])
    }

    #[test]
    fn only_what_was_added_is_told_and_a_restart_counts_from_nothing() {
        let mut series = Series::new(10, &[]);
        assert_eq!(tell(&mut series, 1, base(100, 110, 3.0)), Some(3.0));
        assert_eq!(tell(&mut series, 1, base(100, 120, 3.0)), None, "idle");
        assert_eq!(tell(&mut series, 1, base(100, 130, 5.0)), Some(2.0));
        assert_eq!(tell(&mut series, 1, base(100, 120, 3.0)), None, "sent again");
        assert_eq!(tell(&mut series, 1, base(140, 150, 1.0)), Some(1.0), "restarted");
        assert_eq!(tell(&mut series, 1, base(100, 160, 9.0)), None, "the process before");
        assert_eq!(tell(&mut series, 1, base(140, 170, 0.5)), Some(0.5), "fell without a new start");
    }

    #[test]
    fn what_is_not_committed_is_told_again() {
        let mut series = Series::new(10, &[]);
        for _ in 0..2 {
            let mut changes = series.begin();
            let added = series.added([1; 16], base(1, 2, 3.0), false, &mut changes).unwrap();
            assert_eq!(added, Some((vec![3.0], 1)));
        }
    }

    #[test]
    fn the_longest_unheard_series_makes_room() {
        let mut series = Series::new(2, &[]);
        tell(&mut series, 1, base(1, 2, 1.0));
        tell(&mut series, 2, base(1, 2, 1.0));
        tell(&mut series, 1, base(1, 3, 1.0));
        tell(&mut series, 3, base(1, 2, 1.0));
        assert_eq!(series.len(), 2);
        assert_eq!(tell(&mut series, 1, base(1, 4, 1.0)), None, "still known");
        let mut changes = series.begin();
        for key in [1, 3] {
            series.added([key; 16], base(1, 9, 7.0), false, &mut changes).unwrap();
        }
        assert_eq!(series.added([4; 16], base(1, 9, 7.0), false, &mut changes), Err(NoRoom));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read_back(start in any::<u64>(), time in any::<u64>(), numbers in prop::collection::vec(-1e300..1e300, 1..20)) {
            let base = Base { start, time, numbers };
            prop_assert_eq!(Base::from_text(&base.to_text()).unwrap(), base);
        }

        #[test]
        fn the_sum_of_what_is_told_is_what_was_counted(steps in prop::collection::vec((0u32..5, any::<bool>()), 1..40)) {
            let mut series = Series::new(4, &[]);
            let (mut total, mut told) = (0.0, 0.0);
            for (at, (step, refused)) in steps.into_iter().enumerate() {
                total += f64::from(step);
                let mut changes = series.begin();
                let added = series.added([1; 16], base(1, 2 + at as u64, total), false, &mut changes).unwrap();
                if !refused {
                    told += added.map_or(0.0, |(numbers, _)| numbers[0]);
                    series.commit(changes);
                }
            }
            told += tell(&mut series, 1, base(1, 1000, total)).unwrap_or(0.0);
            prop_assert_eq!(told, total);
        }
    }
}
