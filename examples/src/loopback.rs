//! [`Server`]: an HTTP server on loopback that can be told to refuse, so that the examples meet a network that fails. It is
//! `tiny_http` on a thread; [`client`] is `ureq`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
pub use tiny_http::{Method, Request};
use tiny_http::{Response, Server as Http};

/// Answers one request after the other on a thread of its own until it is dropped.
pub struct Server {
    http: Arc<Http>,
    address: SocketAddr,
    refusals: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on a free port of the loopback interface and answers each request with the status and the body that `answer` gives.
    /// An error is answered with 500.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn start<A>(mut answer: A) -> io::Result<Self>
    where
        A: FnMut(&mut Request) -> io::Result<(u16, Vec<u8>)> + Send + 'static,
    {
        let http = Arc::new(Http::http("127.0.0.1:0").map_err(io::Error::other)?);
        let address = http.server_addr().to_ip().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let refusals = Arc::new(AtomicUsize::new(0));
        let (serving, refusing) = (Arc::clone(&http), Arc::clone(&refusals));
        let serve = move || {
            for mut request in serving.incoming_requests() {
                let refuse = |left: usize| left.checked_sub(1);
                let refused = refusing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok();
                let (status, body) = match refused {
                    true => (503, b"come back later".to_vec()),
                    false => answer(&mut request).unwrap_or_else(|error| (500, error.to_string().into_bytes())),
                };
                // A client that went away is its own affair.
                drop(request.respond(Response::from_data(body).with_status_code(status)));
            }
        };
        let thread = thread::Builder::new().name("http".into()).spawn(serve)?;
        Ok(Server { http, address, refusals, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the next `count` requests with 503.
    pub fn refuse(&self, count: usize) {
        self.refusals.store(count, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.http.unblock();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A client that asks the server itself, whatever proxy the environment names, and does not wait for ever. Answers of 400 and
/// more are errors.
#[must_use]
pub fn client() -> ureq::Agent {
    ureq::Agent::config_builder().proxy(None).timeout_global(Some(Duration::from_secs(10))).build().into()
}

/// A name as the last part of a URL, whatever letters are in it.
#[must_use]
pub fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// What stands behind the last slash of a request's URL, as it was before it was [`encoded`].
#[must_use]
pub fn name_of(request: &Request) -> String {
    let last = request.url().rsplit('/').next().unwrap_or_default();
    percent_decode_str(last).decode_utf8_lossy().into_owned()
}

/// Whether the server said that the request is wrong, so that asking again is of no use.
#[must_use]
pub fn is_permanent(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::StatusCode(400..500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_arrives_whole_and_a_refusal_is_an_error() {
        let server = Server::start(|request| match request.url() {
            "/echo" => {
                let mut body = Vec::new();
                request.as_reader().read_to_end(&mut body)?;
                Ok((200, body))
            }
            "/broken" => Err(io::Error::other("broken")),
            url if url.starts_with("/name/") => Ok((200, name_of(request).into_bytes())),
            _ => Ok((404, Vec::new())),
        })
        .unwrap();
        let url = |path: &str| format!("http://{}{path}", server.address());
        let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let mut echo = client().put(url("/echo")).send(&body[..]).unwrap();
        assert_eq!(echo.body_mut().read_to_vec().unwrap(), body);
        let odd = "a b/ü#?%2F.png";
        let mut name = client().get(url(&format!("/name/{}", encoded(odd)))).call().unwrap();
        assert_eq!(name.body_mut().read_to_string().unwrap(), odd);
        server.refuse(1);
        let error = |path: &str| client().get(url(path)).call().unwrap_err();
        assert!(matches!(error("/echo"), ureq::Error::StatusCode(503)));
        assert!(client().get(url("/echo")).call().is_ok());
        assert!(is_permanent(&error("/nothing")) && !is_permanent(&error("/broken")));
    }
}
