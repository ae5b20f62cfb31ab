//! What else may listen on a port: proxies, and servers that speak no HTTP.

use super::server::{Listener, read_request, wait_for_stop};
use super::{Recorded, Shared, Standin};
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a peer behaves to whoever connects.
pub enum Manner {
    /// An HTTP proxy that leads to where it is asked to.
    Tunnel {
        /// `user:password`, if it asks for them.
        credentials: Option<&'static str>,
        /// More lines of the head that answers CONNECT.
        head: String,
    },
    /// Answers the first bytes it gets with these, and closes.
    Says(Vec<u8>),
    /// Answers the head of a request with these, and resets the connection when the body has come, unread.
    Early(Vec<u8>),
    /// Sends these, byte after byte without an end.
    Drips(&'static [u8]),
    /// Takes what comes and says nothing.
    Hangs,
    /// Resets each connection when something comes.
    Resets,
    /// Never accepts.
    Deaf,
}

/// One that runs until the stand-in stops.
pub struct Peer {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Recorded>,
    received: Vec<u8>,
}

impl Peer {
    pub(super) fn start(standin: &Standin, manner: Manner) -> Peer {
        let seen = Arc::<Mutex<Seen>>::default();
        if matches!(manner, Manner::Deaf) {
            return Peer { port: standin.hold_a_full_backlog(), seen };
        }
        let note = seen.clone();
        let listener = Listener::start(&standin.shared, move |shared, tcp| behave(shared, tcp, &manner, &note));
        let port = listener.port();
        standin.listeners.lock().unwrap().push(listener);
        Peer { port, seen }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:PORT`
    pub fn as_proxy(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The requests made to a proxy itself.
    pub fn requests(&self) -> Vec<Recorded> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// What was to go through a proxy, or came to a server that says something.
    pub fn received(&self) -> Vec<u8> {
        self.seen.lock().unwrap().received.clone()
    }
}

fn behave(shared: &Shared, mut tcp: TcpStream, manner: &Manner, seen: &Mutex<Seen>) {
    let mut byte = [0];
    match manner {
        Manner::Tunnel { credentials, head } => tunnel(&tcp, *credentials, head, seen),
        Manner::Says(answer) => {
            let mut bytes = [0; 4096];
            let amount = tcp.read(&mut bytes).unwrap_or_default();
            seen.lock().unwrap().received.extend(&bytes[..amount]);
            let _ = tcp.write_all(answer);
        }
        Manner::Early(answer) => {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && tcp.read_exact(&mut byte).is_ok() {
                head.extend(byte);
            }
            let _ = tcp.write_all(answer);
            let _ = tcp.peek(&mut byte);
            super::server::reset(&tcp);
        }
        Manner::Drips(bytes) => {
            let mut bytes = bytes.iter().cycle();
            while tcp.write_all(&[*bytes.next().unwrap()]).is_ok() && !wait_for_stop(shared, Duration::from_millis(20))
            {
            }
        }
        Manner::Hangs => {
            let _ = tcp.read_to_end(&mut Vec::new());
        }
        Manner::Resets | Manner::Deaf => {
            let _ = tcp.peek(&mut byte);
            super::server::reset(&tcp);
        }
    }
}

fn tunnel(tcp: &TcpStream, credentials: Option<&str>, head: &str, seen: &Mutex<Seen>) {
    use base64::Engine;
    let mut client = BufReader::new(tcp);
    let Some(request) = read_request(&mut client) else { return };
    seen.lock().unwrap().requests.push(request.clone());
    let mut client = client.into_inner();
    let expected = credentials.map(|words| base64::prelude::BASE64_STANDARD.encode(words));
    if request.header("proxy-authorization") != expected.map(|words| format!("Basic {words}")).as_deref() {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    if request.method != "CONNECT" {
        let _ = client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    let origin = TcpStream::connect(&request.path).unwrap();
    let _ = client.write_all(format!("HTTP/1.1 200 Connected\r\n{head}\r\n").as_bytes());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::copy(&mut &origin, &mut &*tcp);
            let _ = tcp.shutdown(Shutdown::Both);
        });
        let mut bytes = [0; 4096];
        while let Ok(amount @ 1..) = client.read(&mut bytes) {
            seen.lock().unwrap().received.extend(&bytes[..amount]);
            if (&origin).write_all(&bytes[..amount]).is_err() {
                break;
            }
        }
        let _ = origin.shutdown(Shutdown::Both);
    });
}
