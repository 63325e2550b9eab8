//! A small real HTTP/1.1 server on loopback, and a client for it: blocking, one request a connection.
//!
//! It is here so that the examples meet a network that fails: [`Server::refuse`] makes it answer 503.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// No body is longer than this.
const LONGEST_BODY: usize = 64 << 20;

/// A request as the server sees it.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `PUT`, ..
    pub method: String,
    /// Everything behind the host.
    pub path: String,
    /// What came with it.
    pub body: Vec<u8>,
}

/// A server that answers on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    gate: Arc<Gate>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Gate {
    closed: AtomicBool,
    refusals: AtomicUsize,
    answered: AtomicUsize,
}

impl Server {
    /// Listens on a free port of the loopback interface and answers every request with what `answer` says.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn start(answer: impl Fn(&Request) -> io::Result<(u16, Vec<u8>)> + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let gate = Arc::new(Gate::default());
        let serving = Arc::clone(&gate);
        let thread = thread::Builder::new().name("http".into()).spawn(move || {
            let answer = Arc::new(answer);
            for connection in listener.incoming() {
                if serving.closed.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(connection), gate, answer) = (connection, Arc::clone(&serving), Arc::clone(&answer)) else {
                    continue;
                };
                // A client that went away is its own affair.
                thread::spawn(move || drop(serve(connection, &gate, &*answer)));
            }
        })?;
        Ok(Server { address, gate, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the next `count` requests with 503.
    pub fn refuse(&self, count: usize) {
        self.gate.refusals.store(count, Ordering::SeqCst);
    }

    /// How many requests were answered well.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.gate.answered.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gate.closed.store(true, Ordering::SeqCst);
        // Wakes the thread, which waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(
    mut connection: TcpStream,
    gate: &Gate,
    answer: &impl Fn(&Request) -> io::Result<(u16, Vec<u8>)>,
) -> io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let head = read_head(&mut reader)?;
    let (method, path) = head.first_line.split_once(' ').ok_or_else(|| bad("no request line"))?;
    let path = path.split(' ').next().unwrap_or_default().to_owned();
    let request = Request { method: method.to_owned(), path, body: read_body(&mut reader, head.length)? };
    let refuse = |left: usize| left.checked_sub(1);
    let refused = gate.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok();
    let (status, body) = match refused {
        true => (503, b"come back later".to_vec()),
        false => answer(&request).unwrap_or_else(|error| (500, error.to_string().into_bytes())),
    };
    if status < 300 {
        gate.answered.fetch_add(1, Ordering::SeqCst);
    }
    write!(connection, "HTTP/1.1 {status} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    connection.write_all(&body)
}

/// Fetches what lies under the path.
///
/// # Errors
/// See [`HttpError`].
pub fn get(server: SocketAddr, path: &str) -> Result<Vec<u8>, HttpError> {
    send(server, "GET", path, &[])
}

/// Puts the body there.
///
/// # Errors
/// See [`HttpError`].
pub fn put(server: SocketAddr, path: &str, body: &[u8]) -> Result<Vec<u8>, HttpError> {
    send(server, "PUT", path, body)
}

fn send(server: SocketAddr, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, HttpError> {
    let mut connection = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.len();
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    connection.write_all(body)?;
    let mut reader = BufReader::new(connection);
    let head = read_head(&mut reader)?;
    let status = head.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let answer = read_body(&mut reader, head.length)?;
    match status.ok_or_else(|| bad("no status line"))? {
        200..300 => Ok(answer),
        status => Err(HttpError::Status { status, path: path.to_owned() }),
    }
}

struct Head {
    first_line: String,
    length: usize,
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Head> {
    let mut lines = reader.lines();
    let first_line = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    let mut length = 0;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            return Ok(Head { first_line, length });
        }
        if let Some((_, value)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse().map_err(|_| bad("no length"))?;
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn read_body(reader: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    if length > LONGEST_BODY {
        return Err(bad("too long"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not the HTTP that is spoken here: {what}"))
}

/// Why a request was not answered well.
#[derive(Debug)]
pub enum HttpError {
    /// The server said no.
    Status {
        /// How.
        status: u16,
        /// To what.
        path: String,
    },
    /// There was no answer.
    Io(io::Error),
}

impl HttpError {
    /// Whether asking again is of no use.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, HttpError::Status { status: 400..500, .. })
    }
}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        HttpError::Io(error)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Status { status, path } => write!(f, "the server answered {status} to {path}"),
            HttpError::Io(error) => write!(f, "the server did not answer: {error}"),
        }
    }
}

impl Error for HttpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            HttpError::Io(error) => Some(error),
            HttpError::Status { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_arrives_whole_and_a_refusal_is_an_error() {
        let server = Server::start(|request| match &*request.path {
            "/echo" => Ok((200, request.body.clone())),
            _ => Ok((404, Vec::new())),
        })
        .unwrap();
        let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        assert_eq!(put(server.address(), "/echo", &body).unwrap(), body);
        server.refuse(1);
        assert!(!get(server.address(), "/echo").unwrap_err().is_permanent());
        assert!(get(server.address(), "/echo").unwrap().is_empty());
        assert!(get(server.address(), "/nothing").unwrap_err().is_permanent());
        assert_eq!(server.answered(), 2);
    }
}
