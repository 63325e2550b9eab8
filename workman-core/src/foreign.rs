//! The one door through which code of the program's own is called, apart from the worker's own thread: [`foreign`].
//!
//! Sensors, wakers, drops, backoff functions, texts of errors: all of it may panic, and none of it may end anything but its own
//! call. So it is called here, a panic is an answer like others, and what the panic carried is dropped here too, since even that
//! may panic. A drop that panics while its thread unwinds from another panic ends the process, and nobody can help that.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Display, Write};
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Waker;

use futures::FutureExt;
use futures::channel::oneshot;

/// Calls what is not workman's.
///
/// # Errors
/// [`Panicked`] when it panics.
pub fn foreign<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(Panicked::of)
}

/// Polls what is not workman's, to its end.
pub(crate) fn awaited<F: Future>(future: F) -> impl Future<Output = Result<F::Output, Panicked>> {
    AssertUnwindSafe(future).catch_unwind().map(|ended| ended.map_err(Panicked::of))
}

/// Drops what is not workman's. Nobody could do anything about a panic in there, so it is logged.
pub(crate) fn discard<T>(what: &str, value: T) {
    if let Err(panicked) = foreign(|| drop(value)) {
        tracing::error!("{what} panicked when it was dropped: {panicked}");
    }
}

/// Wakes whoever waits.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        if let Err(panicked) = foreign(|| waker.wake()) {
            tracing::error!("somebody who waits panicked when it was woken: {panicked}");
        }
    }
}

/// Answers whoever waits for it. Who does not wait any more does not want to know.
pub fn answer<T>(asked: oneshot::Sender<T>, value: T) {
    if let Err(panicked) = foreign(|| drop(asked.send(value))) {
        tracing::error!("somebody who waits for an answer panicked when it came: {panicked}");
    }
}

/// What a panic said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked(String);

impl Panicked {
    fn of(payload: Box<dyn Any + Send>) -> Self {
        let said = payload.downcast_ref::<&str>().map(ToString::to_string);
        let said = said.or_else(|| payload.downcast_ref::<String>().cloned());
        dispose(payload);
        Panicked(said.unwrap_or_else(|| "with a value that is no text".to_owned()))
    }

    /// The same panic, for those whose caller has to know of it.
    pub(crate) fn go_on(self) -> ! {
        resume_unwind(Box::new(self.0))
    }

    /// The text, if it had one.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

impl Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Panicked {}

/// How often a panic of a panic's value is followed.
const MOST_BOMBS: usize = 16;

/// Drops the value of a panic, whose drop may panic with a value again. What has not come to an end by then is kept for ever.
fn dispose(mut payload: Box<dyn Any + Send>) {
    for _ in 0..MOST_BOMBS {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    let _kept = ManuallyDrop::new(payload);
}

/// Something of the program's, kept here and dropped through the door.
pub(crate) struct Kept<T> {
    what: &'static str,
    /// There until it is dropped.
    value: Option<T>,
}

impl<T> Kept<T> {
    pub(crate) fn new(what: &'static str, value: T) -> Self {
        Kept { what, value: Some(value) }
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is there until it is dropped")
    }
}

impl<T> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("it is there until it is dropped")
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        discard(self.what, self.value.take());
    }
}

/// What it says of itself, within so many bytes. An endless text is cut, and one that panics is what it was until then.
pub(crate) fn shown(value: &dyn Display, limit: usize) -> String {
    let mut text = Bounded { text: String::new(), limit, refused: 0 };
    // What it answers says no more than the text does.
    let said = foreign(|| _ = write!(text, "{value}"));
    let Bounded { mut text, refused, .. } = text;
    if let Err(panicked) = said.as_ref().map_err(Panicked::to_string)
        && refused == 0
    {
        let note = format!("{}(its text panicked: {panicked})", if text.is_empty() { "" } else { " " });
        let room = note.floor_char_boundary(limit.saturating_sub(text.len()));
        text.push_str(&note[..room]);
    }
    text
}

/// Adds what it says of itself to a text that has so many bytes at the most, or tells why that is not all of it.
pub(crate) fn add_shown(value: &dyn Display, text: &mut String, limit: usize) -> Result<(), String> {
    let limit = limit.max(text.len());
    let mut bounded = Bounded { text: std::mem::take(text), limit, refused: 0 };
    let said = foreign(|| write!(bounded, "{value}"));
    let refused = bounded.refused;
    *text = bounded.text;
    match said {
        _ if refused > 0 => Err(format!("its text is too long: with it there are more than {limit} bytes")),
        Err(panicked) => Err(format!("its text panicked: {panicked}")),
        Ok(Err(fmt::Error)) => Err("its `Display` fails".into()),
        Ok(Ok(())) => Ok(()),
    }
}

/// How often a text is told that it is too long before it is made to end.
const MOST_REFUSALS: usize = 1_000;

