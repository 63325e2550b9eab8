//! What a worker's answer means: [`Outcome`], [`WorkError`], and the way from a returned value to the planner's [`End`].

use std::any::Any;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::context::Stopped;
use crate::data::{EncodeError, Payload};
use crate::foreign::discard;
use crate::plan::{Advice, End};
use crate::record::ErrorText;

/// Any error, in a box.
type BoxError = Box<dyn Error + Send + Sync>;

/// What a worker may answer when a value or an error is not enough.
///
/// A worker returns `T`, `Result<T, E>`, `Outcome<T>` or `Result<Outcome<T>, E>`.
///
/// ```
/// use std::time::Duration;
/// use workman_core::{Outcome, WorkError};
///
/// fn poll_parcel(arrived: Option<u32>) -> Result<Outcome<u32>, WorkError> {
///     match arrived {
///         Some(weight) => Ok(Outcome::Success(weight)),
///         None => Ok(Outcome::Snooze(Duration::from_secs(600))), // not there yet, and no failed attempt
///     }
/// }
/// # assert!(matches!(poll_parcel(None), Ok(Outcome::Snooze(_))));
/// ```
#[derive(Debug)]
#[non_exhaustive]
#[doc(alias("Result", "JobResult"))]
pub enum Outcome<T> {
    /// The work succeeded and gives this.
    Success(T),
    /// The attempt failed; the error says what is to be done.
    Failed(WorkError),
    /// The work is run again after this long, and after a second at the least: nothing limits how often it may say so. That is no
    /// failed attempt, and the attempt keeps its number.
    Snooze(Duration),
}

/// Why an attempt failed, and what is to be done about it.
///
/// Every error, a `String`, a `&str` and an `anyhow::Error` becomes one with `?`, and the work is then tried again as its
/// request says. [`permanent`](Self::permanent) and [`retry_after`](Self::retry_after) say something else.
///
/// It is not an [`Error`] itself; that is what lets every error become one.
///
/// ```
/// use std::time::Duration;
/// use workman_core::WorkError;
///
/// fn fetch(status: u16) -> Result<(), WorkError> {
///     match status {
///         200 => Ok(()),
///         404 => Err(WorkError::permanent("no such page")),
///         429 => Err(WorkError::retry_after(Duration::from_secs(60)).because("too many requests")),
///         _ => Err("the server is not well".into()),
///     }
/// }
/// assert!(fetch(404).unwrap_err().is_permanent());
/// assert_eq!(fetch(429).unwrap_err().to_string(), "too many requests");
/// ```
pub struct WorkError {
    error: BoxError,
    advice: Advice,
    /// It only passes on that the run is to stop, and says nothing of its own.
    stopped: Option<Stopped>,
}

impl WorkError {
    /// The work fails for good, whatever attempts are left.
    #[doc(alias("failure", "discard", "cancel", "abort"))]
    pub fn permanent(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        WorkError { error: error.into(), advice: Advice::Never, stopped: None }
    }

    /// The next attempt comes after `delay` instead of the request's backoff, if attempts are left. Where their number is unlimited it
    /// comes after a second at the least.
    #[must_use]
    #[doc(alias("retry", "defer"))]
    pub fn retry_after(delay: Duration) -> Self {
        let error = format!("asked to be tried again after {delay:?}").into();
        WorkError { error, advice: Advice::After(delay), stopped: None }
    }

    /// The same advice for this reason.
    #[must_use]
    pub fn because(self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        WorkError { error: error.into(), stopped: None, ..self }
    }

