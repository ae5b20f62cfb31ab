//! Real processes: this test executable again, told by variables what to do.
#![allow(dead_code, unreachable_pub)] // a part of one test program

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal};
use tokauth::Client;

use crate::canary::{self, Watched};
use crate::standin::Standin;

/// The variable with what it is to do: words, one after the other.
const ACTS: &str = "FLEET_ACTS";
/// And with the options of its client: names and values, a line each.
const OPTIONS: &str = "FLEET_OPTIONS";

pub type Options = Vec<(String, String)>;

pub fn with(mut options: Options, name: &str, value: &str) -> Options {
    options.retain(|(known, _)| known != name);
    options.push((name.to_owned(), value.to_owned()));
    options
}

/// For the stand-in, with that store and perhaps a budget.
pub fn options(standin: &Standin, store: &str, quota: Option<&str>) -> Options {
    let options = with(with(standin.oauth2_options("post"), "store", store), "timeout_ms", "60000");
    quota.map_or(options.clone(), |quota| with(options, "quota", quota))
}

pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub fn start(options: &Options, acts: &str) -> Process {
        let options: Vec<_> = options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_process_of_its_own", "--nocapture", "--test-threads=1"]);
        command.env(ACTS, acts).env(OPTIONS, options.join("\n"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, lines) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()).lines());
        Process { child, input, lines }
    }

    /// What it says next.
    #[track_caller]
    pub fn says(&mut self) -> String {
        let mut said = self.lines.by_ref().map(Result::unwrap);
        said.find_map(|line| line.split_once("said: ").map(|(_, said)| said.to_owned())).expect("it says something")
    }

    /// Lets an act that waits go on.
    pub fn go_on(&mut self) {
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        crate::signal::signal(&self.child, signal);
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side: does what it was told to, if this is such a process.
pub fn act() {
    let Ok(acts) = std::env::var(ACTS) else { return };
    let options = std::env::var(OPTIONS).unwrap();
    let mut builder = Client::builder();
    for (name, value) in options.lines().filter_map(|line| line.split_once('=')) {
        builder = builder.set(name, value);
    }
    let client = canary::build(&builder).unwrap();
    acts.split(' ').for_each(|what| one(what, &client));
}

fn one(what: &str, client: &Watched) {
    match what {
        "wait" => {
            say("ready");
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        "token" => say(told(client)),
        "refresh" => say(client.refresh().map_or_else(|error| error.to_string(), |token| hidden(token.value()))),
        "budget" => say(canary::outcome(client.0.budget()).unwrap().unwrap().requests),
        "descriptors" => say(descriptors().join(" ")),
        // A child asks anew, then its parent.
        "forks" => {
            let child = fork();
            if child == 0 {
                let before = descriptors();
                one("refresh", client);
                say(format!("{} descriptors more", descriptors().len() - before.len()));
                _exit(0);
            }
            while Pid::from_raw(child).is_some_and(|child| {
                rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).is_err()
            }) {}
            one("refresh", client);
        }
        _ => panic!("no such act: {what}"),
    }
}

fn told(client: &Watched) -> String {
    client.token().map_or_else(|error| format!("{:?} {error}", error.kind()), |token| hidden(token.value()))
}

/// No test prints a token; equal ones look equal.
fn hidden(token: &str) -> String {
    let sum = token
        .bytes()
        .fold(14_695_981_039_346_656_037_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(1_099_511_628_211));
    format!("token {sum:016x}")
}

fn descriptors() -> Vec<String> {
    // Without the one that reads this directory.
    let entries = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter_map(|path| fs::read_link(path).ok()?.to_str().map(str::to_owned))
        .filter(|to| !to.ends_with("/fd"))
        .collect()
}

fn say(what: impl std::fmt::Display) {
    println!("said: {what}");
}

#[allow(unsafe_code)] // this plays a host that forks
unsafe extern "C" {
    safe fn fork() -> i32;
    safe fn _exit(status: i32) -> !;
}

/// Until it is so; asked again and again.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "in all this time not: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
