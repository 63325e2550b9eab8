//! [`Dwell`]: a constraint counts as lost only after it was lost for a while, and then as met only after it held for a while.
//!
//! Pure: conditions and monotonic time are passed in, and no clock is read. Without it a charger with a loose contact
//! would start and stop the same work all day.

use std::fmt;
use std::time::Duration;

use crate::constraints::{Conditions, ConstraintKind, Constraints, Network, NetworkType};

/// Everything that a constraint can ask. The network has several questions: a metered one answers "connected?" with yes
/// and "unmetered?" with no, so each has a dwell of its own.
const QUESTIONS: [(ConstraintKind, Constraints); 9] = [
    (ConstraintKind::Charging, Constraints::new().requires_charging()),
    (ConstraintKind::BatteryNotLow, Constraints::new().requires_battery_not_low()),
    (ConstraintKind::StorageNotLow, Constraints::new().requires_storage_not_low()),
    (ConstraintKind::DeviceIdle, Constraints::new().requires_device_idle()),
    (ConstraintKind::Network, Constraints::new().network(NetworkType::Connected)),
    (ConstraintKind::Network, Constraints::new().network(NetworkType::Unmetered)),
    (ConstraintKind::Network, Constraints::new().network(NetworkType::NotRoaming)),
    (ConstraintKind::Network, Constraints::new().network(NetworkType::Metered)),
    (ConstraintKind::Network, Constraints::new().network(NetworkType::TemporarilyUnmetered)),
];

/// Decides which constraints count as met, and which as lost.
///
/// - Work starts only while its constraints are met, and goes on while none of them was lost for the dwell time without
///   an interruption. A shorter loss changes nothing: afterwards work may start at once.
/// - After a longer loss, work starts again only once the constraint has held for the dwell time.
/// - What is unmet from the beginning was never lost: nothing that needs it can be running, and the first time it is met
///   counts at once.
/// - What nobody observes counts as unmet for a start and never stops a run. What is observed later goes on from what
///   was certain before.
#[derive(Clone, Debug)]
pub(crate) struct Dwell {
    length: Duration,
    conditions: Conditions,
    /// One for each of [`QUESTIONS`].
    standings: [Standing; QUESTIONS.len()],
}

/// How one question stands. Those with a time settle when the dwell time has passed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Unmet ever since it is observed.
    Absent,
    /// For certain, or not observed since.
    Met,
    /// It was met and is not: a flap, or about to be lost.
    Slipping { since: Duration },
    /// Runs that need it stop.
    Lost,
    /// It was lost and is met, but not for long.
    Recovering { since: Duration },
}

impl Standing {
    const fn first(answer: Option<bool>) -> Self {
        match answer {
            Some(false) => Standing::Absent,
            Some(true) | None => Standing::Met,
        }
    }

    /// When it settles, if it ever does by itself.
    fn settles_at(self, length: Duration) -> Option<Duration> {
        match self {
            Standing::Slipping { since } | Standing::Recovering { since } => Some(since.saturating_add(length)),
            Standing::Absent | Standing::Met | Standing::Lost => None,
        }
    }

    /// What has become of it by the mere passing of time.
    fn at(self, now: Duration, length: Duration) -> Self {
        match self {
            Standing::Slipping { since } if now.saturating_sub(since) >= length => Standing::Lost,
            Standing::Recovering { since } if now.saturating_sub(since) >= length => Standing::Met,
            other => other,
        }
    }

    /// What an answer makes of it. No answer takes back what was not certain yet.
    const fn answered(self, answer: Option<bool>, now: Duration) -> Self {
        match (self, answer) {
            (Standing::Absent, Some(true)) => Standing::Met,
            (Standing::Met, Some(false)) => Standing::Slipping { since: now },
            (Standing::Slipping { .. }, Some(true) | None) => Standing::Met,
            (Standing::Lost, Some(true)) => Standing::Recovering { since: now },
            (Standing::Recovering { .. }, Some(false) | None) => Standing::Lost,
            (unchanged, _) => unchanged,
        }
    }
}