    /// Whether the work fails for good.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.advice == Advice::Never
    }

    /// After how long the next attempt shall come, if the error says so.
    #[must_use]
    pub fn retry_delay(&self) -> Option<Duration> {
        match self.advice {
            Advice::After(delay) => Some(delay),
            Advice::ByPolicy | Advice::ByFunction(_) | Advice::Never | Advice::Unstorable => None,
        }
    }

    /// The error itself, with its sources.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + 'static) {
        &*self.error
    }

    /// The same error, permanent if its worker says so of it: for those who stand in for the worker.
    #[doc(hidden)]
    #[must_use]
    pub fn sorted_by<W: super::Worker>(self) -> Self {
        if W::is_permanent(&self) { WorkError { advice: Advice::Never, stopped: None, ..self } } else { self }
    }

    /// Whether this is an error of that type and is said yes to. A text is a `String`.
    #[doc(hidden)]
    pub fn is_one<E: 'static>(&self, ask: impl FnOnce(&E) -> bool) -> bool {
        let text = self.to_string();
        let ways: [&dyn Any; 3] = [self, &self.error, &text];
        ways.into_iter().find_map(|way| way.downcast_ref()).is_some_and(ask)
    }

    /// The end of an attempt that failed with this. Whether the run was to stop at all is for the verdict to see.
    pub(crate) fn into_end(self) -> End {
        match self.stopped {
            Some(Stopped { reason }) => End::Interrupted { reason },
            None => {
                let (error, advice) = (ErrorText::of(self.error()), self.advice);
                discard("the error of a worker", self.error);
                End::Failed { error, advice }
            }
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for WorkError {
    fn from(error: E) -> Self {
        let error = error.into();
        WorkError { stopped: Stopped::passed_on_by(&*error), error, advice: Advice::ByPolicy }
    }
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkError").field("error", &self.error).field("advice", &self.advice).finish()
    }
}

/// Markers that tell the implementations of a seam trait apart. Each is inferred.
///
/// A second implementation that never applies makes rustc report the seam trait, with its message, instead of one error
/// for each bound of the only implementation.
#[doc(hidden)]
pub(crate) mod by {
    /// A value that is what it says.
    pub enum Value {}
    /// An error that goes into a box.
    pub enum Error {}
    /// A `WorkError`.
    pub enum WorkError {}
    /// An `Outcome`.
    pub enum Outcome {}
    /// A `Result` of a value.
    pub struct Result<E>(E);
    /// A `Result` of an `Outcome`.
    pub struct ResultOfOutcome<E>(E);
    /// Never.
    pub enum Nobody {}
}

/// Implemented by nothing.
#[doc(hidden)]
pub trait ErrorOfNobody: Into<Box<dyn Error + Send + Sync>> {}

/// What a worker may fail with.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a worker can't fail with `{Self}`",
    label = "this error type can't be stored",
    note = "implement `std::error::Error` for it (and `Send + Sync + 'static`), or return `String`, `anyhow::Error` or `workman_core::WorkError`",
    note = "any error in a box is `Box<dyn std::error::Error + Send + Sync>`; without `Send + Sync` it can't leave its thread"
)]
pub trait IntoFailure<By> {
    /// The error and what is to be done.
    fn into_failure(self) -> WorkError;
}

impl<E: Into<Box<dyn Error + Send + Sync>>> IntoFailure<by::Error> for E {
    fn into_failure(self) -> WorkError {
        WorkError::from(self)
    }
}

impl IntoFailure<by::WorkError> for WorkError {
    fn into_failure(self) -> WorkError {
        self
    }
}

impl<E: ErrorOfNobody> IntoFailure<by::Nobody> for E {
    fn into_failure(self) -> WorkError {
        WorkError::from(self)
    }
}

/// What a worker that gives `T` may return.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a worker that gives `{T}` can't return `{Self}`",
    label = "`{T}`, `Result<{T}, E>`, `Outcome<{T}>` or `Result<Outcome<{T}>, E>` is wanted",
    note = "`#[worker(output = ..)]` names what the worker gives, not what it returns"
)]
pub trait Answer<T, By> {
    /// What it fails with.
    type Error;

    /// The outcome; `is_permanent` sorts the errors.
    fn outcome(self, is_permanent: impl FnOnce(&Self::Error) -> bool) -> Outcome<T>;
}

impl<T> Answer<T, by::Value> for T {
    type Error = Infallible;

    fn outcome(self, _: impl FnOnce(&Infallible) -> bool) -> Outcome<T> {
        Outcome::Success(self)
    }
}

impl<T> Answer<T, by::Outcome> for Outcome<T> {
    type Error = Infallible;

    fn outcome(self, _: impl FnOnce(&Infallible) -> bool) -> Outcome<T> {
        self
    }
}

impl<T, E: IntoFailure<By>, By> Answer<T, by::Result<By>> for Result<T, E> {
    type Error = E;

    fn outcome(self, is_permanent: impl FnOnce(&E) -> bool) -> Outcome<T> {
        self.map_or_else(|error| failed(error, is_permanent), Outcome::Success)
    }
}

impl<T, E: IntoFailure<By>, By> Answer<T, by::ResultOfOutcome<By>> for Result<Outcome<T>, E> {
    type Error = E;

    fn outcome(self, is_permanent: impl FnOnce(&E) -> bool) -> Outcome<T> {
        self.unwrap_or_else(|error| failed(error, is_permanent))
    }
}

fn failed<T, E: IntoFailure<By>, By>(error: E, is_permanent: impl FnOnce(&E) -> bool) -> Outcome<T> {
    let permanent = is_permanent(&error);
    let failure = error.into_failure();
    Outcome::Failed(if permanent { WorkError { advice: Advice::Never, stopped: None, ..failure } } else { failure })
}

