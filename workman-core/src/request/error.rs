//! [`RequestError`]: what is wrong with a request, and what to do about it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::data::EncodeError;
use crate::record::InputShape;

/// A request is refused. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// An argument can't be encoded so that it would decode again.
    Unencodable {
        /// The worker.
        worker: Arc<str>,
        /// The argument.
        argument: &'static str,
        /// Why.
        source: EncodeError,
    },
    /// The encoded arguments are too large together.
    InputTooLarge {
        /// The worker.
        worker: Arc<str>,
        /// Their size in bytes.
        size: usize,
        /// The limit in bytes: `Limits::payload`.
        limit: usize,
    },
    /// There are too many tags.
    TooManyTags {
        /// The worker.
        worker: Arc<str>,
        /// How many different ones.
        count: usize,
        /// How many there may be: `Limits::tags`.
        limit: usize,
    },
    /// A tag can't be stored.
    Tag {
        /// The worker.
        worker: Arc<str>,
        /// The tag.
        tag: Arc<str>,
        /// What is wrong with it. The limit is `Limits::tag`.
        problem: NameProblem,
    },
    /// A unique name can't be stored.
    Name {
        /// The name.
        name: Arc<str>,
        /// What is wrong with it. The limit is `Limits::name`.
        problem: NameProblem,
    },
    /// Periodic work has no period, or one of no length.
    NoInterval {
        /// The worker.
        worker: Arc<str>,
    },
    /// Not even one attempt is allowed.
    NoAttempts {
        /// The worker.
        worker: Arc<str>,
    },
    /// The worker takes from its prerequisites, and there are too few or too many.
    Prerequisites {
        /// The worker.
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
            NameProblem::Empty => "is empty".into(),
            NameProblem::TooLong { size, limit } => {
                format!("has {size} bytes, the limit is {limit}; see `Limits::{field}`")
            }
            NameProblem::ControlCharacter(c) => format!("has the control character {c:?}"),
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
            RequestError::Name { name, problem } => write!(f, "the name {name:?} {}", problem.describe("name")),
            RequestError::NoInterval { worker } => {
                write!(f, "a periodic request for worker `{worker}` has no interval; a period is longer than zero")
            }
            RequestError::NoAttempts { worker } => write!(
                f,
                "a request for worker `{worker}` allows 0 attempts; `max_attempts(1)` tries once and never again"
            ),
            RequestError::Prerequisites { worker, takes, given } => prerequisites(f, worker, *takes, *given),
        }
    }
}

fn prerequisites(f: &mut fmt::Formatter<'_>, worker: &str, takes: InputShape, given: usize) -> fmt::Result {
    write!(f, "worker `{worker}` takes {takes}, and there are {given}")?;
    if given == 0 {
        write!(f, "; chain it after others, or make the request with `{worker}::with(..)`")
    } else {
        Ok(())
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