impl Dwell {
    /// Starts with these conditions: what is met counts at once.
    #[must_use]
    pub(crate) fn new(length: Duration, conditions: Conditions) -> Self {
        let standings = QUESTIONS.map(|(kind, question)| Standing::first(question.is_met(kind, &conditions)));
        Dwell { length, conditions, standings }
    }

    /// Takes in what the sensor says now.
    pub(crate) fn observe(&mut self, conditions: Conditions, now: Duration) {
        for (standing, (kind, question)) in self.standings.iter_mut().zip(QUESTIONS) {
            *standing = standing.at(now, self.length).answered(question.is_met(kind, &conditions), now);
        }
        self.conditions = conditions;
    }

    /// Whether work with these constraints may start now.
    ///
    /// # Errors
    /// The first kind that is unmet, in the order of [`ConstraintKind::ALL`].
    pub(crate) fn may_start(&self, constraints: &Constraints, now: Duration) -> Result<(), Unmet> {
        constraints.kinds().try_for_each(|kind| {
            let standing = self.standing(kind, constraints, now);
            let met = constraints.is_met(kind, &self.conditions) == Some(true);
            if met && standing == Standing::Met {
                return Ok(());
            }
            let settles_in = standing.settles_at(self.length).filter(|_| met).map(|at| at.saturating_sub(now));
            Err(Unmet { kind, network: constraints.network_type(), now: self.conditions, settles_in })
        })
    }

    /// The first kind, in the order of [`ConstraintKind::ALL`], for which running work with these constraints must stop.
    #[must_use]
    pub(crate) fn must_stop(&self, constraints: &Constraints, now: Duration) -> Option<ConstraintKind> {
        constraints.kinds().find(|kind| {
            constraints.is_met(*kind, &self.conditions) == Some(false)
                && matches!(self.standing(*kind, constraints, now), Standing::Lost | Standing::Absent)
        })
    }

    /// The monotonic time, later than `now`, at which an answer may change though nothing is observed; `None` when only
    /// an observation can change one.
    #[must_use]
    pub(crate) fn next_change(&self, now: Duration) -> Option<Duration> {
        self.standings.iter().filter_map(|standing| standing.at(now, self.length).settles_at(self.length)).min()
    }

    fn standing(&self, kind: ConstraintKind, constraints: &Constraints, now: Duration) -> Standing {
        let network = constraints.network_type();
        let asked = |(asks, question): &(ConstraintKind, Constraints)| {
            *asks == kind && (kind != ConstraintKind::Network || question.network_type() == network)
        };
        let index = QUESTIONS.iter().position(asked).expect("QUESTIONS has all that a constraint can ask");
        self.standings[index].at(now, self.length)
    }
}

/// The constraint that keeps a work from starting. Its text goes after the name of the work: "waits for ..".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The kind that is unmet.
    pub kind: ConstraintKind,
    /// The network that the work asks for, of meaning if that is the kind.
    pub network: NetworkType,
    /// What the machine is like now.
    pub now: Conditions,
    /// It is met again, but counts only after this time.
    pub settles_in: Option<Duration>,
}

impl Unmet {
    /// Whether a sensor observes this kind. If none does, only a change to the program helps.
    #[must_use]
    pub const fn observed(&self) -> bool {
        self.now.observes(self.kind)
    }

