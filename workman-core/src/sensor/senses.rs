//! [`Senses`] and [`Bell`]: the program's sensor as the engine asks it and listens to it. A sensor is foreign code, so whatever it does
//! is bounded: one that panics is asked again later, and one that rings without end is listened to now and then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;

use super::ConstraintSensor;
use crate::constraints::Conditions;
use crate::foreign::{Kept, Panicked, foreign};

/// The program's sensor, asked.
pub(crate) struct Senses {
    sensor: Kept<Arc<dyn ConstraintSensor>>,
    /// What it said last; nothing is known of a sensor that has never answered.
    last: Mutex<Conditions>,
}

impl Senses {
    pub(crate) fn new(sensor: Arc<dyn ConstraintSensor>) -> Self {
        Senses { sensor: Kept::new("the sensor", sensor), last: Mutex::new(Conditions::UNKNOWN) }
    }

    fn last(&self) -> MutexGuard<'_, Conditions> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the machine is like now, or what the sensor said last if it panics.
    pub(crate) fn conditions(&self) -> Conditions {
        self.ask().unwrap_or_else(|panicked| {
            tracing::error!(%panicked, "the sensor panicked when it was asked; what it said before still counts");
            *self.last()
        })
    }

    /// What the machine is like now.
    ///
    /// # Errors
    /// When the sensor panics.
    pub(crate) fn ask(&self) -> Result<Conditions, Panicked> {
        let said = foreign(|| self.sensor.conditions())?;
        *self.last() = said;
        Ok(said)
    }
}

/// A sensor that has news more often than this within a [`WINDOW`] is not listened to for the rest of it.
const MOST_RINGS: u32 = 1_000;
const WINDOW: Duration = Duration::from_secs(1);

/// The first wait after a panic; it doubles up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The changes of a sensor, as one bell that can't be rung without end.
pub(crate) struct Bell {
    senses: Arc<Senses>,
    line: Line,
    /// When the window began, on the monotonic clock, and how often it has rung since.
    window: Duration,
    rings: u32,
    /// What went wrong and was not taken note of yet.
    trouble: Option<Panicked>,
    /// Failures in a row, and when the sensor is asked again after the last.
    failures: u32,
    retry_at: Option<Duration>,
    /// Whether the sensor is to be asked, whatever its stream says.
    due: bool,
}

/// How the engine hears of changes.
enum Line {
    Open(Kept<BoxStream<'static, ()>>),
    /// It panicked, or could not be had.
    Broken,
    /// The sensor has said that nothing will change any more.
    Ended,
}

impl Bell {
    /// Listens from now on. The sensor was asked before anybody listened, so the bell rings at once.
    pub(crate) fn new(senses: Arc<Senses>) -> Self {
        let mut bell = Bell {
            senses,
            line: Line::Broken,
            window: Duration::ZERO,
            rings: 0,
            trouble: None,
            failures: 0,
            retry_at: None,
            due: true,
        };
        bell.listen();
        bell
    }

    fn listen(&mut self) {
        match foreign(|| self.senses.sensor.changes()) {
            Ok(stream) => self.line = Line::Open(Kept::new("the stream of the sensor", stream)),
            Err(panicked) => self.on_broken(panicked),
        }
    }

    fn on_broken(&mut self, panicked: Panicked) {
        // It may have had something to say.
        (self.line, self.trouble, self.due) = (Line::Broken, Some(panicked), true);
    }

    /// Whether the sensor is to be asked.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut rang = false;
        // It is asked how it is now, however often it has changed.
        while self.rings < MOST_RINGS && self.poll_line(cx).is_ready() {
            (self.rings, rang) = (self.rings + 1, true);
        }
        if std::mem::take(&mut self.due) || rang { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the stream has one more item.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Line::Open(stream) = &mut self.line else { return Poll::Pending };
        match foreign(|| stream.poll_next_unpin(cx)) {
            Ok(Poll::Ready(Some(()))) => return Poll::Ready(()),
            Ok(Poll::Ready(None)) => self.line = Line::Ended,
            Ok(Poll::Pending) => {}
            Err(panicked) => self.on_broken(panicked),
        }
        Poll::Pending
    }

    /// The sensor was asked and has panicked.
    pub(crate) fn on_panicked(&mut self, panicked: Panicked) {
        self.trouble = Some(panicked);
    }

    /// The sensor was asked and has answered. Whether it is well again.
    pub(crate) fn on_answered(&mut self) -> bool {
        let is_well = self.trouble.is_none() && !matches!(self.line, Line::Broken);
        is_well && std::mem::take(&mut self.failures) > 0
    }

    /// What comes by the passing of time alone. Answers what has gone wrong since.
    pub(crate) fn on_time(&mut self, now: Duration) -> Option<Panicked> {
        if now.saturating_sub(self.window) >= WINDOW {
            if self.rings >= MOST_RINGS {
                tracing::warn!(rings = self.rings, "the sensor rings without end; it is asked once a second");
            }
            (self.window, self.rings) = (now, 0);
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            (self.retry_at, self.due) = (None, true);
            if matches!(self.line, Line::Broken) {
                self.listen();
            }
        }
        let trouble = self.trouble.take()?;
        self.failures = self.failures.saturating_add(1);
        let wait = FIRST_RETRY.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_RETRY);
        self.retry_at = Some(now.saturating_add(wait));
        Some(trouble)
    }

