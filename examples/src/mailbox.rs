//! [`Mailbox`]: a mail server as far as a sender sees it. It refuses each mail once, delivers a mail once however often it is
//! sent, and can hold a mail in flight while somebody is killed.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::loopback::{Request, Server};

/// Nobody waits longer than this for a mail.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// The header by which a mail that comes again is known.
pub const KEY: &str = "Idempotency-Key";

/// A server that takes mails over HTTP, with what arrived.
pub struct Mailbox {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    arrivals: Mutex<Arrivals>,
    changed: Condvar,
}

/// What has arrived.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// Each delivered mail by its key, once.
    pub delivered: BTreeMap<String, Vec<u8>>,
    /// How often each key was sent, the refused first time included.
    pub sent: BTreeMap<String, usize>,
    /// The mail that is delivered and not answered yet.
    pub held: Option<String>,
    hold: bool,
}

impl Mailbox {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let taking = Arc::clone(&shared);
        Ok(Mailbox { server: Server::start(move |request| taking.take(request))?, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The next mail that is delivered is not answered before [`release`](Self::release), nor is any after it.
    pub fn hold(&self) {
        self.shared.lock().hold = true;
    }

    /// Lets go of what is held.
    pub fn release(&self) {
        self.shared.lock().hold = false;
        self.shared.changed.notify_all();
    }

    /// Waits until it is so, and says what has arrived by then.
    ///
    /// # Errors
    /// When it does not come about in two minutes.
    pub fn until(&self, is_so: impl Fn(&Arrivals) -> bool) -> io::Result<Arrivals> {
        let arrivals = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(arrivals, LONGEST_WAIT, |arrivals| !is_so(arrivals));
        match waited.unwrap_or_else(PoisonError::into_inner) {
            (arrivals, timeout) if !timeout.timed_out() => Ok(arrivals.clone()),
            (arrivals, _) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("still {arrivals:?}"))),
        }
    }
}

impl Drop for Mailbox {
    /// The server ends when it has answered.
    fn drop(&mut self) {
        self.release();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, request: &mut Request) -> io::Result<(u16, Vec<u8>)> {
        let key =
            request.headers().iter().find(|header| header.field.equiv(KEY)).map(|header| header.value.to_string());
        let Some(key) = key else { return Ok((400, b"a mail wants a key".to_vec())) };
        let mut mail = Vec::new();
        request.as_reader().read_to_end(&mut mail)?;
        let mut arrivals = self.lock();
        let sent = arrivals.sent.entry(key.clone()).or_default();
        *sent += 1;
        if *sent == 1 {
            self.changed.notify_all();
            return Ok((503, b"come back later".to_vec()));
        }
        arrivals.delivered.entry(key.clone()).or_insert(mail);
        if arrivals.hold {
            arrivals.held = Some(key);
            self.changed.notify_all();
            let held = self.changed.wait_while(arrivals, |arrivals| arrivals.hold);
            arrivals = held.unwrap_or_else(PoisonError::into_inner);
            arrivals.held = None;
        }
        self.changed.notify_all();
        Ok((202, Vec::new()))
    }
}
