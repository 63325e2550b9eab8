//! [`Constraints`]: the conditions under which a work may run, and [`Conditions`], what the machine is like now.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::state::StopReason;

/// The network that a work asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkType {
    /// No network is needed.
    #[default]
    NotRequired,
    /// Any working network.
    Connected,
    /// A network that does not count what it carries.
    Unmetered,
    /// A network that is not roaming.
    NotRoaming,
    /// A network that counts what it carries.
    Metered,
    /// A network that is unmetered, if only for now.
    TemporarilyUnmetered,
}

/// One kind of condition, the unit in which sensors, dwell times and messages speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConstraintKind {
    /// See [`Constraints::requires_charging`].
    Charging,
    /// See [`Constraints::requires_battery_not_low`].
    BatteryNotLow,
    /// See [`Constraints::requires_storage_not_low`].
    StorageNotLow,
    /// See [`Constraints::network`].
    Network,
    /// See [`Constraints::requires_device_idle`].
    DeviceIdle,
}

impl ConstraintKind {
    /// All kinds, in the order in which the first unmet one names the stop reason (WorkManager's order).
    pub const ALL: [ConstraintKind; 5] = [
        ConstraintKind::Charging,
        ConstraintKind::BatteryNotLow,
        ConstraintKind::StorageNotLow,
        ConstraintKind::Network,
        ConstraintKind::DeviceIdle,
    ];

    /// The reason a run is stopped with when this kind is lost.
    #[must_use]
    pub const fn stop_reason(self) -> StopReason {
        match self {
            ConstraintKind::Charging => StopReason::ConstraintCharging,
            ConstraintKind::BatteryNotLow => StopReason::ConstraintBatteryNotLow,
            ConstraintKind::StorageNotLow => StopReason::ConstraintStorageNotLow,
            ConstraintKind::Network => StopReason::ConstraintConnectivity,
            ConstraintKind::DeviceIdle => StopReason::ConstraintDeviceIdle,
        }
    }
}

impl fmt::Display for ConstraintKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConstraintKind::Charging => "charging",
            ConstraintKind::BatteryNotLow => "battery not low",
            ConstraintKind::StorageNotLow => "storage not low",
            ConstraintKind::Network => "network",
            ConstraintKind::DeviceIdle => "device idle",
        })
    }
}

/// The conditions that must all hold for a work to start and to go on. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use = "constraints do nothing until a request carries them"]
pub struct Constraints {
    network: NetworkType,
    charging: bool,
    battery_not_low: bool,
    device_idle: bool,
    storage_not_low: bool,
}

impl Constraints {
    /// No constraint at all.
    pub const NONE: Constraints = Constraints {
        network: NetworkType::NotRequired,
        charging: false,
        battery_not_low: false,
        device_idle: false,
        storage_not_low: false,
    };

    /// Starts with no constraint.
    pub const fn new() -> Self {
        Self::NONE
    }

    /// Asks for this kind of network.
    pub const fn network(mut self, network: NetworkType) -> Self {
        self.network = network;
        self
    }

    /// Asks for the charger to be plugged in. A machine without a battery counts as charging.
    pub const fn requires_charging(mut self) -> Self {
        self.charging = true;
        self
    }

    /// Asks for a battery that is not low. A machine without one counts as not low.
    pub const fn requires_battery_not_low(mut self) -> Self {
        self.battery_not_low = true;
        self
    }

    /// Asks for a device that nobody is using.
    pub const fn requires_device_idle(mut self) -> Self {
        self.device_idle = true;
        self
    }

    /// Asks for enough free storage.
    pub const fn requires_storage_not_low(mut self) -> Self {
        self.storage_not_low = true;
        self
    }

    /// The network that is asked for.
    #[must_use]
    pub const fn network_type(&self) -> NetworkType {
        self.network
    }

    /// Whether this kind is asked for.
    #[must_use]
    pub const fn requires(&self, kind: ConstraintKind) -> bool {
        match kind {
            ConstraintKind::Charging => self.charging,
            ConstraintKind::BatteryNotLow => self.battery_not_low,
            ConstraintKind::StorageNotLow => self.storage_not_low,
            ConstraintKind::Network => !matches!(self.network, NetworkType::NotRequired),
            ConstraintKind::DeviceIdle => self.device_idle,
        }
    }