/// A text that takes so much and no more.
struct Bounded {
    text: String,
    limit: usize,
    refused: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.limit - self.text.len();
        if self.refused == 0 && part.len() <= room {
            self.text.push_str(part);
            return Ok(());
        }
        if self.refused == 0 {
            self.text.push_str(&part[..part.floor_char_boundary(room)]);
        }
        self.refused += 1;
        if self.refused > MOST_REFUSALS {
            // It does not hear an error, so this is the only way out of it. No hook is called: it is no panic of the program.
            resume_unwind(Box::new("too long"));
        }
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    /// The value of a panic whose drop panics with another one, so many times.
    struct Bomb(usize);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Bomb(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_is_an_answer_with_its_text_whatever_it_carries() {
        assert_eq!(foreign(|| 7), Ok(7));
        let text = |call: fn()| foreign(call).unwrap_err().into_text();
        assert_eq!(text(|| panic!("plain")), "plain");
        assert_eq!(text(|| panic!("number {}", 7)), "number 7");
        assert_eq!(text(|| std::panic::panic_any(7_u8)), "with a value that is no text");
        for depth in [1, MOST_BOMBS - 1, MOST_BOMBS, 1_000] {
            assert!(foreign(|| std::panic::panic_any(Bomb(depth))).is_err(), "a panic's panic came through");
        }
    }

    #[test]
    fn a_future_that_panics_is_an_answer() {
        assert_eq!(awaited(ready(7)).now_or_never(), Some(Ok(7)));
        assert_eq!(awaited(pending::<()>()).now_or_never(), None);
        let panics = std::future::poll_fn(|_| -> std::task::Poll<()> { std::panic::panic_any(Bomb(3)) });
        assert!(awaited(panics).now_or_never().is_some_and(|ended| ended.is_err()));
    }

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::panic_any(Bomb(2));
        }
    }

    #[test]
    fn whoever_panics_when_it_is_woken_keeps_nobody_from_being_woken() {
        let (asked, mut answered) = oneshot::channel();
        let waker = Waker::from(Arc::new(Panics));
        let _ = answered.poll_unpin(&mut std::task::Context::from_waker(&waker));
        answer(asked, 7);
        assert_eq!(answered.try_recv(), Ok(Some(7)));
        wake_all([waker, Waker::noop().clone()]);
    }

    #[test]
    fn what_is_kept_is_of_use_and_its_drop_hurts_nobody() {
        struct Sore<'a>(&'a Cell<u32>);
        impl Drop for Sore<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
                std::panic::panic_any(Bomb(1));
            }
        }
        let dropped = Cell::new(0);
        let kept = Kept::new("it", Sore(&dropped));
        assert_eq!(kept.0.get(), 0);
        drop(kept);
        discard("it", Sore(&dropped));
        assert_eq!(dropped.get(), 2);
    }

    struct Says(fn(&mut fmt::Formatter<'_>) -> fmt::Result);

    impl Display for Says {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0(f)
        }
    }

    #[test]
    fn a_text_is_bounded_whether_it_hears_of_that_or_not() {
        let listens = Says(|f| {
            loop {
                f.write_str("ä")?;
            }
        });
        let is_deaf = Says(|f| {
            loop {
                let _ = f.write_str("ä");
            }
        });
        for endless in [listens, is_deaf] {
            assert_eq!(shown(&endless, 0), "");
            assert_eq!(shown(&endless, 7), "äää", "no sign is cut in half");
        }
        assert_eq!(shown(&"exactly", 7), "exactly");
        assert_eq!(shown(&"exactly", usize::MAX), "exactly");
    }

    #[test]
    fn a_text_that_panics_or_fails_is_what_it_was_until_then() {
        let panics = Says(|f| {
            f.write_str("half")?;
            panic!("no more")
        });
        assert_eq!(shown(&panics, 100), "half (its text panicked: no more)");
        assert_eq!(shown(&panics, 8), "half (it");
        assert_eq!(shown(&Says(|_| std::panic::panic_any(Bomb(5))), 100).find("(its text panicked"), Some(0));
        assert_eq!(shown(&Says(|_| Err(fmt::Error)), 100), "");
    }

    #[test]
    fn what_is_added_to_a_text_is_all_of_it_or_the_reason_why_it_is_not() {
        let add = |value: &dyn Display, limit| {
            let mut text = "to ".to_owned();
            add_shown(value, &mut text, limit).map(|()| text)
        };
        assert_eq!(add(&"ä", 5), Ok("to ä".into()));
        assert_eq!(add(&"", 0), Ok("to ".into()));
        for limit in [0, 3, 4] {
            assert!(add(&"ä", limit).is_err_and(|why| why.contains("more than")), "{limit}");
        }
        let is_deaf = Says(|f| f.write_str("long").or(Ok(())));
        assert!(add(&is_deaf, 6).is_err());
        assert!(add(&Says(|_| Err(fmt::Error)), 100).is_err());
        assert_eq!(add(&Says(|_| panic!("no more")), 100), Err("its text panicked: no more".into()));
    }
}
