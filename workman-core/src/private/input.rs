//! Arguments, prerequisites and state: into a request, and out of an invocation.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::gates::Key;
use crate::data::object::{ObjectReader, ObjectWriter};
use crate::data::{EncodeError, Payload};
use crate::record::{InputShape, Schedule};
use crate::request::{Input, PeriodicRequest, Request, RequestParts};
use crate::worker::{Invocation, StateKey, States, Unencodable, Unstartable, Worker, by};

/// Implemented by nothing: see `by`.
pub trait InputOfNobody: Serialize + DeserializeOwned + Send + 'static {}

/// What a worker can be given.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be an argument of a worker: it can't be stored",
    label = "not `Serialize + DeserializeOwned + Send + 'static`",
    note = "arguments are stored until the work runs: derive `serde::Serialize` and `serde::Deserialize` for the type",
    note = "what the application has at hand (a database, a client) is asked for with `#[state]` instead"
)]
pub trait WorkInput<By>: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> WorkInput<by::Value> for T {}
impl<T: InputOfNobody> WorkInput<by::Nobody> for T {}

/// An argument that is stored with the request.
pub struct Argument<T> {
    name: &'static str,
    aliases: &'static [&'static str],
    default: Option<fn() -> T>,
    encode: fn(&mut ObjectWriter, &str, &T) -> Result<(), EncodeError>,
    decode: fn(&ObjectReader<'_>, &str) -> Result<Option<T>, String>,
    read_back: fn(&ObjectReader<'_>, &str) -> Result<(), EncodeError>,
}

/// The argument with this name.
#[must_use]
pub const fn argument<T: WorkInput<By>, By>(name: &'static str) -> Argument<T> {
    Argument {
        name,
        aliases: &[],
        default: None,
        encode: |writer, name, value| writer.add(name, value),
        decode: |reader, name| reader.get(name).map_err(|error| error.to_string()),
        read_back: |reader, name| reader.read_back::<T>(name),
    }
}

impl<T> Clone for Argument<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Argument<T> {}

impl<T> Argument<T> {
    /// Older builds stored it under these names.
    #[must_use]
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Older builds did not store it.
    #[must_use]
    pub const fn default(mut self, default: fn() -> T) -> Self {
        self.default = Some(default);
        self
    }

    /// The value under this name or an older one, if there is any.
    fn find(&self, reader: &ObjectReader<'_>) -> Result<Option<T>, Unstartable> {
        let names = std::iter::once(self.name).chain(self.aliases.iter().copied());
        match names.into_iter().find(|name| reader.has(name)) {
            Some(name) => (self.decode)(reader, name).map_err(|error| undecodable(self.name, error)),
            None => Ok(None),
        }
    }
}

fn undecodable(argument: &str, problem: impl Display) -> Unstartable {
    Unstartable::Undecodable(format!("argument `{argument}`: {problem}"))
}

/// What a worker takes from its prerequisites.
pub struct Prerequisite<T> {
    given: Argument<T>,
    shape: InputShape,
    take: fn(&[Option<Payload>]) -> Result<T, String>,
}

impl<T> Prerequisite<T> {
    /// How it is taken.
    #[must_use]
    pub const fn shape(&self) -> InputShape {
        self.shape
    }
}

/// The output of the one prerequisite.
#[must_use]
pub const fn prerequisite<T: WorkInput<By>, By>(name: &'static str) -> Prerequisite<T> {
    Prerequisite { given: argument(name), shape: InputShape::One, take: |outputs| output_at(outputs, 0, 1) }
}

/// The outputs of all prerequisites.
#[must_use]
pub const fn prerequisites<T: Gathers<By>, By>(name: &'static str) -> Prerequisite<T> {
    Prerequisite { given: argument::<T, by::Value>(name), shape: T::SHAPE, take: T::gather }
}

/// Outputs that a worker takes together.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't take the outputs of prerequisites",
    label = "neither a list nor a tuple",
    note = "`#[prerequisites]` takes a `Vec` of outputs of one type, or a tuple with one type for each prerequisite",
    note = "`#[prerequisite]` takes the output of one prerequisite"
)]
pub trait Gathers<By>: Serialize + DeserializeOwned + Send + 'static {
    /// List or tuple.
    const SHAPE: InputShape;

    /// The outputs, from what the prerequisites left.
    ///
    /// # Errors
    /// What is wrong with which of them.
    fn gather(outputs: &[Option<Payload>]) -> Result<Self, String>;
}

