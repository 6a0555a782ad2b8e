//! What the core tells people: the events of `wsup ctl events` and of `wsup simulate`.
//!
//! Responsible for the fixed list of reasons and the fields of each. Must not format for a
//! terminal: that is the command line's business.

use super::id::UnitKey;
use super::time::Wall;
use serde::Serialize;
use std::collections::BTreeMap;

/// Whether a person should worry (Kubernetes `core/v1 Event.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Severity {
    /// All as it should be.
    Normal,
    /// Something went wrong.
    Warning,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Why an event is told: the contract's list. More may be added; none is renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Reason { $($(#[$doc])* $name),* }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),*];

            /// The word in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name)),* }
            }
        }
    };
}

reasons! {
    /// A unit file was new or changed.
    UnitApplied,
    /// A unit file is invalid; the last good version runs on.
    UnitInvalid,
    /// A unit is gone.
    UnitRemoved,
    /// An instance was made.
    InstanceCreated,
    /// Its program was started.
    InstanceStarted,
    /// It is ready.
    InstanceReady,
    /// It is no longer ready, though it runs.
    InstanceUnready,
    /// Its program ended.
    InstanceExited,
    /// Another process of it is its main process now.
    InstanceMainPid,
    /// It was asked to end, or ends by itself.
    InstanceStopping,
    /// It had to be killed.
    InstanceKilled,
    /// It is gone for good.
    InstanceDeleted,
    /// Its program could not be started.
    InstanceStartFailed,
    /// It waits for what its unit depends on, or is held back by the storm guard.
    InstanceWaiting,
    /// A hook failed.
    HookFailed,
    /// Its program was made to read its configuration anew.
    InstanceReloaded,
    /// It will not be started again until an operator acts.
    InstanceFailed,
    /// Something about it cannot be done and nothing else changes: its output cannot be written, or
    /// was not for a while.
    InstanceTrouble,
    /// It waits before the next start.
    BackOff,
    /// A probe failed.
    ProbeFailed,
    /// More instances of a revision are wanted.
    ScaledUp,
    /// Fewer instances of a revision are wanted.
    ScaledDown,
    /// A roll-out began.
    RolloutStarted,
    /// A roll-out is done.
    RolloutComplete,
    /// A roll-out makes no progress.
    RolloutStalled,
    /// A former template is back.
    RolloutUndone,
    /// A cronjob made a job.
    JobCreated,
    /// A job began.
    JobStarted,
    /// A job is complete.
    JobCompleted,
    /// A job failed.
    JobFailed,
    /// A job was suspended.
    JobSuspended,
    /// A suspended job goes on.
    JobResumed,
    /// A job is gone.
    JobDeleted,
    /// A slot of a schedule was started.
    CronTriggered,
    /// A slot was too late to start.
    CronMissed,
    /// A slot was not started because a job still runs.
    CronSkipped,
    /// A job was removed in favour of the next slot's.
    CronReplaced,
    /// A schedule cannot be followed.
    CronInvalid,
    /// A `[resources]` limit cannot be enforced here.
    LimitNotEnforced,
    /// The storm guard begins to hold restarts back.
    RestartsHeld,
    /// The storm guard has let all begin that it held back, some time ago.
    RestartsReleased,
    /// A part of the stored state cannot be read.
    StateDamaged,
    /// The daemon started.
    DaemonStarted,
    /// The daemon found instances running.
    DaemonAdopted,
    /// The daemon stops everything.
    DaemonStopping,
}

/// A value of one of the further fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Field {
    /// A number.
    Int(i64),
    /// A text; times are RFC 3339.
    Text(String),
    /// An instant, printed as RFC 3339 by whoever serialises it for people.
    Time(Wall),
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it happened.
    pub time: Wall,
    /// Whether to worry.
    pub severity: Severity,
    /// What happened.
    pub reason: Reason,
    /// Which unit; `None`: the daemon itself.
    pub unit: Option<UnitKey>,
    /// Which instance.
    pub instance: Option<String>,
    /// A sentence for people, without the names that the fields above give.
    pub message: String,
    /// The fields of that reason, as the contract names them.
    pub fields: BTreeMap<&'static str, Field>,
}
