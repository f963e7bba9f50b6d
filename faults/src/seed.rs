//! Where each run's seed comes from.

/// The seed of the run with this number: the base itself for the first, so that `--seed S --runs 1`
/// plays the run with seed S again.
#[must_use]
pub(crate) fn of_run(base: u64, number: u64) -> u64 {
    if number == 0 {
        return base;
    }
    // SplitMix64: neighbours become far apart.
    let mut mixed = base.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::of_run;

    #[test]
    fn the_first_run_has_the_base_seed_and_the_others_differ() {
        assert_eq!(of_run(7, 0), 7);
        let seeds: std::collections::HashSet<u64> = (0..1000).map(|number| of_run(7, number)).collect();
        assert_eq!(seeds.len(), 1000);
    }
}
