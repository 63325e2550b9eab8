//! The `#[worker]` attribute of `workman-core`, which re-exports it. Depend on that crate, not on this one.
//!
//! The code reads in the order in which it runs: what the user wrote (`ast`), the options and argument attributes
//! (`attr`), the rules (`valid`, with `written`, `stream` and `place` for its questions), the code that is added
//! (`expand`, with `parts`, and `template` for the limit key), and what is emitted beside an error (`fallback`).

#![forbid(unsafe_code)]

mod ast;
mod attr;
mod expand;
mod fallback;
mod parts;
mod place;
mod stream;
mod template;
mod valid;
mod written;

use proc_macro2::TokenStream;

use ast::{Function, Options, Worker};

/// Makes a worker of a function.
///
/// The function stays as it is and can be called as before. Beside it comes a type of the same name that makes requests:
///
/// ```
/// use std::path::PathBuf;
/// use workman_core::worker;
///
/// /// Counts the lines of a file.
/// #[worker]
/// fn count_lines(path: PathBuf) -> Result<usize, std::io::Error> {
///     Ok(std::fs::read_to_string(path)?.lines().count())
/// }
///
/// let request = count_lines::request("notes.txt".into()); // for `manager.enqueue(..)`
/// assert_eq!(count_lines::NAME, "count_lines");
/// assert!(count_lines("no such file".into()).is_err());   // still a plain function
/// # let _ = request;
/// ```
///
/// An `async fn` is polled on the runtime, a plain `fn` runs on a thread for blocking code.
///
/// # What the type offers
/// - `request(inputs..)`, a request to run it once;
/// - `periodic(inputs.., schedule)`, a request to run it again and again, for instance every `Duration`;
/// - `with(outputs, inputs..)`, a request with a value in place of the outputs of prerequisites, for workers that take some.
///   Such a worker has no `periodic`, and its `request` fits into a chain only;
/// - `worker()`, the type as a value, for `manager.handle(upload_image::worker(), id)`;
/// - `NAME`, the name under which its work is stored.
///
/// A module of the same name would clash with the type; `handle = OtherName` renames the type.
///
/// # Arguments
/// | argument | is |
/// |---|---|
/// | `path: PathBuf` | an input: `Serialize + DeserializeOwned + Send + 'static`, stored under its name |
/// | `#[default] tries: u32`, `#[default = 3] tries: u32` | an input that older builds did not store |
/// | `#[alias("file")] path: PathBuf` | an input that older builds stored under another name |
/// | `cx: &WorkContext`, `cx: WorkContext` | the worker's side of the attempt, lent or to keep |
/// | `done: Completer<T>` | what says how the attempt ended, once, from any thread or callback |
/// | `#[state] db: Db` | what the application gave to the builder: `Clone + Send + Sync + 'static` |
/// | `#[prerequisite] image: Image` | the output of the one prerequisite |
/// | `#[prerequisites] parts: Vec<Part>`, or a tuple | the outputs of all prerequisites |
///
/// # Return types
/// `T`, `Result<T, E>`, `Outcome<T>` or `Result<Outcome<T>, E>`, read from the text of the signature. `E` is any error, a
/// `String`, `anyhow::Error` or `WorkError`. A `Result` behind an alias needs `#[worker(output = T)]`.
///
/// Arguments and outputs are stored as JSON, 1 MiB each unless `Limits::payload` says otherwise. A `Vec<u8>` is a list of numbers
/// there and takes about four bytes for each of its own: pass the path of a file, or text that encodes the bytes, such as base64.
///
/// A worker with a `Completer<T>` gives `T` and returns `()` or `Result<(), E>`.
///
/// A worker that returns a stream (`impl Stream<Item = T>`, `BoxStream<'static, T>` or
/// `Pin<Box<dyn Stream<Item = T> + Send>>`, from a plain `fn` or an `async fn`) gives its last item. Each item is its progress
/// at once. A plain `fn` is called on the runtime, so it must return quickly. An item may be a `Result<T, E>`: an error ends
/// the stream as a failed attempt, and so does a stream without an item. When the run is to stop and no item is ready, the
/// stream is dropped and the run is interrupted. A stream is known by the type as it is written in the signature, so an alias of
/// such a type, or a trait of your own that every stream has, can't be used: write one of the three types out.
///
/// ```
/// use futures::stream::{self, Stream};
/// use workman_core::worker;
///
/// /// Counts down, and says each number on the way.
/// #[worker]
/// fn count_down(from: u32) -> impl Stream<Item = u32> {
///     stream::iter((0..=from).rev())
/// }
/// # let _ = count_down::request(3);
/// ```
///
/// # Options
/// | option | sets |
/// |---|---|
/// | `name = "mail/send"` | the name under which work is stored, instead of the function's |
/// | `aliases = ["old"]` | names under which older builds stored its work |
/// | `handle = SendMail` | the name of the type, instead of the function's |
/// | `output = Receipt` | what the worker gives, if an alias hides it |
/// | `crate = path` | where `workman_core` is, if it is renamed or re-exported |
/// | `max_attempts = 5`, `max_attempts = unlimited` | after how many failed attempts work fails for good |
/// | `retry = never` | that the first failed attempt is the last |
/// | `permanent = MailError::is_permanent` | which errors fail work for good: a `fn(&E) -> bool` |
/// | `on_death = fail`, `on_death = park` | what a death of the process does to running work |
/// | `backoff = Backoff::linear(Duration::from_secs(10))` | how long work waits after a failed attempt: a constant expression |
/// | `backoff_fn = my_backoff` | the same by a function of your own, `fn(failed_attempts: u32) -> Duration`; `backoff` has the ceiling and the jitter then |
/// | `timeout = Duration::from_secs(60)` | how long an attempt may take; one that takes longer is a failed attempt |
/// | `priority = 5` | which ready work runs first: an `i8` |
/// | `constraints = Constraints::new().requires_charging()` | when work may run: a constant expression |
/// | `concurrency = 2` | how many of its works run at once, in all processes that share the store: a constant expression, a `u32` above 0 |
/// | `limit_key = "customer/{customer}"` | the key by which a work shares a limit with others, made of inputs |
///
/// # Limits
/// `concurrency` is what `Gate::worker::<resize>().at_once(2)` says to a builder, which counts in its place, as does what a person
/// says.
///
/// A `limit_key` is made when a request is, by `request(..)`, `periodic(..)` and `with(..)`, from the texts (`Display`) of the inputs
/// that it names. `{{` and `}}` are braces, as in `format!`, and nothing but a name stands between two. It is text and no path: of two
/// inputs, `"{a}/{b}"` makes one key of `x/y` and `z`, and of `x` and `y/z`. `.limit_key(..)` on the request counts in its place, and
/// an update has the key of its own inputs. A key that is empty, too long (`Limits::tag`) or of more than one line is refused by
/// `enqueue`. How much one key lets pass is said to a builder or a manager; without that, works of different keys take turns, and
/// nothing else.
///
/// ```
/// use workman_core::{Gate, worker};
///
/// /// At most four run at once.
/// #[worker(concurrency = 4, limit_key = "customer/{customer}")]
/// async fn send_invoice(customer: u64, number: u32) -> String {
///     format!("{customer}-{number}")
/// }
///
/// let request = send_invoice::request(42, 1);             // its key is `customer/42`
/// let two_of_each = Gate::keys("customer/*").at_once(2);  // for `builder.limit(..)`
/// # let _ = (request, two_of_each);
/// ```
#[proc_macro_attribute]
pub fn worker(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    worker_of(options.into(), item.into()).into()
}

/// Parse, check, expand; or the error and a fallback.
fn worker_of(options: TokenStream, item: TokenStream) -> TokenStream {
    let function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return fallback::untouched(item, &error),
    };
    let options = match Options::parse(options) {
        Ok(options) => options,
        Err(error) => return fallback::beside(function, &Options::default(), &error),
    };
    if let Err(error) = place::check(&function) {
        return fallback::inside(function, &error);
    }
    match Worker::check(function.clone(), &options) {
        Ok(worker) => expand::expand(&worker),
        Err(error) => fallback::beside(function, &options, &error),
    }
}
