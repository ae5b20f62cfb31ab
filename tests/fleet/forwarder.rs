//! An address that leads to one server now and to another later, as a name or a load balancer does, and that loses an
//! answer or is slow when it is told to.
#![allow(dead_code, unreachable_pub)] // a part of one test program

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub struct Forwarder {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// `None`: whoever comes is let in and hears nothing.
    to: Option<u16>,
    /// A command that has all these words in it is passed on, and its answer lost with the connection.
    loses: Option<Vec<&'static str>>,
    lost: usize,
    /// The next command is passed on so much later.
    delay: Option<Duration>,
    open: Vec<TcpStream>,
}

impl Forwarder {
    pub fn to(port: u16) -> Forwarder {
        let forwarder = Forwarder::to_nobody();
        forwarder.leads_to(port);
        forwarder
    }

    pub fn to_nobody() -> Forwarder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let to = {
                    let mut state = shared.lock().unwrap();
                    state.open.push(stream.try_clone().unwrap());
                    state.to
                };
                let Some(to) = to else { continue };
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let (from, into, state) = (stream.try_clone().unwrap(), server.try_clone().unwrap(), shared.clone());
                thread::spawn(move || pass(from, into, Some(&state)));
                thread::spawn(move || pass(server, stream, None));
            }
        });
        Forwarder { port, state }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on new connections lead there; those that are open end.
    pub fn leads_to(&self, port: u16) {
        let mut state = self.state.lock().unwrap();
        state.to = Some(port);
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Once: the answer to a command with all these words.
    pub fn loses_the_answer_to(&self, words: &[&'static str]) {
        self.state.lock().unwrap().loses = Some(words.to_vec());
    }

    /// Once: whatever comes next is passed on so much later.
    pub fn delays_the_next_command(&self, by: Duration) {
        self.state.lock().unwrap().delay = Some(by);
    }

    /// How many answers were lost.
    pub fn lost(&self) -> usize {
        self.state.lock().unwrap().lost
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, commands: Option<&Mutex<State>>) {
    let mut bytes = vec![0; 1 << 20];
    let mut loses = false;
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if let Some(state) = commands {
            let delay = state.lock().unwrap().delay.take();
            thread::sleep(delay.unwrap_or_default());
            let (text, mut state) = (String::from_utf8_lossy(&bytes[..length]), state.lock().unwrap());
            loses = state.loses.as_ref().is_some_and(|words| words.iter().all(|word| text.contains(word)));
            if loses {
                (state.loses, state.lost) = (None, state.lost + 1);
                let _ = from.shutdown(Shutdown::Both);
            }
        }
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    // What was passed on is to be read, even if nobody hears the answer.
    let _ = to.shutdown(if loses { Shutdown::Write } else { Shutdown::Both });
}
