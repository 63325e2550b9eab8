//! [`RequestError`]: what is wrong with a request, and what to do about it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::constraints::ConstraintKind;
use crate::data::EncodeError;
use crate::record::InputShape;

/// A request is refused. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names of the fields say it")]
pub enum RequestError {
    /// An argument can't be encoded so that it would decode again.
    Unencodable {
        worker: Arc<str>,
        /// The argument.
        argument: &'static str,
        source: EncodeError,
    },
    /// The encoded arguments are too large together.
    InputTooLarge {
        worker: Arc<str>,
        /// Their size in bytes.
        size: usize,
        /// The limit in bytes: `Limits::payload`.
        limit: usize,
    },
    /// There are too many tags.
    TooManyTags {
        worker: Arc<str>,
        /// How many different ones.
        count: usize,
        /// How many there may be: `Limits::tags`.
        limit: usize,
    },
    /// A tag can't be stored.
    Tag {
        worker: Arc<str>,
        /// The tag.
        tag: Arc<str>,
        /// What is wrong with it. The limit is `Limits::tag`.
        problem: NameProblem,
    },
    /// A limit key or the name of a serial lane can't be stored.
    Key {
        worker: Arc<str>,
        /// What was called with it: `limit_key` or `serial`.
        field: &'static str,
        key: Arc<str>,
        /// What is wrong with it. The limit is `Limits::tag`.
        problem: NameProblem,
    },
    /// Periodic work never finishes, so nothing would come behind it in a serial lane.
    SerialPeriodic { worker: Arc<str> },
    /// A unique name can't be stored.
    Name {
        name: Arc<str>,
        /// What is wrong with it. The limit is `Limits::name`.
        problem: NameProblem,
    },
    /// Periodic work has no period, or one of no length.
    NoInterval { worker: Arc<str> },
    /// The flex of periodic work is zero, or longer than its interval.
    Flex {
        worker: Arc<str>,
        /// The flex.
        flex: Duration,
        /// The interval.
        interval: Duration,
    },
    /// A length of time reaches beyond the last moment that there is.
    TooLong {
        worker: Arc<str>,
        /// What was set, as its builder method is called.
        field: &'static str,
        /// To what.
        length: Duration,
    },
    /// An attempt may take no time at all.
    NoTimeout { worker: Arc<str> },
    /// The delay of the backoff or its ceiling is zero, so work that fails would be tried again without a pause.
    NoBackoff {
        worker: Arc<str>,
        /// Which of them: `delay` or `ceiling`.
        field: &'static str,
    },
    /// The jitter of the backoff is more than all of the delay.
    Jitter {
        worker: Arc<str>,
        /// The jitter.
        percent: u8,
    },
    /// A backoff of its own and the constraint that the machine is idle don't go together.
    BackoffWhenIdle { worker: Arc<str> },
    /// Expedited work waits for network and storage only.
    ExpeditedConstraint {
        worker: Arc<str>,
        /// What it was to wait for.
        kind: ConstraintKind,
    },
    /// Expedited work can't be delayed.
    ExpeditedDelay { worker: Arc<str> },
    /// The next run of periodic work is set to less than an interval before [`Timestamp::MAX`](crate::time::Timestamp::MAX),
    /// and that period would never end.
    OverrideNever { worker: Arc<str> },
    /// The time to run at is [`Timestamp::MAX`](crate::time::Timestamp::MAX), which never comes.
    RunsNever { worker: Arc<str> },
    /// The time of the next run is set for a period that the policy starts anew.
    OverrideReplaced { worker: Arc<str> },
    /// Not even one attempt is allowed.
    NoAttempts { worker: Arc<str> },
    /// The worker takes from its prerequisites, and there are too few or too many.
    Prerequisites {
        worker: Arc<str>,
        /// How it takes.
        takes: InputShape,
        /// How many prerequisites there are.
        given: usize,
    },
}

/// What is wrong with a name or a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameProblem {
    /// There is nothing of it.
    Empty,
    /// It is too long.
    TooLong {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It contains a control character.
    ControlCharacter(char),
}

