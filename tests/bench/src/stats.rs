//! What is left of many measurements.

use std::time::Duration;

/// The value that half of them do not exceed.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The value that so many in a hundred do not exceed; 0 of none.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or_default()
}

/// The largest; 0 of none.
pub(crate) fn max(values: &[f64]) -> f64 {
    percentile(values, 100)
}

/// In milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// So many in that time, a second.
pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!((median(&values), percentile(&values, 99), max(&values)), (100.0, 198.0, 200.0));
        assert_eq!((median(&[7.0]), median(&[])), (7.0, 0.0));
    }
}