impl<T> Outcome<T> {
    /// The end of an attempt with this outcome. An output that can't be encoded fails the work of this worker for good.
    pub(crate) fn into_end(self, worker: &str, encode: impl FnOnce(&T) -> Result<Payload, EncodeError>) -> End {
        match self {
            Outcome::Failed(error) => error.into_end(),
            Outcome::Snooze(delay) => End::Snoozed { delay },
            Outcome::Success(value) => {
                let encoded = encode(&value);
                // What the work was to do is done, whatever its output does when it is dropped.
                discard("the output of a worker", value);
                match encoded {
                    Ok(output) => End::Succeeded { output },
                    Err(error) => Unstorable { worker: worker.to_owned(), error }.into_end(),
                }
            }
        }
    }
}

impl<T: Serialize> Outcome<T> {
    /// The end of an attempt of this worker with this outcome, for those who stand in for a worker.
    #[doc(hidden)]
    #[must_use]
    pub fn end(self, worker: &str) -> End {
        self.into_end(worker, Payload::encode)
    }
}

/// A worker gave what can't be stored, or could not be read. What it was to do is done, and a second attempt would do it twice.
#[derive(Debug)]
pub(super) struct Unstorable {
    pub(super) worker: String,
    pub(super) error: EncodeError,
}

impl Unstorable {
    /// The end of the attempt.
    pub(super) fn into_end(self) -> End {
        End::Failed { error: ErrorText::of(&self), advice: Advice::Unstorable }
    }
}

impl fmt::Display for Unstorable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the output of worker `{}` can't be encoded, so the work is not tried again", self.worker)
    }
}

impl Error for Unstorable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn end<T: Serialize, By>(answer: impl Answer<T, By>) -> End {
        answer.outcome(|_| false).end("test")
    }

    fn failed_with(end: End) -> (String, Advice) {
        match end {
            End::Failed { error, advice } => (error.to_string(), advice),
            other => panic!("no failed attempt: {other:?}"),
        }
    }

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_value_in_any_wrapping_is_success() {
        let seven = || End::Succeeded { output: Payload::encode(&7).unwrap() };
        assert_eq!(end::<u8, _>(7_u8), seven());
        assert_eq!(end::<u8, _>(Ok::<u8, String>(7)), seven());
        assert_eq!(end::<u8, _>(Outcome::Success(7_u8)), seven());
        assert_eq!(end::<u8, _>(Ok::<_, WorkError>(Outcome::Success(7_u8))), seven());
    }

    #[test]
    fn a_plain_error_is_a_failed_attempt_with_its_sources() {
        let answer: Result<(), Outer> = Err(Outer(io::Error::other("inner")));
        let End::Failed { error, advice } = end::<(), _>(answer) else { panic!("it failed") };
        assert_eq!((error.message.as_str(), advice), ("outer", Advice::ByPolicy));
        assert_eq!(error.sources, ["inner"]);
        assert_eq!(failed_with(end::<(), _>(Err::<(), _>("text"))), ("text".into(), Advice::ByPolicy));
        assert_eq!(failed_with(end::<(), _>(Err::<(), _>(String::from("owned")))), ("owned".into(), Advice::ByPolicy));
    }

    #[test]
    fn a_work_error_names_its_own_future() {
        let minute = Duration::from_secs(60);
        let permanent = Err::<(), _>(WorkError::permanent("gone"));
        assert_eq!(failed_with(end::<(), _>(permanent)), ("gone".into(), Advice::Never));
        let later = Err::<Outcome<()>, _>(WorkError::retry_after(minute).because("busy"));
        assert_eq!(failed_with(end::<(), _>(later)), ("busy".into(), Advice::After(minute)));
        let unexplained = Outcome::<()>::Failed(WorkError::retry_after(minute));
        assert_eq!(failed_with(end::<(), _>(unexplained)).0, "asked to be tried again after 60s");
        assert_eq!(end::<(), _>(Outcome::<()>::Snooze(minute)), End::Snoozed { delay: minute });
    }

    #[test]
    fn permanent_errors_are_sorted_out_by_the_workers_own_function() {
        let sort = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let end = |kind: io::ErrorKind| Answer::<(), _>::outcome(Err::<(), _>(io::Error::from(kind)), sort).end("test");
        assert_eq!(failed_with(end(io::ErrorKind::NotFound)).1, Advice::Never);
        assert_eq!(failed_with(end(io::ErrorKind::TimedOut)).1, Advice::ByPolicy);
    }

    #[test]
    fn an_output_that_would_not_decode_again_fails_for_good_and_names_its_worker() {
        let (text, advice) = failed_with(end::<f64, _>(f64::NAN));
        assert_eq!(
            text,
            "the output of worker `test` can't be encoded, so the work is not tried again: NaN is no JSON number; an `Option` has `None` for it"
        );
        assert_eq!(advice, Advice::Unstorable);
    }
}