impl<T: WorkInput<By>, By> Gathers<(By,)> for Vec<T> {
    const SHAPE: InputShape = InputShape::List;

    fn gather(outputs: &[Option<Payload>]) -> Result<Self, String> {
        (0..outputs.len()).map(|at| output_at(outputs, at, outputs.len())).collect()
    }
}

macro_rules! gathers {
    ($(($($type:ident $by:ident $at:tt),+),)*) => {$(
        impl<$($type: WorkInput<$by>, $by),+> Gathers<($($by,)+)> for ($($type,)+) {
            const SHAPE: InputShape = InputShape::Tuple;

            fn gather(outputs: &[Option<Payload>]) -> Result<Self, String> {
                let wanted = [$($at),+].len();
                Ok(($(output_at(outputs, $at, wanted)?,)+))
            }
        }
    )*};
}

gathers! {
    (A A1 0),
    (A A1 0, B B1 1),
    (A A1 0, B B1 1, C C1 2),
    (A A1 0, B B1 1, C C1 2, D D1 3),
    (A A1 0, B B1 1, C C1 2, D D1 3, E E1 4),
    (A A1 0, B B1 1, C C1 2, D D1 3, E E1 4, F F1 5),
    (A A1 0, B B1 1, C C1 2, D D1 3, E E1 4, F F1 5, G G1 6),
    (A A1 0, B B1 1, C C1 2, D D1 3, E E1 4, F F1 5, G G1 6, H H1 7),
}

/// The output of the prerequisite at this place. One that left nothing left `()`.
fn output_at<T: DeserializeOwned>(outputs: &[Option<Payload>], at: usize, wanted: usize) -> Result<T, String> {
    if outputs.len() != wanted {
        return Err(format!("takes the outputs of {wanted} prerequisites, and there are {}", outputs.len()));
    }
    let place = at + 1;
    match &outputs[at] {
        Some(output) => output.decode().map_err(|error| format!("the output of prerequisite {place}: {error}")),
        None => serde_json::from_str("null").map_err(|_| format!("prerequisite {place} left no output")),
    }
}

/// Implemented by nothing: see `by`.
pub trait StateOfNobody: Clone + Send + Sync + 'static {}

/// What the application gives to its workers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be application state",
    label = "not `Clone + Send + Sync + 'static`",
    note = "each run gets a clone of the state: wrap it in `std::sync::Arc` if it can't be cloned"
)]
pub trait WorkState<By>: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> WorkState<by::Value> for T {}
impl<T: StateOfNobody> WorkState<by::Nobody> for T {}

/// State of the application that a worker asks for.
pub struct State<T> {
    key: fn() -> StateKey,
    get: fn(&States) -> Option<T>,
}

/// The state of this type.
#[must_use]
pub const fn state<T: WorkState<By>, By>() -> State<T> {
    State { key: StateKey::of::<T>, get: States::get::<T> }
}

impl<T> State<T> {
    /// Which type it is.
    #[must_use]
    pub fn key(&self) -> StateKey {
        (self.key)()
    }
}

/// The types of state that a worker asks for.
#[must_use]
pub fn keys<const N: usize>(keys: [StateKey; N]) -> Vec<StateKey> {
    keys.into()
}

/// Arguments on their way into a request. The first that can't be encoded is carried along and refused by `enqueue`.
pub struct Arguments {
    object: ObjectWriter,
    takes: InputShape,
    refused: Option<Unencodable>,
    key: Option<Key>,
}

impl Arguments {
    /// No argument yet, for this worker.
    #[must_use]
    pub fn of<W: Worker>() -> Self {
        Arguments { object: ObjectWriter::new(), takes: W::DEF.takes, refused: None, key: None }
    }

