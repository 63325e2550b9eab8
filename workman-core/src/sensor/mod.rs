//! What the machine is like: the [`ConstraintSensor`] trait, two sensors, and [`Dwell`], which keeps flapping from
//! restarting work in a loop.
//!
//! A sensor reports and judges nothing: whether a condition satisfies a constraint is
//! [`Constraints::is_met`](crate::constraints::Constraints::is_met), and how long it must do so is [`Dwell`].

mod dwell;
mod senses;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::channel::mpsc;
use futures::stream::{self, BoxStream};

use crate::constraints::{Conditions, ConstraintKind, Network};

pub(crate) use dwell::{Dwell, Unmet};
pub(crate) use senses::{Bell, Senses};

/// Observes what the machine is like.
///
/// # The contract
/// - `conditions` answers at once, from what is known already: it is called often, and on workman's own thread.
/// - Whoever subscribes to `changes` first and asks for `conditions` afterwards misses nothing.
/// - Items may be too many (nothing changed) and may be merged (several changes, one item). They may not be missing.
/// - A stream that ends says that nothing will change any more.
///
/// A sensor that breaks it harms its own constraints only. One that panics is what it said last, and is asked again later and
/// later; [`health`](crate::WorkManager::health) says so meanwhile. One that rings more than a thousand times in a second is
/// not listened to for the rest of that second.
pub trait ConstraintSensor: Send + Sync + 'static {
    /// What the machine is like now; `None` in a field says that this sensor does not observe it.
    fn conditions(&self) -> Conditions;

    /// One item whenever conditions may have changed.
    fn changes(&self) -> BoxStream<'static, ()>;
}

/// Observes nothing. Work without constraints needs no more.
///
/// ```
/// use workman_core::Conditions;
/// use workman_core::{ConstraintSensor, NoSensor};
///
/// assert_eq!(NoSensor.conditions(), Conditions::UNKNOWN);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSensor;

impl ConstraintSensor for NoSensor {
    fn conditions(&self) -> Conditions {
        Conditions::UNKNOWN
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        stream::empty().boxed()
    }
}

/// A sensor that observes what the program tells it. Clones are the same sensor.
///
/// For tests, and for programs that know better than any sensor (a switch "on mobile data" in their settings).
///
/// ```
/// use workman_core::{ConstraintKind, Network};
/// use workman_core::{ConstraintSensor, ManualSensor};
///
/// let sensor = ManualSensor::new();
/// let given_to_the_builder = sensor.clone();
/// sensor.set_network(Network::METERED);
/// sensor.lose(ConstraintKind::Charging);
/// assert_eq!(given_to_the_builder.conditions().network, Some(Network::METERED));
/// assert_eq!(given_to_the_builder.conditions().charging, Some(false));
/// ```
#[derive(Clone, Debug)]
pub struct ManualSensor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    conditions: Mutex<Conditions>,
    /// Each has room for one item: a bell that rings already need not be rung again.
    bells: Mutex<Vec<mpsc::Sender<()>>>,
}

/// Everything is observed, and no constraint is met.
const WORST: Conditions = Conditions {
    network: Some(Network::Disconnected),
    charging: Some(false),
    battery_not_low: Some(false),
    device_idle: Some(false),
    storage_not_low: Some(false),
};

impl ManualSensor {
    /// Everything is observed and as good as can be: [`Conditions::IDEAL`].
    #[must_use]
    pub fn new() -> Self {
        Self::with(Conditions::IDEAL)
    }

    /// Starts with these conditions; a field that is `None` is not observed.
    #[must_use]
    pub fn with(conditions: Conditions) -> Self {
        ManualSensor { shared: Arc::new(Shared { conditions: Mutex::new(conditions), bells: Mutex::default() }) }
    }

    /// Replaces all conditions.
    pub fn set(&self, conditions: Conditions) {
        self.change(|now| *now = conditions);
    }