    const fn wanted(&self) -> &'static str {
        match self.kind {
            ConstraintKind::Charging => "charging",
            ConstraintKind::BatteryNotLow => "a battery that is not low",
            ConstraintKind::StorageNotLow => "storage that is not low",
            ConstraintKind::DeviceIdle => "an idle device",
            ConstraintKind::Network => match self.network {
                NetworkType::NotRequired | NetworkType::Connected => "a network",
                NetworkType::Unmetered => "an unmetered network",
                NetworkType::NotRoaming => "a network that is not roaming",
                NetworkType::Metered => "a metered network",
                NetworkType::TemporarilyUnmetered => "a temporarily unmetered network",
            },
        }
    }

    fn found(&self) -> Option<String> {
        let words = |met: Option<bool>, yes: &str, no: &str| met.map(|met| if met { yes } else { no }.to_owned());
        match self.kind {
            ConstraintKind::Charging => words(self.now.charging, "charging", "not charging"),
            ConstraintKind::BatteryNotLow => words(self.now.battery_not_low, "not low", "low"),
            ConstraintKind::StorageNotLow => words(self.now.storage_not_low, "not low", "low"),
            ConstraintKind::DeviceIdle => words(self.now.device_idle, "idle", "in use"),
            ConstraintKind::Network => self.now.network.as_ref().map(Network::to_string),
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waits for {} ", self.wanted())?;
        match (self.found(), self.settles_in) {
            (None, _) => f.write_str("(nobody observes it: give the builder a sensor)"),
            (Some(found), None) => write!(f, "(now: {found})"),
            (Some(found), Some(rest)) => write!(f, "(now: {found}, but it must hold for another {rest:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(5);
    const CHARGING: Constraints = Constraints::new().requires_charging();
    const LOST: Conditions = Conditions { charging: Some(false), ..Conditions::IDEAL };
    const UNKNOWN: Conditions = Conditions { charging: None, ..Conditions::IDEAL };

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn starts(dwell: &Dwell, at: u64) -> bool {
        dwell.may_start(&CHARGING, ms(at)).is_ok()
    }

    fn stops(dwell: &Dwell, at: u64) -> bool {
        dwell.must_stop(&CHARGING, ms(at)).is_some()
    }

    /// Charging is lost at 10 s and met again at `again`.
    fn lost_until(again: u64) -> Dwell {
        let mut dwell = Dwell::new(LENGTH, Conditions::IDEAL);
        dwell.observe(LOST, ms(10_000));
        dwell.observe(Conditions::IDEAL, ms(again));
        dwell
    }

    #[test]
    fn what_is_met_at_the_start_counts_at_once_and_nothing_is_timed() {
        let dwell = Dwell::new(LENGTH, Conditions::IDEAL);
        assert!(starts(&dwell, 0) && !stops(&dwell, 0));
        assert_eq!(dwell.next_change(ms(0)), None);
    }

    #[test]
    fn what_is_unmet_from_the_start_stops_at_once_and_counts_at_once_when_it_comes() {
        let mut dwell = Dwell::new(LENGTH, LOST);
        assert!(!starts(&dwell, 0) && stops(&dwell, 0));
        assert_eq!(dwell.next_change(ms(0)), None, "there is nothing to wait for");
        dwell.observe(Conditions::IDEAL, ms(60_000));
        assert!(starts(&dwell, 60_000) && !stops(&dwell, 60_000));
        assert_eq!(dwell.next_change(ms(60_000)), None);
    }

    #[test]
    fn con_1_a_loss_forbids_starts_at_once_and_stops_runs_at_exactly_the_dwell_time() {
        let mut dwell = Dwell::new(LENGTH, Conditions::IDEAL);
        dwell.observe(LOST, ms(10_000));
        assert!(!starts(&dwell, 10_000) && !stops(&dwell, 10_000));
        assert!(!stops(&dwell, 14_999));
        assert_eq!(dwell.next_change(ms(14_999)), Some(ms(15_000)));
        assert_eq!(dwell.must_stop(&CHARGING, ms(15_000)), Some(ConstraintKind::Charging));
        assert_eq!(dwell.next_change(ms(15_000)), None, "the answer stays");
        assert_eq!(dwell.must_stop(&Constraints::NONE, ms(15_000)), None);
    }

    #[test]
    fn con_2_seeing_the_same_loss_again_does_not_restart_its_time() {
        let mut dwell = Dwell::new(LENGTH, Conditions::IDEAL);
        dwell.observe(LOST, ms(10_000));
        dwell.observe(Conditions { network: None, ..LOST }, ms(14_999));
        assert!(stops(&dwell, 15_000));
    }

    #[test]
    fn a_flap_shorter_than_the_dwell_time_changes_nothing() {
        let dwell = lost_until(14_999);
        assert!(starts(&dwell, 14_999) && !stops(&dwell, 20_000));
        assert_eq!(dwell.next_change(ms(14_999)), None);
    }

    #[test]
    fn each_interruption_of_a_loss_restarts_its_time() {
        let mut dwell = lost_until(14_999);
        dwell.observe(LOST, ms(15_000));
        assert!(!stops(&dwell, 19_999) && stops(&dwell, 20_000));
    }

    #[test]
    fn after_a_long_loss_it_must_hold_for_exactly_the_dwell_time() {
        let dwell = lost_until(15_000);
        assert!(!starts(&dwell, 19_999) && !stops(&dwell, 19_999));
        assert_eq!(dwell.next_change(ms(15_000)), Some(ms(20_000)));
        assert!(starts(&dwell, 20_000));
        assert_eq!(dwell.next_change(ms(20_000)), None);
    }

    #[test]
    fn a_recovery_that_fails_begins_anew() {
        let mut dwell = lost_until(15_000);
        dwell.observe(LOST, ms(19_999));
        assert!(stops(&dwell, 19_999), "it never came back for certain");
        assert_eq!(dwell.next_change(ms(19_999)), None);
        dwell.observe(Conditions::IDEAL, ms(21_000));
        assert!(!starts(&dwell, 25_999) && starts(&dwell, 26_000));
    }

    #[test]
    fn what_nobody_observes_never_starts_and_never_stops() {
        let mut dwell = Dwell::new(LENGTH, Conditions::UNKNOWN);
        assert!(!starts(&dwell, 60_000) && !stops(&dwell, 60_000));
        assert_eq!(dwell.next_change(ms(0)), None);
        dwell.observe(LOST, ms(60_000));
        assert!(!stops(&dwell, 64_999) && stops(&dwell, 65_000), "a run that assumed the best gets the dwell time");
    }

    #[test]
    fn a_sensor_that_falls_silent_takes_back_what_was_not_certain() {
        let mut slipping = Dwell::new(LENGTH, Conditions::IDEAL);
        slipping.observe(LOST, ms(1000));
        slipping.observe(UNKNOWN, ms(5999));
        assert!(!starts(&slipping, 9000) && !stops(&slipping, 9000));
        assert_eq!(slipping.next_change(ms(5999)), None);
        slipping.observe(Conditions::IDEAL, ms(9000));
        assert!(starts(&slipping, 9000));

        let mut recovering = lost_until(15_000);
        recovering.observe(UNKNOWN, ms(16_000));
        assert!(!stops(&recovering, 30_000));
        recovering.observe(Conditions::IDEAL, ms(30_000));
        assert!(!starts(&recovering, 34_999) && starts(&recovering, 35_000));
    }

    #[test]
    fn each_kind_of_network_has_a_dwell_time_of_its_own() {
        let network = |wanted| Constraints::new().network(wanted);
        let mut dwell = Dwell::new(LENGTH, Conditions::IDEAL);
        dwell.observe(Conditions { network: Some(Network::METERED), ..Conditions::IDEAL }, ms(1000));
        assert!(dwell.may_start(&network(NetworkType::Connected), ms(1000)).is_ok());
        assert!(dwell.may_start(&network(NetworkType::NotRoaming), ms(1000)).is_ok());
        assert!(dwell.may_start(&network(NetworkType::Metered), ms(1000)).is_ok(), "it was never met before");
        for lost in [NetworkType::Unmetered, NetworkType::TemporarilyUnmetered] {
            assert!(dwell.may_start(&network(lost), ms(1000)).is_err());
            assert_eq!(dwell.must_stop(&network(lost), ms(5999)), None);
            assert_eq!(dwell.must_stop(&network(lost), ms(6000)), Some(ConstraintKind::Network));
        }
        assert_eq!(dwell.must_stop(&network(NetworkType::Connected), ms(60_000)), None);
    }

    #[test]
    fn con_1_the_first_unmet_kind_is_named() {
        let all = CHARGING
            .requires_battery_not_low()
            .requires_storage_not_low()
            .requires_device_idle()
            .network(NetworkType::Connected);
        let mut conditions = Conditions {
            network: Some(Network::Disconnected),
            charging: Some(false),
            battery_not_low: Some(false),
            device_idle: Some(false),
            storage_not_low: Some(false),
        };
        for kind in ConstraintKind::ALL {
            let dwell = Dwell::new(LENGTH, conditions);
            assert_eq!(dwell.may_start(&all, ms(0)).map_err(|unmet| unmet.kind), Err(kind));
            assert_eq!(dwell.must_stop(&all, ms(0)), Some(kind));
            let ideal = Conditions::IDEAL;
            match kind {
                ConstraintKind::Charging => conditions.charging = ideal.charging,
                ConstraintKind::BatteryNotLow => conditions.battery_not_low = ideal.battery_not_low,
                ConstraintKind::StorageNotLow => conditions.storage_not_low = ideal.storage_not_low,
                ConstraintKind::Network => conditions.network = ideal.network,
                ConstraintKind::DeviceIdle => conditions.device_idle = ideal.device_idle,
            }
        }
        assert_eq!(Dwell::new(LENGTH, conditions).may_start(&all, ms(0)), Ok(()));
    }

    #[test]
    fn no_dwell_time_means_no_delay() {
        let mut dwell = Dwell::new(Duration::ZERO, Conditions::IDEAL);
        dwell.observe(LOST, ms(1));
        assert!(stops(&dwell, 1));
        dwell.observe(Conditions::IDEAL, ms(2));
        assert!(starts(&dwell, 2));
        assert_eq!(dwell.next_change(ms(2)), None);
    }

    #[test]
    fn an_endless_dwell_time_never_stops_anything() {
        let mut dwell = Dwell::new(Duration::MAX, Conditions::IDEAL);
        dwell.observe(LOST, ms(1));
        assert!(!stops(&dwell, u64::MAX));
        assert_eq!(dwell.next_change(ms(1)), Some(Duration::MAX));
    }

    /// Every short history of one constraint: between two observations no answer changes before `next_change` says so.
    #[test]
    fn nothing_changes_before_the_announced_time() {
        let answers = |dwell: &Dwell, at| (starts(dwell, at), stops(dwell, at));
        for history in 0..3_u32.pow(6) {
            let digit = |step: u32| [UNKNOWN, LOST, Conditions::IDEAL][(history / 3_u32.pow(step) % 3) as usize];
            let mut dwell = Dwell::new(ms(3), digit(0));
            for step in 1..=5 {
                let from = u64::from(step) * 2;
                dwell.observe(digit(step), ms(from));
                let mut last = answers(&dwell, from);
                for at in from + 1..from + 10 {
                    let next = answers(&dwell, at);
                    let announced = dwell.next_change(ms(at - 1)) == Some(ms(at));
                    assert_eq!(next != last, announced, "history {history} at {at}");
                    last = next;
                }
            }
        }
    }

    #[test]
    fn the_text_says_what_is_missing_and_what_there_is() {
        let text = |conditions, constraints: Constraints| {
            Dwell::new(LENGTH, conditions).may_start(&constraints, ms(0)).unwrap_err().to_string()
        };
        let metered = Conditions { network: Some(Network::METERED), ..Conditions::IDEAL };
        let unmetered = Constraints::new().network(NetworkType::Unmetered);
        assert_eq!(text(metered, unmetered), "waits for an unmetered network (now: metered)");
        assert_eq!(text(LOST, CHARGING), "waits for charging (now: not charging)");
        let nobody = "waits for charging (nobody observes it: give the builder a sensor)";
        assert_eq!(text(Conditions::UNKNOWN, CHARGING), nobody);

        let unmet = lost_until(15_000).may_start(&CHARGING, ms(17_500)).unwrap_err();
        assert_eq!(unmet.to_string(), "waits for charging (now: charging, but it must hold for another 2.5s)");
        assert!(unmet.observed());
    }
}