impl NameProblem {
    fn describe(self, field: &str) -> String {
        match self {
            NameProblem::Empty => "is empty; leave it out, or say what it is for".into(),
            NameProblem::TooLong { size, limit } => {
                format!("has {size} bytes, the limit is {limit}; see `Limits::{field}`")
            }
            NameProblem::ControlCharacter(c) => {
                format!("has the control character {c:?}; it must read well in one line")
            }
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Unencodable { worker, argument, source } => {
                write!(f, "the argument `{argument}` of worker `{worker}` can't be encoded: {source}")
            }
            RequestError::InputTooLarge { worker, size, limit } => write!(
                f,
                "the input of worker `{worker}` has {size} bytes, the limit is {limit}: store large data elsewhere and pass where it is, or raise `Limits::payload`"
            ),
            RequestError::TooManyTags { worker, count, limit } => {
                write!(f, "a request for worker `{worker}` has {count} tags, the limit is {limit}; see `Limits::tags`")
            }
            RequestError::Tag { worker, tag, problem } => {
                write!(f, "the tag {tag:?} of a request for worker `{worker}` {}", problem.describe("tag"))
            }
            RequestError::Key { worker, field, key, problem } => {
                write!(f, "`{field}({key:?})` of a request for worker `{worker}`: the key {}", problem.describe("key"))
            }
            RequestError::SerialPeriodic { worker } => write!(
                f,
                "periodic work of worker `{worker}` can't run in a serial lane: it never finishes, so nothing behind it would ever run; give it a limit key with `at_once(1)` instead"
            ),
            RequestError::Name { name, problem } => write!(f, "the unique name {name:?} {}", problem.describe("name")),
            RequestError::NoAttempts { worker } => write!(
                f,
                "a request for worker `{worker}` allows 0 attempts; `max_attempts(1)` tries once and never again"
            ),
            RequestError::Prerequisites { worker, takes, given } => prerequisites(f, worker, *takes, *given),
            RequestError::NoInterval { worker }
            | RequestError::Flex { worker, .. }
            | RequestError::TooLong { worker, .. }
            | RequestError::NoTimeout { worker }
            | RequestError::NoBackoff { worker, .. }
            | RequestError::Jitter { worker, .. }
            | RequestError::BackoffWhenIdle { worker }
            | RequestError::ExpeditedConstraint { worker, .. }
            | RequestError::ExpeditedDelay { worker }
            | RequestError::OverrideNever { worker }
            | RequestError::RunsNever { worker }
            | RequestError::OverrideReplaced { worker } => {
                write!(f, "a request for worker `{worker}` {}", self.problem_with_terms())
            }
        }
    }
}

impl RequestError {
    /// What is wrong with times and urgency, after "a request for this worker".
    fn problem_with_terms(&self) -> String {
        match self {
            RequestError::NoInterval { .. } => "has no interval; a period is longer than zero".into(),
            RequestError::Flex { flex, interval, .. } => {
                format!("has a flex of {flex:?}; it must be longer than zero, and at most the interval, {interval:?}")
            }
            RequestError::TooLong { field, length, .. } => {
                format!("has `{field}` set to {length:?}, which reaches beyond the last moment that there is")
            }
            RequestError::NoTimeout { .. } => {
                "has a `timeout` of zero; leave it out, and an attempt may take as long as it likes".into()
            }
            RequestError::NoBackoff { field, .. } => {
                format!("has a `backoff` with a {field} of zero; it must be longer, or failing work would never pause")
            }
            RequestError::Jitter { percent, .. } => {
                format!("has a `backoff` with a `jitter` of {percent} percent; it is 100 at the most")
            }
            RequestError::BackoffWhenIdle { .. } => {
                "has a `backoff` of its own and requires an idle machine; leave out one of them".into()
            }
            RequestError::ExpeditedConstraint { kind, .. } => {
                format!(
                    "is expedited and asks for \"{kind}\": expedited work supports network and storage constraints only; leave out the constraint, or give it a `priority` instead"
                )
            }
            RequestError::ExpeditedDelay { .. } => {
                "is expedited and has an `initial_delay` or a time to `run_at`: expedited work can't be delayed; leave out the delay, or give it a `priority` instead".into()
            }
            RequestError::OverrideNever { .. } => {
                "has its `next_schedule_time_override` less than an interval before the last moment that there is, which never comes; to end the series, cancel it".into()
            }
            RequestError::RunsNever { .. } => {
                "has the last moment that there is to `run_at`, which never comes; leave it out, and cancel work that is not to run".into()
            }
            RequestError::OverrideReplaced { .. } => {
                "has a `next_schedule_time_override` and replaces what holds its name; use `Update` or `Keep`".into()
            }
            _ => String::new(),
        }
    }
}

fn prerequisites(f: &mut fmt::Formatter<'_>, worker: &str, takes: InputShape, given: usize) -> fmt::Result {
    match given {
        0 => write!(
            f,
            "worker `{worker}` takes {takes}, and there are none; chain it after others, or make the request with `{worker}::with(..)`"
        ),
        1 => write!(f, "worker `{worker}` takes {takes}, and there is 1"),
        given => write!(
            f,
            "worker `{worker}` takes {takes}, and there are {given}; an argument `#[prerequisites] all: Vec<T>` takes as many as there are"
        ),
    }
}

impl Error for RequestError {
    /// The texts of these errors contain those of the errors in them, so the chain goes on behind those.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RequestError::Unencodable { source, .. } => source.source(),
            _ => None,
        }
    }
}