    /// The kinds that are asked for, in the order of [`ConstraintKind::ALL`].
    pub fn kinds(&self) -> impl Iterator<Item = ConstraintKind> + '_ {
        ConstraintKind::ALL.into_iter().filter(|kind| self.requires(*kind))
    }

    /// The same constraints without this kind.
    pub const fn without(mut self, kind: ConstraintKind) -> Self {
        match kind {
            ConstraintKind::Charging => self.charging = false,
            ConstraintKind::BatteryNotLow => self.battery_not_low = false,
            ConstraintKind::StorageNotLow => self.storage_not_low = false,
            ConstraintKind::Network => self.network = NetworkType::NotRequired,
            ConstraintKind::DeviceIdle => self.device_idle = false,
        }
        self
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Whether `conditions` satisfy this kind of constraint; `None` when nothing observes it.
    #[must_use]
    pub fn is_met(&self, kind: ConstraintKind, conditions: &Conditions) -> Option<bool> {
        if !self.requires(kind) {
            return Some(true);
        }
        match kind {
            ConstraintKind::Charging => conditions.charging,
            ConstraintKind::BatteryNotLow => conditions.battery_not_low,
            ConstraintKind::StorageNotLow => conditions.storage_not_low,
            ConstraintKind::DeviceIdle => conditions.device_idle,
            ConstraintKind::Network => conditions.network.map(|network| network.satisfies(self.network)),
        }
    }
}

/// What a network is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// There is none, or none that works.
    Disconnected,
    /// A working network.
    Connected {
        /// It counts what it carries.
        metered: bool,
        /// It is somebody else's, abroad.
        roaming: bool,
    },
}

impl Network {
    /// A plain network: neither metered nor roaming.
    pub const UNMETERED: Network = Network::Connected { metered: false, roaming: false };
    /// A network that counts, at home.
    pub const METERED: Network = Network::Connected { metered: true, roaming: false };

    /// Whether a work that asks for `wanted` may run on this network.
    #[must_use]
    pub const fn satisfies(self, wanted: NetworkType) -> bool {
        match (wanted, self) {
            (NetworkType::NotRequired, _) | (NetworkType::Connected, Network::Connected { .. }) => true,
            (_, Network::Disconnected) => false,
            (NetworkType::Unmetered | NetworkType::TemporarilyUnmetered, Network::Connected { metered, .. }) => {
                !metered
            }
            (NetworkType::Metered, Network::Connected { metered, .. }) => metered,
            (NetworkType::NotRoaming, Network::Connected { roaming, .. }) => !roaming,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Network::Disconnected => f.write_str("disconnected"),
            Network::Connected { metered, roaming } => {
                f.write_str(if *metered { "metered" } else { "unmetered" })?;
                f.write_str(if *roaming { ", roaming" } else { "" })
            }
        }
    }
}

/// What the machine is like now, as a sensor reports it; `None` is "nobody observes this".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The network.
    pub network: Option<Network>,
    /// Whether the charger is plugged in.
    pub charging: Option<bool>,
    /// Whether the battery is not low.
    pub battery_not_low: Option<bool>,
    /// Whether nobody uses the device.
    pub device_idle: Option<bool>,
    /// Whether storage is not low.
    pub storage_not_low: Option<bool>,
}

impl Conditions {
    /// Nothing is observed.
    pub const UNKNOWN: Conditions =
        Conditions { network: None, charging: None, battery_not_low: None, device_idle: None, storage_not_low: None };

    /// Everything is observed, and every constraint but `Metered` is met.
    pub const IDEAL: Conditions = Conditions {
        network: Some(Network::UNMETERED),
        charging: Some(true),
        battery_not_low: Some(true),
        device_idle: Some(true),
        storage_not_low: Some(true),
    };

    /// Whether somebody observes this kind.
    #[must_use]
    pub const fn observes(&self, kind: ConstraintKind) -> bool {
        match kind {
            ConstraintKind::Charging => self.charging.is_some(),
            ConstraintKind::BatteryNotLow => self.battery_not_low.is_some(),
            ConstraintKind::StorageNotLow => self.storage_not_low.is_some(),
            ConstraintKind::Network => self.network.is_some(),
            ConstraintKind::DeviceIdle => self.device_idle.is_some(),
        }
    }
}
