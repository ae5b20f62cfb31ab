//! The calls that are measured, beside their floors; how long they take, and how many instructions and system calls.

use std::fs::File;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::time::Instant;

use tokauth::Client;

use crate::abi::{Abi, InC};
use crate::floors::Floor;

/// Wide enough for each token.
type Buffer = [u8; 8192];

/// A call, as often as is asked for, by the thread of this number.
pub struct Row<'a> {
    pub name: &'static str,
    /// The row to compare with.
    pub floor: Option<&'static str>,
    calls: Box<dyn Fn(usize, u64) + Sync + 'a>,
}

/// `calls` makes of a thread's number the call that this thread repeats.
fn row<'a, C: FnMut(&mut Buffer)>(
    name: &'static str,
    floor: Option<&'static str>,
    calls: impl Fn(usize) -> C + Sync + 'a,
) -> Row<'a> {
    let calls = move |thread, times| {
        let (mut call, mut buffer) = (calls(thread), [0; size_of::<Buffer>()]);
        for _ in 0..times {
            call(&mut buffer);
        }
    };
    Row { name, floor, calls: Box::new(calls) }
}

/// Clients of both kinds with a cached token, one with no scope and the others with scopes of their own.
pub struct Clients {
    rust: Vec<Client>,
    c: Vec<InC>,
    floors: Vec<Floor>,
}

pub fn options(url: &str) -> [(&str, &str); 4] {
    [("provider", "oauth2"), ("token_url", url), ("client_id", "bench"), ("client_secret", "canary-secret-bench")]
}

impl Clients {
    pub fn new(library: &Path, url: &str, count: usize) -> Clients {
        let builder = options(url).iter().fold(Client::builder(), |builder, (name, value)| builder.set(*name, *value));
        let (rust, c) = (builder.build().unwrap(), InC::new(Abi::load(library), &options(url)));
        let scope = |number: usize| format!("s{number}");
        let clients = Clients {
            floors: (0..count).map(|_| Floor::new("Bearer \0".len() + 1200)).collect(),
            rust: (0..count).map(|number| rust.with("scope", Some(&scope(number))).unwrap()).collect(),
            c: (0..count).map(|number| c.with_scope(&scope(number))).collect(),
        };
        clients.rust.iter().for_each(|client| drop(client.token().unwrap()));
        clients.c.iter().for_each(|client| {
            client.token_and_free();
            assert_ne!(client.generation(), 0, "it is cached");
        });
        clients
    }

    /// With `own`, each thread has a client of its own.
    pub fn rows(&self, own: bool) -> Vec<Row<'_>> {
        let of = move |thread| if own { thread } else { 0 };
        let (rust, c, floor) = (
            move |thread| &self.rust[of(thread)],
            move |thread| &self.c[of(thread)],
            move |thread| &self.floors[of(thread)],
        );
        const BYTES: &[u8; 1200] = &[b'x'; 1200];
        vec![
            row(CLOCKS, None, move |thread| {
                let floor = floor(thread);
                move |_| floor.clocks()
            }),
            row("CLOCK_BOOTTIME", None, move |thread| {
                let floor = floor(thread);
                move |_| floor.boottime()
            }),
            row("copy of 1,200 bytes", None, move |thread| {
                let floor = floor(thread);
                move |buffer| floor.copy(BYTES, buffer)
            }),
            row("mutex", None, move |thread| {
                let floor = floor(thread);
                move |_| floor.lock()
            }),
            row(COUNT, None, move |thread| {
                let floor = floor(thread);
                move |_| floor.count()
            }),
            row(COPY, None, move |thread| {
                let floor = floor(thread);
                move |buffer| assert!(floor.copy_valid(buffer))
            }),
            row("Rust token(), drop", Some(COUNT), move |thread| {
                let client = rust(thread);
                move |_| drop(black_box(client.token()))
            }),
            row("C token, free", Some(COUNT), move |thread| {
                let client = c(thread);
                move |_| client.token_and_free()
            }),
            row("C copy_authorization", Some(COPY), move |thread| {
                let client = c(thread);
                move |buffer| assert_eq!(client.copy_authorization(buffer), 0)
            }),
            row("C generation", Some(CLOCKS), move |thread| {
                let client = c(thread);
                move |_| assert_ne!(client.generation(), 0)
            }),
        ]
    }
}

const CLOCKS: &str = "two coarse clocks";
const COUNT: &str = "clocks, count up and down";
const COPY: &str = "clocks, snapshot, copy";

/// Nanoseconds of wall time by the calls of all threads.
pub fn time(row: &Row<'_>, threads: usize, calls: u64) -> f64 {
    let start = Barrier::new(threads);
    let each = calls / threads as u64;
    let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let run = |thread| {
            start.wait();
            let began = Instant::now();
            (row.calls)(thread, each);
            (began, Instant::now())
        };
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    let began = times.iter().map(|(began, _)| began).min().unwrap();
    let ended = times.iter().map(|(_, ended)| ended).max().unwrap();
    (*ended - *began).as_nanos() as f64 / (each * threads as u64) as f64
}

const BEGIN: &str = "measured calls begin";
const END: &str = "measured calls end";

/// What the child does: the row of this number so often, between two system calls that are easy to find.
pub fn child(library: &Path, url: &str, index: usize, calls: u64) {
    let clients = Clients::new(library, url, 1);
    let row = &clients.rows(false)[index];
    (row.calls)(0, 1);
    let _ = File::open(BEGIN);
    (row.calls)(0, calls);
    let _ = File::open(END);
}

/// What a tool says of the child; else what to install.
fn observed(tool: &[&str], library: &Path, url: &str, index: usize, calls: u64) -> Result<String, String> {
    let mut command = Command::new(tool[0]);
    command.args(&tool[1..]).arg(std::env::current_exe().unwrap()).args(["child", url]).arg(library);
    let output = command.args([index.to_string(), calls.to_string()]).output().map_err(|e| match e.kind() {
        ErrorKind::NotFound => format!("{0} is missing; install {0} (Debian: apt-get install {0})", tool[0]),
        _ => format!("{} cannot be run: {e}", tool[0]),
    })?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{} failed: {text}", tool[0])) }
}

/// Instructions per call.
pub fn instructions(library: &Path, url: &str, index: usize) -> Result<f64, String> {
    let tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let collected = |calls| {
        let text = observed(&tool, library, url, index, calls)?;
        let number = text.split_once("Collected : ").and_then(|(_, rest)| rest.lines().next()?.trim().parse().ok());
        number.ok_or_else(|| format!("valgrind tells no count: {text}"))
    };
    let (few, many): (f64, f64) = (collected(0)?, collected(20_000)?);
    Ok((many - few) / 20_000.0)
}

/// System calls of so many calls.
pub fn system_calls(library: &Path, url: &str, index: usize, calls: u64) -> Result<usize, String> {
    let text = observed(&["strace", "-f"], library, url, index, calls)?;
    let between = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let (between, _) = between.ok_or_else(|| format!("strace shows no marks: {text}"))?;
    // The end of the line that the first mark stands in, whole lines, and the beginning of the other's.
    Ok(between.lines().count().saturating_sub(2))
}
