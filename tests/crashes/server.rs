//! A token endpoint that counts the requests whose body arrived, and knows which tokens it made.
#![allow(unreachable_pub)] // a part of one test program

use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use crate::LIMIT;

pub struct Server {
    shared: Arc<Shared>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: usize,
    /// Accepted and not closed yet.
    open: usize,
    accepted: usize,
    is_held: bool,
    is_stopped: bool,
    life: u32,
}

/// The text of a token, as long as a JWT; one that is torn is another text.
pub fn token(number: usize) -> String {
    format!("canary-token-{number}-{}-{number}", "abcdefghijklmnopqrstuvwxyz".repeat(40))
}

impl Server {
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        shared.lock().life = 86_400;
        let of_thread = shared.clone();
        let thread = Some(std::thread::spawn(move || of_thread.accept(&listener)));
        Server { shared, port, thread }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    /// How many token requests there were; each brought a token with the next number, from 1 on.
    pub fn requests(&self) -> usize {
        self.shared.lock().requests
    }

    /// The number of a token that was made here, and is whole.
    pub fn number(&self, text: &str) -> Option<usize> {
        let number = text.split('-').nth(2)?.parse().ok()?;
        ((1..=self.requests()).contains(&number) && text == token(number)).then_some(number)
    }

    /// Tokens live so many seconds from now on.
    pub fn set_life(&self, seconds: u32) {
        self.shared.lock().life = seconds;
    }

    /// Keeps all replies back, or lets them go.
    pub fn hold(&self, is_held: bool) {
        self.shared.lock().is_held = is_held;
        self.shared.changed.notify_all();
    }

    pub fn wait_for(&self, requests: usize) {
        self.wait(|state| state.requests >= requests, "a request");
    }

    /// Until whatever was sent by processes that have ended is counted.
    pub fn settle(&self) {
        let before = self.shared.lock().accepted;
        // Connections are accepted in the order in which they were made.
        drop(TcpStream::connect(("127.0.0.1", self.port)).unwrap());
        self.wait(|state| state.accepted > before && state.open == 0, "the end of all connections");
    }

    fn wait(&self, is_over: impl Fn(&State) -> bool, what: &str) {
        let guard = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(guard, LIMIT, |state| !is_over(state));
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "the server waits for {what}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // ends the wait in accept
        let _ = self.thread.take().map(JoinHandle::join); // a panic in there has been printed
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, listener: &TcpListener) {
        std::thread::scope(|scope| {
            for tcp in listener.incoming() {
                let tcp = tcp.unwrap();
                let mut state = self.lock();
                if state.is_stopped {
                    break;
                }
                state.accepted += 1;
                state.open += 1;
                drop(state);
                scope.spawn(move || {
                    tcp.set_read_timeout(Some(LIMIT)).unwrap(); // of a process that is stopped
                    while self.answer(&tcp).is_some() {}
                    self.lock().open -= 1;
                    self.changed.notify_all();
                });
            }
        });
    }

    /// `None`: the other side is gone.
    fn answer(&self, tcp: &TcpStream) -> Option<()> {
        let mut stream = BufReader::new(tcp);
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;

        let mut state = self.lock();
        state.requests += 1;
        let number = state.requests;
        self.changed.notify_all();
        let held = |state: &mut State| state.is_held && !state.is_stopped;
        let state = self.changed.wait_while(state, held).unwrap_or_else(PoisonError::into_inner);
        let body =
            format!(r#"{{"access_token":"{}","token_type":"Bearer","expires_in":{}}}"#, token(number), state.life);
        drop(state);
        let (length, date) = (body.len(), httpdate::fmt_http_date(SystemTime::now()));
        let head = format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json\r\n");
        let reply = format!("{head}Content-Length: {length}\r\n\r\n{body}");
        { tcp }.write_all(reply.as_bytes()).ok()
    }
}
