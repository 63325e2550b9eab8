//! What a worker gives: whether it can be stored, whether an alias hides an answer or a stream, and how an answer ends an attempt.

use std::error::Error;
use std::pin::Pin;

use futures::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::{EncodeError, Payload};
use crate::plan::End;
use crate::worker::{Answer, Outcome, WorkError, by};

/// Whether a type is a `Result`, an `Outcome` or a stream that the macro could not see, because an alias hides it.
pub struct Probe<T>(T);

/// What [`Probe`] says of most types. The inherent constants below win where they exist.
pub trait Visible {
    /// Nothing is hidden.
    const HIDES_ANSWER: bool = false;
    /// Nor is a stream.
    const HIDES_STREAM: bool = false;
}

impl<T> Visible for Probe<T> {}

impl<T, E> Probe<Result<T, E>> {
    /// A `Result` is hidden.
    pub const HIDES_ANSWER: bool = true;
}

impl<T> Probe<Outcome<T>> {
    /// An `Outcome` is hidden.
    pub const HIDES_ANSWER: bool = true;
}

impl<T> Probe<Pin<Box<dyn Stream<Item = T> + Send>>> {
    /// A `BoxStream` is hidden.
    pub const HIDES_ANSWER: bool = true;
    /// And it is no answer.
    pub const HIDES_STREAM: bool = true;
}

impl<T> Probe<Pin<Box<dyn Stream<Item = T>>>> {
    /// A `LocalBoxStream` is hidden.
    pub const HIDES_ANSWER: bool = true;
    /// And it is no answer.
    pub const HIDES_STREAM: bool = true;
}

/// Stops the build if a `Result`, an `Outcome` or a stream is hidden.
pub const fn refuse_hidden_answer(hides_answer: bool, hides_stream: bool) {
    assert!(
        !hides_stream,
        "an alias hides the stream that this worker returns: write `impl Stream<Item = T>` or `BoxStream<'static, T>`"
    );
    assert!(
        !hides_answer,
        "an alias hides the `Result` or `Outcome` that this worker returns: write `Result<..>` or `#[worker(output = T)]`"
    );
}

/// Implemented by nothing: see `by`.
pub trait OutputOfNobody: Serialize + DeserializeOwned {}

/// What a worker can give. A type that hides an answer is refused elsewhere, and passes here so that there is one error.
#[diagnostic::on_unimplemented(
    message = "a worker can't give `{Self}`: it can't be stored",
    label = "not `Serialize + DeserializeOwned`",
    note = "what a worker gives is stored for those who wait for it: derive `serde::Serialize` and `serde::Deserialize` for the type"
)]
pub trait WorkOutput<const HIDES_ANSWER: bool, By> {
    /// The encoded value.
    ///
    /// # Errors
    /// It would not decode again.
    fn encode(&self) -> Result<Payload, EncodeError>;

    /// Reads it back.
    ///
    /// # Errors
    /// It is not read as what was written.
    fn read_back(written: &Payload) -> Result<(), EncodeError>;
}

impl<T: Serialize + DeserializeOwned> WorkOutput<false, by::Value> for T {
    fn encode(&self) -> Result<Payload, EncodeError> {
        Payload::encode(self)
    }

    fn read_back(written: &Payload) -> Result<(), EncodeError> {
        written.read_back::<T>()
    }
}

impl<T: OutputOfNobody> WorkOutput<false, by::Nobody> for T {
    fn encode(&self) -> Result<Payload, EncodeError> {
        Payload::encode(self)
    }

    fn read_back(written: &Payload) -> Result<(), EncodeError> {
        written.read_back::<T>()
    }
}

impl<T> WorkOutput<true, by::Value> for T {
    fn encode(&self) -> Result<Payload, EncodeError> {
        Err(EncodeError::new("an alias hides an answer"))
    }

    fn read_back(_: &Payload) -> Result<(), EncodeError> {
        Err(EncodeError::new("an alias hides an answer"))
    }
}

/// How the function of a worker with a completer ended: an error ends the attempt.
///
/// # Errors
/// The end of the attempt.
pub fn early<By>(answer: impl Answer<(), By>) -> Result<(), End> {
    early_sorted(answer, |_| false)
}

/// The same, with errors that `is_permanent` sorts.
///
/// # Errors
/// The end of the attempt.
pub fn early_sorted<R: Answer<(), By>, By>(answer: R, is_permanent: impl FnOnce(&R::Error) -> bool) -> Result<(), End> {
    match answer.outcome(is_permanent) {
        Outcome::Success(()) => Ok(()),
        Outcome::Failed(error) => Err(error.into_end()),
        Outcome::Snooze(delay) => Err(End::Snoozed { delay }),
    }
}

/// What a worker gives.
pub struct Output<T> {
    worker: &'static str,
    encode: fn(&T) -> Result<Payload, EncodeError>,
    read_back: fn(&Payload) -> Result<(), EncodeError>,
}

/// The output of this worker.
#[must_use]
pub const fn output<T: WorkOutput<HIDES_ANSWER, By>, const HIDES_ANSWER: bool, By>(worker: &'static str) -> Output<T> {
    Output { worker, encode: T::encode, read_back: T::read_back }
}

impl<T> Output<T> {
    /// Reads back what was just encoded.
    ///
    /// # Errors
    /// It is not read as what was written.
    pub fn read_back(&self, written: &Payload) -> Result<(), EncodeError> {
        (self.read_back)(written)
    }

    /// The end of an attempt that was answered so.
    pub fn end<By>(&self, answer: impl Answer<T, By>) -> End {
        self.end_sorted(answer, |_| false)
    }

    /// The same, with errors that `is_permanent` sorts.
    pub fn end_sorted<R: Answer<T, By>, By>(&self, answer: R, is_permanent: impl FnOnce(&R::Error) -> bool) -> End {
        answer.outcome(is_permanent).into_end(self.worker, self.encode)
    }
}

/// The function that says which errors of a worker are permanent, for those who stand in for the worker.
pub struct Sorter<E>(fn(&E) -> bool);

/// The sorter with this function.
#[must_use]
pub fn sorter<E>(is_permanent: fn(&E) -> bool) -> Sorter<E> {
    Sorter(is_permanent)
}

/// What a worker with `permanent = ..` returns.
#[diagnostic::on_unimplemented(
    message = "`permanent` sorts errors, and this worker returns no `Result`",
    label = "no `Result`",
    note = "leave `permanent` out, or return a `Result`"
)]
pub trait FailsWith {
    /// What it fails with.
    type Error;
}

impl<T, E> FailsWith for Result<T, E> {
    type Error = E;
}

impl<E: Error + 'static> Sorter<E> {
    /// Asks about an error, if it is of the worker's type. This one wins over [`AsksOthers`] where both exist.
    #[must_use]
    pub fn asks(&self, error: &WorkError) -> bool {
        error.error().downcast_ref().is_some_and(self.0)
    }
}

/// What a sorter asks about where the worker's type is no [`Error`]: a text, a box, a `WorkError`.
pub trait AsksOthers {
    /// Asks about an error, if it is of the worker's type.
    fn asks(&self, error: &WorkError) -> bool;
}

impl<E: 'static> AsksOthers for Sorter<E> {
    fn asks(&self, error: &WorkError) -> bool {
        error.is_one(self.0)
    }
}