    /// When there is something to do by the passing of time alone.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        let listens = (self.rings >= MOST_RINGS).then(|| self.window.saturating_add(WINDOW));
        [self.retry_at, listens].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Waker;

    use futures::stream;

    use super::*;
    use crate::sensor::{ManualSensor, NoSensor};

    const SECOND: Duration = Duration::from_secs(1);

    fn rings(bell: &mut Bell) -> bool {
        bell.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn bell(sensor: impl ConstraintSensor) -> Bell {
        Bell::new(Arc::new(Senses::new(Arc::new(sensor))))
    }

    /// Panics so often in a call of one kind, and is a manual sensor otherwise.
    struct Sore {
        good: ManualSensor,
        conditions: AtomicU32,
        changes: AtomicU32,
        items: Arc<AtomicU32>,
    }

    impl Sore {
        fn new(conditions: u32, changes: u32, items: u32) -> Self {
            let [conditions, changes, items] = [conditions, changes, items].map(AtomicU32::new);
            Sore { good: ManualSensor::new(), conditions, changes, items: Arc::new(items) }
        }
    }

    fn hurts(left: &AtomicU32) {
        let left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "{} left", left.unwrap_or(0));
    }

    impl ConstraintSensor for Sore {
        fn conditions(&self) -> Conditions {
            hurts(&self.conditions);
            self.good.conditions()
        }

        fn changes(&self) -> BoxStream<'static, ()> {
            hurts(&self.changes);
            let (mut good, items) = (self.good.changes(), Arc::clone(&self.items));
            stream::poll_fn(move |cx| {
                hurts(&items);
                good.poll_next_unpin(cx)
            })
            .boxed()
        }
    }

    #[test]
    fn a_sensor_that_panics_is_what_it_was() {
        let sore = Sore::new(0, 0, 0);
        sore.good.set_charging(false);
        let senses = Senses::new(Arc::new(sore));
        let said = senses.conditions();
        assert_eq!(said.charging, Some(false));
        let unasked = Senses::new(Arc::new(Sore::new(1, 0, 0)));
        assert_eq!(unasked.conditions(), Conditions::UNKNOWN);
        assert_eq!(unasked.conditions(), Conditions::IDEAL);
    }

    #[test]
    fn a_bell_rings_at_once_and_then_for_news_only() {
        let sensor = ManualSensor::new();
        for mut bell in [bell(NoSensor), bell(sensor.clone())] {
            assert!(rings(&mut bell) && !rings(&mut bell));
            assert_eq!((bell.on_time(SECOND), bell.next_wake()), (None, None));
        }
        let mut bell = bell(sensor.clone());
        assert!(rings(&mut bell) && !rings(&mut bell));
        sensor.set_charging(false);
        assert!(rings(&mut bell) && !rings(&mut bell));
    }

    /// However its stream fails, it is had again, later and later, and the sensor is asked then.
    #[test]
    fn a_sensor_that_panics_when_it_is_listened_to_is_tried_again_later_and_later() {
        for sore in [Sore::new(0, 12, 0), Sore::new(0, 0, 12)] {
            let good = sore.good.clone();
            let mut bell = bell(sore);
            let (mut now, mut waits) = (SECOND, Vec::new());
            assert!(rings(&mut bell), "it is asked all the same");
            loop {
                let failed = bell.on_time(now).is_some();
                match bell.next_wake() {
                    Some(next) => {
                        assert!(!bell.on_answered(), "it is not well yet");
                        waits.extend(failed.then(|| next - now));
                        now = next;
                    }
                    None if rings(&mut bell) => {}
                    None => break,
                }
            }
            assert_eq!((waits.len(), bell.on_answered()), (12, true));
            assert!(waits.is_sorted() && waits[0] == FIRST_RETRY, "{waits:?}");
            good.set_charging(false);
            assert!(rings(&mut bell), "it is heard again");
        }
    }

    /// One that is always ready, and one that is whenever it is asked again.
    #[test]
    fn a_sensor_that_rings_without_end_is_listened_to_now_and_then() {
        struct Always;
        struct Again;
        impl ConstraintSensor for Always {
            fn conditions(&self) -> Conditions {
                Conditions::IDEAL
            }
            fn changes(&self) -> BoxStream<'static, ()> {
                stream::repeat(()).boxed()
            }
        }
        impl ConstraintSensor for Again {
            fn conditions(&self) -> Conditions {
                Conditions::IDEAL
            }
            fn changes(&self) -> BoxStream<'static, ()> {
                let mut ready = false;
                stream::poll_fn(move |_| {
                    ready = !ready;
                    if ready { Poll::Ready(Some(())) } else { Poll::Pending }
                })
                .boxed()
            }
        }
        for (mut bell, most) in [(bell(Always), 1), (bell(Again), MOST_RINGS)] {
            for round in 1..=3 {
                let now = round * SECOND;
                assert_eq!(bell.on_time(now), None);
                let rang = (0..3 * MOST_RINGS).filter(|_| rings(&mut bell)).count();
                assert_eq!(u32::try_from(rang), Ok(most));
                assert_eq!(bell.on_time(now + SECOND / 2), None);
                assert!(!rings(&mut bell));
                assert_eq!(bell.next_wake(), Some(now + SECOND));
            }
        }
    }

    #[test]
    fn a_stream_that_has_ended_is_not_asked_again() {
        let mut bell = bell(NoSensor);
        assert!(rings(&mut bell));
        assert!(matches!(bell.line, Line::Ended));
    }
}
