//! How much one device, or one network address, may ask for.
//!
//! Two shapes: a [`Limiter`] refills with time, a [`Gate`] counts what is open now. Both are keyed by something a
//! stranger chooses, so both are bounded: an entry that says nothing (a full bucket, no connection) is forgotten.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sync_types::DeviceId;

/// Buckets a limiter keeps before it looks for full ones to forget.
const BUCKETS_MAX: usize = 16_384;

/// QUIC connections to mailboxes at once.
const INVITING_MAX: u64 = 256;

/// A network address as limits see it: one IPv6 customer has a whole /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
        })
    }
}

/// A token bucket for every key.
#[derive(Debug)]
pub(crate) struct Limiter<K> {
    burst: f64,
    per_second: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Eq + Hash> Limiter<K> {
    /// `burst` at once, then `rate` in every `period`.
    pub(crate) fn new(burst: u64, rate: u64, period: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
        let (burst, rate) = (burst as f64, rate as f64);
        Self { burst, per_second: rate / period.as_secs_f64(), buckets: Mutex::default() }
    }

    /// Takes a token, or says how long until there is one.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.lock();
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < self.burst);
            if buckets.len() >= BUCKETS_MAX {
                // That many keys in use at once are an attack, and forgetting is what bounds it.
                buckets.clear();
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: self.burst, at: now });
        let tokens = self.filled(*bucket, now);
        self.wait_for(tokens)?;
        *bucket = Bucket { tokens: tokens - 1.0, at: now };
        Ok(())
    }

    /// Gives back a token that was taken for nothing.
    pub(crate) fn give_back(&self, key: &K) {
        if let Some(bucket) = self.lock().get_mut(key) {
            bucket.tokens = (bucket.tokens + 1.0).min(self.burst);
        }
    }

    /// Whether [`Self::take`] would find a token.
    pub(crate) fn peek(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.lock().get(key).map_or(Ok(()), |bucket| self.wait_for(self.filled(*bucket, now)))
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + elapsed * self.per_second).min(self.burst)
    }

    fn wait_for(&self, tokens: f64) -> Result<(), Duration> {
        if tokens >= 1.0 { Ok(()) } else { Err(Duration::from_secs_f64((1.0 - tokens) / self.per_second)) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what is open, in all and for each key; [`Pass`] counts it back.
#[derive(Debug)]
pub(crate) struct Gate<K> {
    all_max: usize,
    each_max: usize,
    open: Mutex<HashMap<K, usize>>,
    all: Mutex<usize>,
    entered: AtomicU64,
}

/// One place taken at a [`Gate`], until dropped.
#[derive(Debug)]
pub(crate) struct Pass<K: Clone + Eq + Hash> {
    gate: Arc<Gate<K>>,
    key: K,
}

impl<K: Clone + Eq + Hash> Gate<K> {
    pub(crate) fn new(all_max: u64, each_max: u64) -> Arc<Self> {
        let max = |max| usize::try_from(max).unwrap_or(usize::MAX);
        Arc::new(Self {
            all_max: max(all_max),
            each_max: max(each_max),
            open: Mutex::default(),
            all: Mutex::default(),
            entered: AtomicU64::new(0),
        })
    }

    /// Takes a place, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, key: K) -> Option<Pass<K>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let each = open.get(&key).copied().unwrap_or(0);
        if *all >= self.all_max || each >= self.each_max {
            return None;
        }
        open.insert(key.clone(), each + 1);
        *all += 1;
        self.entered.fetch_add(1, Ordering::Relaxed);
        Some(Pass { gate: Arc::clone(self), key })
    }

    /// Places taken in all.
    pub(crate) fn count(&self) -> usize {
        *self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places that were ever taken.
    pub(crate) fn entered(&self) -> u64 {
        self.entered.load(Ordering::Relaxed)
    }

    /// Places taken for a key.
    pub(crate) fn count_of(&self, key: &K) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or(0)
    }
}

impl<K: Clone + Eq + Hash> Drop for Pass<K> {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.gate.all.lock().unwrap_or_else(PoisonError::into_inner);
        *all -= 1;
        if let Some(each) = open.get_mut(&self.key) {
            *each -= 1;
            if *each == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// All limits on sessions.
#[derive(Debug)]
pub(crate) struct Quotas {
    pub(crate) messages: Limiter<DeviceId>,
    /// Groups that are new here, and MOVEs that leave something.
    pub(crate) groups: Limiter<Address>,
    /// Sessions from one address.
    pub(crate) addresses: Arc<Gate<Address>>,
    /// Connections to mailboxes from one address: they are open to all, and take no device's place.
    pub(crate) inviting: Arc<Gate<Address>>,
    pub(crate) devices: Arc<Gate<DeviceId>>,
}

impl Quotas {
    pub(crate) fn new(config: &crate::config::Config) -> Self {
        let (limits, server) = (&config.limits, &config.server);
        Self {
            messages: Limiter::new(limits.messages_burst, limits.messages_per_minute, Duration::from_secs(60)),
            groups: Limiter::new(limits.groups_per_ip_hour, limits.groups_per_ip_hour, Duration::from_secs(3_600)),
            addresses: Gate::new(server.max_connections, limits.connections_per_ip),
            inviting: Gate::new(INVITING_MAX, limits.connections_per_ip),
            devices: Gate::new(u64::MAX, limits.connections_per_device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let limiter = Limiter::new(3, 60, Duration::from_secs(60));
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.take("phone", start), Ok(()));
        }
        assert_eq!(limiter.take("phone", start), Err(Duration::from_secs(1)));
        assert_eq!(limiter.peek(&"phone", start), Err(Duration::from_secs(1)));
        assert_eq!(limiter.take("laptop", start), Ok(()), "by itself");
        assert_eq!(limiter.take("phone", start + Duration::from_secs(1)), Ok(()), "waiting as told is enough");
        assert!(limiter.take("phone", start + Duration::from_secs(1)).is_err());
    }

    #[test]
    fn a_token_that_is_given_back_was_never_taken() {
        let limiter = Limiter::new(2, 60, Duration::from_secs(60));
        let start = Instant::now();
        for _ in 0..10 {
            limiter.take("phone", start).expect("it was given back");
            limiter.give_back(&"phone");
        }
        limiter.give_back(&"phone");
        limiter.give_back(&"laptop");
        for phone in ["phone", "laptop"] {
            let taken = (0..5).filter(|_| limiter.take(phone, start).is_ok()).count();
            assert_eq!(taken, 2, "and no more than that");
        }
    }

    #[test]
    fn buckets_are_bounded() {
        let limiter = Limiter::new(3, 60, Duration::from_secs(60));
        let start = Instant::now();
        for key in 0..2 * BUCKETS_MAX {
            limiter.take(key, start).expect("fresh");
        }
        assert!(limiter.lock().len() <= BUCKETS_MAX);
    }

    #[test]
    fn a_gate_counts_back_what_leaves() {
        let gate = Gate::new(3, 2);
        let first = gate.enter("a").expect("free");
        let _second = gate.enter("a").expect("free");
        assert!(gate.enter("a").is_none(), "two each");
        let _third = gate.enter("b").expect("free");
        assert!(gate.enter("c").is_none(), "three in all");
        drop(first);
        assert!(gate.enter("a").is_some());
        assert_eq!((gate.count(), gate.count_of(&"a"), gate.count_of(&"b")), (2, 1, 1));
        assert_eq!(gate.entered(), 4, "who was turned away has not entered");
    }

    #[test]
    fn an_ipv6_customer_is_one_address() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().expect("valid"));
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    }
}