    /// One more.
    #[must_use]
    pub fn add<T>(mut self, argument: &Argument<T>, value: &T) -> Self {
        if self.refused.is_none() {
            let encoded = (argument.encode)(&mut self.object, argument.name, value);
            self.refused = encoded.err().map(|error| Unencodable { argument: argument.name, error });
        }
        self
    }

    /// A value instead of what the worker would take from its prerequisites.
    #[must_use]
    pub fn give<T>(mut self, prerequisite: &Prerequisite<T>, value: &T) -> Self {
        self.takes = InputShape::Nothing;
        self.add(&prerequisite.given, value)
    }

    /// The key by which the request shares a limit, unless it says another.
    #[must_use]
    pub fn limit_key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    fn parts<W: Worker>(self) -> RequestParts {
        let input = match self.refused {
            Some(unencodable) => Err(unencodable),
            None => Ok(Input { payload: self.object.finish(), takes: self.takes }),
        };
        let mut parts = RequestParts::new(W::DEF, input);
        parts.limit_key = self.key.map(Key::finish).transpose();
        parts
    }

    /// A request to run the worker once.
    pub fn request<W: Worker, P>(self) -> Request<P, W::Output> {
        Request::new(self.parts::<W>())
    }

    /// A request to run the worker again and again.
    pub fn periodic<W: Worker>(self, schedule: impl Into<Schedule>) -> PeriodicRequest {
        PeriodicRequest::new(self.parts::<W>(), schedule.into())
    }
}

/// Arguments that were just encoded and are read back.
pub struct Fresh<'a> {
    object: ObjectReader<'a>,
}

impl<'a> Fresh<'a> {
    /// Finds the arguments.
    ///
    /// # Errors
    /// The input is no object.
    pub fn read(input: &'a Payload) -> Result<Self, Unencodable> {
        let object = ObjectReader::read(input);
        let object =
            object.map_err(|error| Unencodable { argument: "", error: EncodeError::new(error.to_string()) })?;
        Ok(Fresh { object })
    }

    /// An argument.
    ///
    /// # Errors
    /// It is not read as what was written.
    pub fn argument<T>(&self, argument: &Argument<T>) -> Result<(), Unencodable> {
        let Argument { name, read_back, .. } = *argument;
        read_back(&self.object, name).map_err(|error| Unencodable { argument: name, error })
    }

    /// What was given instead of what the prerequisites leave, if it was.
    ///
    /// # Errors
    /// It is not read as what was written.
    pub fn prerequisite<T>(&self, prerequisite: &Prerequisite<T>) -> Result<(), Unencodable> {
        self.argument(&prerequisite.given)
    }
}

/// Stored arguments on their way into a worker.
pub struct Inputs<'a> {
    object: ObjectReader<'a>,
    invocation: &'a Invocation,
}

impl<'a> Inputs<'a> {
    /// Finds the arguments.
    ///
    /// # Errors
    /// The input is no object.
    pub fn read(invocation: &'a Invocation) -> Result<Self, Unstartable> {
        let object = ObjectReader::read(&invocation.input);
        let object = object.map_err(|error| Unstartable::Undecodable(format!("the input is {error}")))?;
        Ok(Inputs { object, invocation })
    }

    /// The value of an argument.
    ///
    /// # Errors
    /// It is missing or does not decode.
    pub fn argument<T>(&self, argument: &Argument<T>) -> Result<T, Unstartable> {
        match (argument.find(&self.object)?, argument.default) {
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(default()),
            (None, None) => Err(undecodable(argument.name, "missing")),
        }
    }

    /// What the prerequisites left, or what the request gave instead.
    ///
    /// # Errors
    /// It does not decode.
    pub fn prerequisite<T>(&self, prerequisite: &Prerequisite<T>) -> Result<T, Unstartable> {
        match prerequisite.given.find(&self.object)? {
            Some(value) => Ok(value),
            None => (prerequisite.take)(&self.invocation.prerequisites)
                .map_err(|problem| undecodable(prerequisite.given.name, problem)),
        }
    }

    /// A clone of the state.
    ///
    /// # Errors
    /// Nobody gave it.
    pub fn state<T>(&self, state: &State<T>) -> Result<T, Unstartable> {
        (state.get)(&self.invocation.states).ok_or_else(|| Unstartable::MissingState(state.key()))
    }
}
