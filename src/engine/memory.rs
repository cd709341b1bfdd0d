//! How the memory budget is shared out: transit for what is on its way, a quota for each lane.
//!
//! Transit is everything between a source and a lane: open blocks, the ring, the workers, the sequencers. A lane's gate
//! closes while all that is in transit still fits its quota, so that workers never wait for a lane.

use crate::lane::Quota;

/// The least that may be in transit, in bytes.
pub const TRANSIT_MIN: usize = 4 << 20;
/// The most, in bytes: more would only wait longer.
pub const TRANSIT_MAX: usize = 32 << 20;

/// The shares, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// What may be between sources and lanes.
    pub transit: usize,
    /// Each lane's marks.
    pub lane: Quota,
}

/// Shares out `budget` among `lanes`, for `threads` that each may hold two blocks of the `largest` class.
///
/// Errors: the budget does not hold them; says what would.
pub fn share_out(
    budget: usize,
    lanes: usize,
    threads: usize,
    largest: usize,
    low: f64,
) -> Result<Shares, String> {
    let lanes = lanes.max(1);
    // Each lane must be able to take in all of transit, and hold on to as much again.
    let shares = 2 * lanes + 1;
    let least = TRANSIT_MIN.max(2 * threads * largest);
    if budget / shares < least {
        return Err(format!(
            "`quotas.max_memory` of {} MiB is too small: {lanes} sinks and {threads} threads with blocks of {} KiB need \
             {} MiB",
            budget >> 20,
            largest >> 10,
            (shares * least).div_ceil(1 << 20),
        ));
    }
    let transit = (budget / 8).min(TRANSIT_MAX).min(budget / shares).max(least);
    let quota = (budget - transit) / lanes;
    let high = quota - transit;
    Ok(Shares { transit, lane: Quota { high, low: (high as f64 * low) as usize } })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn all_shares_together_are_the_budget_and_each_lane_has_room_for_all_transit() {
        for (budget, lanes, threads) in [(64 * MIB, 1, 3), (256 * MIB, 3, 10), (4096 * MIB, 64, 8)] {
            let shares = share_out(budget, lanes, threads, 260 << 10, 0.75).unwrap();
            // Past its high mark a lane can still be given everything that is in transit.
            assert!(shares.transit + lanes * (shares.lane.high + shares.transit) <= budget);
            assert!(shares.lane.low < shares.lane.high);
        }
    }

    #[test]
    fn a_budget_that_cannot_hold_them_is_refused_with_the_one_that_would() {
        let error = share_out(27 * MIB, 3, 4, 260 << 10, 0.75).unwrap_err();
        assert!(error.contains("need 28 MiB"), "{error}");
        assert!(share_out(28 * MIB, 3, 4, 260 << 10, 0.75).is_ok());
    }
}