    /// Says what the network is like.
    pub fn set_network(&self, network: Network) {
        self.change(|now| now.network = Some(network));
    }

    /// Says whether the charger is plugged in.
    pub fn set_charging(&self, charging: bool) {
        self.change(|now| now.charging = Some(charging));
    }

    /// Says whether the battery is not low.
    pub fn set_battery_not_low(&self, not_low: bool) {
        self.change(|now| now.battery_not_low = Some(not_low));
    }

    /// Says whether nobody uses the device.
    pub fn set_device_idle(&self, idle: bool) {
        self.change(|now| now.device_idle = Some(idle));
    }

    /// Says whether storage is not low.
    pub fn set_storage_not_low(&self, not_low: bool) {
        self.change(|now| now.storage_not_low = Some(not_low));
    }

    /// Makes this kind as bad as can be; for the network that is [`Network::Disconnected`].
    pub fn lose(&self, kind: ConstraintKind) {
        self.copy(kind, WORST);
    }

    /// Makes this kind as good as can be. For the network that is [`Network::UNMETERED`], which satisfies every constraint
    /// but `Metered`.
    pub fn meet(&self, kind: ConstraintKind) {
        self.copy(kind, Conditions::IDEAL);
    }

    fn copy(&self, kind: ConstraintKind, from: Conditions) {
        self.change(|now| match kind {
            ConstraintKind::Charging => now.charging = from.charging,
            ConstraintKind::BatteryNotLow => now.battery_not_low = from.battery_not_low,
            ConstraintKind::StorageNotLow => now.storage_not_low = from.storage_not_low,
            ConstraintKind::Network => now.network = from.network,
            ConstraintKind::DeviceIdle => now.device_idle = from.device_idle,
        });
    }

    fn change(&self, change: impl FnOnce(&mut Conditions)) {
        let mut conditions = lock(&self.shared.conditions);
        let before = *conditions;
        change(&mut conditions);
        let changed = *conditions != before;
        drop(conditions);
        if changed {
            lock(&self.shared.bells).retain_mut(|bell| match bell.try_send(()) {
                Ok(()) => true,
                Err(error) => error.is_full(),
            });
        }
    }
}

impl Default for ManualSensor {
    fn default() -> Self {
        Self::new()
    }
}

impl ConstraintSensor for ManualSensor {
    fn conditions(&self) -> Conditions {
        *lock(&self.shared.conditions)
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let (bell, rings) = mpsc::channel(0);
        lock(&self.shared.bells).push(bell);
        rings.boxed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn con_2_a_change_rings_once_for_every_subscriber_and_a_repetition_does_not() {
        let sensor = ManualSensor::new();
        let (mut one, mut two) = (sensor.changes(), sensor.clone().changes());
        sensor.set_charging(true);
        assert_eq!(one.next().now_or_never(), None, "it was charging before");

        sensor.set_charging(false);
        sensor.set_network(Network::Disconnected);
        for rings in [&mut one, &mut two] {
            assert_eq!(rings.next().now_or_never(), Some(Some(())));
            assert_eq!(rings.next().now_or_never(), None, "two changes are one item");
        }

        drop(two);
        sensor.set_charging(true);
        assert_eq!(one.next().now_or_never(), Some(Some(())), "a bell that was heard rings again");
        drop(sensor);
        assert_eq!(one.next().now_or_never(), Some(None), "nobody is left who could change anything");
    }

    #[test]
    fn what_is_lost_and_met_again_is_ideal_again() {
        let sensor = ManualSensor::new();
        for kind in ConstraintKind::ALL {
            sensor.lose(kind);
        }
        assert_eq!(sensor.conditions(), WORST);
        for kind in ConstraintKind::ALL {
            sensor.meet(kind);
        }
        assert_eq!(sensor.conditions(), Conditions::IDEAL);
    }

    #[test]
    fn a_sensor_of_nothing_never_changes() {
        assert_eq!(NoSensor.changes().next().now_or_never(), Some(None));
    }
}
