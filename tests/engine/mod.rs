//! A real server: redis-server, or what `TOKAUTH_REDIS` names (valkey-server), on a free port with a directory of its
//! own, and with a clock that tests set.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

#[path = "../port/mod.rs"]
pub mod port;

use std::fs::OpenOptions;
use std::io::{ErrorKind as Io, Read as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue};
use rustix::process::Signal;

use crate::temp::TempDir;

pub struct Engine {
    child: Child,
    pub port: u16,
    /// Its directory.
    pub place: TempDir,
    arguments: Vec<String>,
}

/// The server's clock, for [`Engine`]s to see another time of day.
fn clock() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        // Nobody would remove it from a directory of its own, which a static never drops.
        let library = concat!(env!("CARGO_TARGET_TMPDIR"), "/clock.so").to_owned();
        let new = format!("{library}.{}", std::process::id());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/clock.c");
        let built = Command::new("gcc").args(["-shared", "-fPIC", "-pthread", "-O1", "-o", &new, source]).status();
        assert!(built.expect("gcc is missing; install it (Debian: gcc libc6-dev)").success());
        std::fs::rename(new, &library).unwrap();
        library
    })
}

impl Engine {
    pub fn start() -> Engine {
        Engine::with(&[])
    }

    /// With more arguments, such as `--requirepass x`.
    pub fn with(arguments: &[&str]) -> Engine {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (port, place) = (port::reserve(), TempDir::new());
        std::fs::write(place.join("clock"), [0; 8]).unwrap();
        let child = Engine::run(port, &place, &arguments);
        let mut engine = Engine { child, port, place, arguments };
        engine.wait_till_it_is_up();
        engine
    }

    fn run(port: u16, place: &TempDir, arguments: &[String]) -> Child {
        let program = std::env::var("TOKAUTH_REDIS").unwrap_or_else(|_| "redis-server".to_owned());
        let mut command = Command::new(&program);
        command.args(["--bind", "127.0.0.1 -::1", "--port", &port.to_string(), "--dir", &place.join("")]);
        command.args(["--logfile", &place.join("log"), "--save", "", "--appendonly", "no"]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("LD_PRELOAD", clock()).env("TEST_CLOCK", place.join("clock"));
        command.spawn().unwrap_or_else(|e| match e.kind() {
            Io::NotFound => panic!("{program} is missing; install it (Debian: apt-get install redis-server)"),
            _ => panic!("{program}: {e}"),
        })
    }

    fn wait_till_it_is_up(&mut self) {
        let began = Instant::now();
        while !std::fs::read_to_string(self.place.join("log")).is_ok_and(|log| log.contains("eady to accept")) {
            if self.child.try_wait().unwrap().is_some() {
                let mut told = String::new();
                self.child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
                self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
                panic!("{told}{}", std::fs::read_to_string(self.place.join("log")).unwrap_or_default());
            }
            assert!(began.elapsed() < Duration::from_secs(60), "the server does not come up");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection for the test itself, as the user that everybody is by default.
    pub fn connection(&self) -> Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// The answer to a command, in words.
    #[track_caller]
    pub fn tell<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut asked = redis::cmd(words.next().unwrap());
        asked.arg(words.collect::<Vec<_>>());
        asked.query(&mut self.connection()).unwrap_or_else(|e| panic!("{command}: {e}"))
    }

    /// How often it was asked for a command, such as `eval`.
    pub fn count(&self, command: &str) -> u64 {
        let told: String = self.tell("INFO commandstats");
        let head = format!("cmdstat_{command}:calls=");
        let calls = told.lines().find_map(|line| line.strip_prefix(&head)?.split(',').next()?.parse().ok());
        calls.unwrap_or(0)
    }

    /// From now on its time of day stands still there, in time since 1970.
    pub fn stop_clock_at(&self, time: Duration) {
        let file = OpenOptions::new().write(true).open(self.place.join("clock")).unwrap();
        file.write_all_at(&i64::try_from(time.as_micros()).unwrap().to_ne_bytes(), 0).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        crate::signal::signal(&self.child, signal);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// On the same port with the same arguments, and what its disk had.
    pub fn start_again(&mut self) {
        self.kill();
        std::fs::remove_file(self.place.join("log")).unwrap();
        self.child = Engine::run(self.port, &self.place, &self.arguments);
        self.wait_till_it_is_up();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
