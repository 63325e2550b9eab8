//! The six states of a work, the moves between them, and why a run was stopped.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a work stands, in WorkManager's six states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[doc(alias("State", "JobStatus"))]
pub enum WorkState {
    /// Waits for its time, its constraints, a free slot, or (parked) for somebody's help.
    Enqueued,
    /// A worker runs it now, or ran it when the process died and nobody has opened the store since.
    Running,
    /// Finished well; its output is kept for a while.
    Succeeded,
    /// Finished badly, and so did everything that depended on it.
    Failed,
    /// Waits for its prerequisites.
    Blocked,
    /// Ended by the program, and so was everything that depended on it.
    Cancelled,
}

impl WorkState {
    /// All six, in declaration order.
    pub const ALL: [WorkState; 6] = [
        WorkState::Enqueued,
        WorkState::Running,
        WorkState::Succeeded,
        WorkState::Failed,
        WorkState::Blocked,
        WorkState::Cancelled,
    ];

    /// Whether the work has ended: for good, unless it has failed and somebody retries it.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, WorkState::Succeeded | WorkState::Failed | WorkState::Cancelled)
    }

    /// Whether one commit may move a work from this state to `next`. Staying in a state is no move. Out of a finished state there is
    /// one way only: failed work comes back if somebody retries it.
    #[must_use]
    pub const fn may_become(self, next: WorkState) -> bool {
        use WorkState::{Blocked, Cancelled, Enqueued, Failed, Running, Succeeded};
        matches!(
            (self, next),
            (Blocked, Enqueued | Failed | Cancelled)
                | (Enqueued, Running | Cancelled)
                | (Running, Enqueued | Succeeded | Failed | Cancelled)
                | (Failed, Enqueued | Blocked)
        )
    }
}

impl fmt::Display for WorkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WorkState::Enqueued => "enqueued",
            WorkState::Running => "running",
            WorkState::Succeeded => "succeeded",
            WorkState::Failed => "failed",
            WorkState::Blocked => "blocked",
            WorkState::Cancelled => "cancelled",
        })
    }
}

/// Why a run was asked to stop. The codes are WorkManager's where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// The program cancelled the work (1).
    CancelledByApp,
    /// More important work needed the slot (2).
    Preempted,
    /// It ran longer than an attempt may (3).
    Timeout,
    /// The battery ran low (5).
    ConstraintBatteryNotLow,
    /// The charger was unplugged (6).
    ConstraintCharging,
    /// The network that the work asks for is gone (7).
    ConstraintConnectivity,
    /// The device is in use again (8).
    ConstraintDeviceIdle,
    /// Storage ran low (9).
    ConstraintStorageNotLow,
    /// The budget of expedited work was spent (10).
    Quota,
    /// The manager shuts down, or its last handle was dropped (64).
    Shutdown,
    /// A newer work took its unique name (65).
    Replaced,
    /// The runtime that polled the worker went away (66).
    RuntimeGone,
    /// The store could not be read when the run was about to begin (67).
    StoreUnavailable,
    /// Somebody paused what it belongs to, and wanted what runs to be stopped (68).
    Paused,
}

impl StopReason {
    /// Every reason with its stable code.
    const CODES: [(StopReason, u8); 14] = [
        (StopReason::CancelledByApp, 1),
        (StopReason::Preempted, 2),
        (StopReason::Timeout, 3),
        (StopReason::ConstraintBatteryNotLow, 5),
        (StopReason::ConstraintCharging, 6),
        (StopReason::ConstraintConnectivity, 7),
        (StopReason::ConstraintDeviceIdle, 8),
        (StopReason::ConstraintStorageNotLow, 9),
        (StopReason::Quota, 10),
        (StopReason::Shutdown, 64),
        (StopReason::Replaced, 65),
        (StopReason::RuntimeGone, 66),
        (StopReason::StoreUnavailable, 67),
        (StopReason::Paused, 68),
    ];

    /// The stable code, as stores keep it.
    #[must_use]
    pub fn code(self) -> u8 {
        Self::CODES.iter().find(|(reason, _)| *reason == self).map_or(0, |(_, code)| *code)
    }

    /// Whether the system stopped the run: what it needs was lost, or its slot. The others are the program's own doing.
    #[must_use]
    pub const fn is_of_the_system(self) -> bool {
        use StopReason::{
            ConstraintBatteryNotLow, ConstraintCharging, ConstraintConnectivity, ConstraintDeviceIdle,
            ConstraintStorageNotLow, Preempted, Quota,
        };
        matches!(
            self,
            Preempted
                | Quota
                | ConstraintBatteryNotLow
                | ConstraintCharging
                | ConstraintConnectivity
                | ConstraintDeviceIdle
                | ConstraintStorageNotLow
        )
    }

    /// Whether a constraint was lost.
    #[must_use]
    pub const fn is_lost_constraint(self) -> bool {
        self.is_of_the_system() && !matches!(self, StopReason::Preempted | StopReason::Quota)
    }

    /// The reason with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::CODES.iter().find(|(_, c)| *c == code).map(|(reason, _)| *reason)
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopReason::CancelledByApp => "cancelled by the program",
            StopReason::Preempted => "preempted by more important work",
            StopReason::Timeout => "it ran longer than an attempt may",
            StopReason::ConstraintBatteryNotLow => "constraint lost: battery not low",
            StopReason::ConstraintCharging => "constraint lost: charging",
            StopReason::ConstraintConnectivity => "constraint lost: network",
            StopReason::ConstraintDeviceIdle => "constraint lost: device idle",
            StopReason::ConstraintStorageNotLow => "constraint lost: storage not low",
            StopReason::Quota => "the budget of expedited work was spent",
            StopReason::Shutdown => "the manager shuts down",
            StopReason::Replaced => "replaced by newer work of the same unique name",
            StopReason::RuntimeGone => "the runtime of the worker went away",
            StopReason::StoreUnavailable => "the store could not be read when the run was about to begin",
            StopReason::Paused => "paused by somebody",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stop_reason_survives_its_code() {
        for (reason, code) in StopReason::CODES {
            assert_eq!(StopReason::from_code(code), Some(reason));
            assert_eq!(reason.code(), code);
        }
        assert_eq!(StopReason::from_code(0), None);
    }
}
