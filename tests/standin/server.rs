//! HTTP/1.1 over any stream, one thread per connection: small, so that faults are exact on the wire and a held request
//! holds no other. Heads are read by httparse.

use super::{Fault, PROVIDERS, Recorded, Shared, State, checks, clients, providers};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

pub(super) struct Listener {
    port: u16,
    thread: JoinHandle<()>,
}

impl Listener {
    pub(super) fn start(shared: &Arc<Shared>, serve: impl Fn(&Shared, TcpStream) + Send + Sync + 'static) -> Listener {
        let (listener, port) = on_a_new_port();
        let shared = shared.clone();
        let thread = std::thread::spawn(move || accept(&shared, &listener, &serve));
        Listener { port, thread }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Call it when the stand-in is stopped.
    pub(super) fn join(self) {
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // ends the wait in accept
        let _ = self.thread.join(); // a panic in there has been printed
    }
}

/// A port that no stand-in of this process has had: a client of that one would find its tokens in the cache.
fn on_a_new_port() -> (TcpListener, u16) {
    static HAD: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if HAD.lock().unwrap().insert(port) {
            return (listener, port);
        }
    }
}

fn accept(shared: &Shared, listener: &TcpListener, serve: &(impl Fn(&Shared, TcpStream) + Sync)) {
    std::thread::scope(|scope| {
        for tcp in listener.incoming() {
            let tcp = tcp.unwrap();
            let mut state = shared.lock();
            if state.stopped {
                break;
            }
            let id = state.next_id();
            state.accepted += 1;
            state.connections.insert(id, tcp.try_clone().unwrap());
            drop(state);
            scope.spawn(move || {
                tcp.set_nodelay(true).unwrap();
                serve(shared, tcp);
                // the clone would keep the connection open
                if let Some(tcp) = shared.lock().connections.remove(&id) {
                    let to_reset = rustix::net::sockopt::socket_linger(&tcp) == Ok(Some(Duration::ZERO));
                    if !to_reset {
                        let _ = tcp.shutdown(Shutdown::Both);
                    }
                }
            });
        }
    });
}

/// Makes the end of the connection a reset.
pub(super) fn reset(tcp: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(tcp, Some(Duration::ZERO)).unwrap();
}

pub(super) fn serve_http(shared: &Shared, tcp: TcpStream) {
    serve(shared, &mut &tcp, &tcp);
}

pub(super) fn refuse_as_proxy(_: &Shared, tcp: TcpStream) {
    let mut stream = BufReader::new(tcp);
    if read_request(&mut stream).is_some() {
        let _ = stream.get_mut().write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"standin\"\r\n\
              Content-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
}

/// Answers requests over `stream`, which goes over `tcp`, until one side ends the connection. True if the end is to be
/// announced.
pub(super) fn serve(shared: &Shared, stream: &mut (impl Read + Write), tcp: &TcpStream) -> bool {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream) {
        let Some(answer) = answer(shared, &request) else { return true };
        let stream = stream.get_mut();
        match answer {
            Fault::Reply { status, headers, body } => {
                let ends = |headers: &[(String, String)]| {
                    headers.iter().any(|(n, v)| n.eq_ignore_ascii_case("connection") && v.eq_ignore_ascii_case("close"))
                };
                // a chunked body was not read, so the next request cannot be found
                let lost = request.header("transfer-encoding").is_some();
                let sent = send(stream, &write_reply(shared, status, &headers, &body));
                if sent && !lost && !ends(&headers) && !ends(&request.headers) {
                    continue;
                }
            }
            Fault::Open(bytes) => {
                if send(stream, &bytes) {
                    continue;
                }
            }
            Fault::Raw(bytes) => drop(send(stream, &bytes)),
            Fault::Cut(bytes) => return !send(stream, &bytes),
            Fault::Reset(bytes) => {
                send(stream, &bytes);
                reset(tcp);
                return false;
            }
            Fault::Close => {}
            Fault::Drip(first, then) => {
                let mut then = then.bytes().cycle();
                let mut open = send(stream, first.as_bytes());
                while open && !wait_for_stop(shared, Duration::from_millis(20)) {
                    open = send(stream, &[then.next().unwrap()]);
                }
            }
            Fault::Flood(first, then) => {
                let many = then.repeat(64 * 1024 / then.len());
                let (mut left, mut open) = (0, send(stream, first.as_bytes()));
                while open && left < 1 << 30 {
                    open = send(stream, many.as_bytes());
                    left += many.len() as u64;
                }
                shared.lock().flooded = Some(left);
                shared.changed.notify_all();
            }
            Fault::Stall => drop(shared.changed.wait_while(shared.lock(), |state| !state.stopped)),
        }
        return true;
    }
    true
}

fn send(stream: &mut impl Write, bytes: &[u8]) -> bool {
    stream.write_all(bytes).and_then(|()| stream.flush()).is_ok()
}

/// True when the stand-in stops within this time.
pub(super) fn wait_for_stop(shared: &Shared, limit: Duration) -> bool {
    shared.changed.wait_timeout_while(shared.lock(), limit, |state| !state.stopped).unwrap().0.stopped
}

/// None at the end of the connection and for anything that is not a request.
pub(super) fn read_request(stream: &mut impl BufRead) -> Option<Recorded> {
    // A TLS handshake on the plain port has no line end to wait for.
    stream.fill_buf().ok()?.first()?.is_ascii_uppercase().then_some(())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        (stream.read_until(b'\n', &mut head).ok()? > 0).then_some(())?;
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(&head).ok()?.is_complete().then_some(())?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let mut request = Recorded {
        method: parsed.method?.into(),
        path: parsed.path?.into(),
        headers: parsed.headers.iter().map(|h| Some((h.name.into(), text(h.value)?))).collect::<Option<_>>()?,
        body: String::new(),
    };
    let length = request.header("content-length").map_or(Some(0), |value| value.parse().ok())?;
    let mut body = Vec::new();
    stream.take(length).read_to_end(&mut body).ok()?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    (body.len() as u64 == length).then_some(request)
}

fn write_reply(shared: &Shared, status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let reason = if status < 400 { "OK" } else { "Error" };
    let mut reply = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers {
        reply += &format!("{name}: {value}\r\n");
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("date")) {
        let now = u64::try_from(shared.lock().now()).unwrap();
        reply += &format!("Date: {}\r\n", httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now)));
    }
    if status != 204 {
        reply += &format!("Content-Length: {}\r\n", body.len());
    }
    [(reply + "\r\n").as_bytes(), body].concat()
}

/// What goes back; None if the stand-in stopped meanwhile.
fn answer(shared: &Shared, request: &Recorded) -> Option<Fault> {
    let path = request.path.split('?').next()?;
    let (provider, endpoint) = path.strip_prefix('/')?.split_once('/').unwrap_or_default();
    let mut state = shared.lock();
    if !PROVIDERS.contains(&provider) || endpoint != clients::token_path(provider) {
        return Some(providers::api(&mut state, provider, endpoint, request));
    }

    checks::audit(&mut state, provider, request);
    let arrived = state.endpoint(provider);
    arrived.requests += 1;
    arrived.last = Some(request.clone());
    shared.changed.notify_all();

    let held = |state: &mut State| !state.stopped && state.endpoint(provider).holds > 0;
    let mut state = shared.changed.wait_while(state, held).unwrap();
    if state.stopped {
        return None;
    }
    let fault = state.endpoint(provider).faults.pop_front();
    Some(fault.unwrap_or_else(|| providers::token(&mut state, provider, request)))
}
