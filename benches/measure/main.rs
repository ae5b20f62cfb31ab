//! What a call costs, against floors of the same run. `cargo bench` prints all of it, `cargo bench -- hot cold` these
//! groups; `cargo bench -- gate` judges what no load of the machine changes, and is no other run's part.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)] // this plays a C host

mod abi;
mod floors;
mod hot;
mod load;
mod server;
#[path = "../../tests/standin/mod.rs"]
mod standin;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use abi::{Abi, InC};
use hot::{Clients, instructions, options, system_calls, time};
use server::Server;
use standin::{Fault, Standin};

type Group = (&'static str, fn(&Path));
const GROUPS: [Group; 9] = [
    ("hot", hot),
    ("counts", counts),
    ("python", python),
    ("clients", clients),
    ("length", length),
    ("cold", cold),
    ("herd", load::herd),
    ("renewal", load::renewal),
    ("failure", load::failure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["child", url, library, index, calls] => {
            hot::child(Path::new(library), url, index.parse().unwrap(), calls.parse().unwrap());
        }
        ["first", library, ref options @ ..] => println!("{}", first_token(Path::new(library), options).as_nanos()),
        ["gate"] => return gate(&abi::ship()),
        ref names => {
            if let Some(unknown) = names.iter().find(|name| GROUPS.iter().all(|(known, _)| known != *name)) {
                eprintln!("no group {unknown}; there are {} and gate", GROUPS.map(|(name, _)| name).join(", "));
                return ExitCode::FAILURE;
            }
            let library = abi::ship();
            for (name, measure) in GROUPS.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
                println!("\n{name}");
                measure(&library);
            }
        }
    }
    ExitCode::SUCCESS
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Long enough for the threads to spread over the cores.
const SAMPLE_NS: f64 = 25e6;

/// A valid token of 1,200 bytes: nanoseconds of wall time by the calls of all threads.
fn hot(library: &Path) {
    const THREADS: [(usize, bool); 7] =
        [(1, false), (2, false), (4, false), (8, false), (2, true), (4, true), (8, true)];
    let server = Server::of_tokens(1200, 3600, Duration::ZERO);
    let clients = Clients::new(library, &server.url, 8);
    let (shared, own) = (clients.rows(false), clients.rows(true));
    let mut samples = vec![[const { Vec::new() }; THREADS.len()]; shared.len()];
    let calls: Vec<u64> = shared.iter().map(|row| (SAMPLE_NS / time(row, 1, 100_000)) as u64).collect();
    for _ in 0..7 {
        for (index, samples) in samples.iter_mut().enumerate() {
            for ((threads, of_their_own), samples) in THREADS.iter().zip(samples) {
                let row = if *of_their_own { &own[index] } else { &shared[index] };
                samples.push(time(row, *threads, calls[index]));
            }
        }
    }
    let figures: Vec<[f64; THREADS.len()]> = samples.into_iter().map(|samples| samples.map(median)).collect();
    println!(
        "{:27}   1 thread      2      4      8 | own:  2      4      8 | by its floor; worst of 2-8 by 1",
        "ns per call"
    );
    for (row, times) in shared.iter().zip(&figures) {
        let [one, two, four, eight, own @ ..] = times;
        print!("{:27}{one:7.1}{two:7.1}{four:7.1}{eight:7.1} |", row.name);
        own.iter().for_each(|time| print!("{time:7.1}"));
        if let Some(floor) = row.floor {
            let floor = figures[shared.iter().position(|row| row.name == floor).unwrap()][0];
            print!(" | {:.2}; {:.2}", one / floor, two.max(*four).max(*eight) / one);
        }
        println!();
    }
}

/// So many instructions may a call take beyond its floor. No ratio: most of a floor is the kernel's code for the clocks,
/// which is shorter in one kernel than in another.
const MORE: f64 = 60.0;

/// What does not depend on the machine's load, and what of it is more than it may be.
fn count(library: &Path) -> Result<Vec<String>, String> {
    let server = Server::of_tokens(1200, 3600, Duration::ZERO);
    let clients = Clients::new(library, &server.url, 1);
    let rows = clients.rows(false);
    let mut faults = Vec::new();
    let mut counted: Vec<(&str, f64)> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let instructions = instructions(library, &server.url, index)?;
        counted.push((row.name, instructions));
        print!("{:27}{instructions:10.1} instructions", row.name);
        if let Some(floor) = row.floor {
            let more = instructions - counted.iter().find(|(name, _)| *name == floor).unwrap().1;
            let system_calls = system_calls(library, &server.url, index, 1_000_000)?;
            print!(" = {floor} {more:+.1}; {system_calls} system calls in a million");
            if more > MORE || system_calls > 0 {
                faults.push(format!("{}: at most {MORE} more than {floor} and no system call are allowed", row.name));
            }
        }
        println!();
    }
    Ok(faults)
}

fn counts(library: &Path) {
    if let Err(reason) = count(library) {
        println!("not measured: {reason}");
    }
}

fn gate(library: &Path) -> ExitCode {
    let faults = count(library).unwrap_or_else(|reason| vec![reason]);
    faults.iter().for_each(|fault| eprintln!("gate: {fault}"));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Beside an empty call through ctypes, which nothing in Python can be faster than.
fn python(library: &Path) {
    let server = Server::of_tokens(1200, 3600, Duration::ZERO);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg(root.join("benches/measure/hot.py")).env("PYTHONPATH", root.join("examples/python"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("LIBTOKAUTH_PATH", library);
    command.envs(options(&server.url).map(|(name, value)| (format!("TOKAUTH_{}", name.to_uppercase()), value)));
    match command.output() {
        Err(e) => println!("not measured: {e}; install Python 3.8 or newer (Debian: apt-get install python3)"),
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            println!("{:34}  1 thread      2      4      8", "ns per call");
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                let (name, times) = line.split_once('\t').unwrap();
                print!("{name:34}   ");
                times.split('\t').for_each(|time| print!("{:7.0}", time.parse::<f64>().unwrap()));
                println!();
            }
        }
    }
}

/// The call does not become slower with the number of clients in the process.
fn clients(library: &Path) {
    const MANY: usize = 100_000;
    let server = Server::of_tokens(1200, 3600, Duration::ZERO);
    let first = InC::new(Abi::load(library), &options(&server.url));
    let mut buffer = [0; 8192];
    let mut per_call = |clients: &[InC]| {
        let began = Instant::now();
        for number in 0..MANY {
            assert_eq!(clients[number % clients.len()].copy_authorization(&mut buffer), 0);
        }
        began.elapsed().as_nanos() as f64 / MANY as f64
    };
    let mut all = vec![first];
    let mut time = |clients: &[InC]| median((0..9).map(|_| per_call(clients)).collect());
    let alone = time(&all);
    let began = Instant::now();
    for number in 1..MANY {
        let client = all[0].with_scope(&format!("s{number}"));
        client.token_and_free();
        all.push(client);
    }
    println!("{MANY} clients, each with a token, made in {:.1} s", began.elapsed().as_secs_f64());
    let among = time(&all[MANY / 2..=MANY / 2]);
    println!("copy_authorization, the only client   {alone:7.1} ns");
    println!("one of {MANY}                         {among:7.1} ns = {:.2} x", among / alone);
    println!("each of them in turn (cache misses)   {:7.1} ns", time(&all));
}

/// Nor with the length of the token, but for the copy.
fn length(library: &Path) {
    println!("{:10}{:>22}{:>22}", "bytes", "copy_authorization", "token, free");
    for bytes in [100, 1200, 8000] {
        let server = Server::of_tokens(bytes, 3600, Duration::ZERO);
        let clients = Clients::new(library, &server.url, 1);
        let rows = clients.rows(false);
        let named = |name| rows.iter().find(|row| row.name == name).unwrap();
        let ns = |name| median((0..9).map(|_| time(named(name), 1, 200_000)).collect());
        println!("{bytes:<10}{:19.1} ns{:19.1} ns", ns("C copy_authorization"), ns("C token, free"));
    }
}

/// The first token over https in a new process, from options to header, beside a bare exchange with ureq and rustls.
fn cold(library: &Path) {
    let standin = Standin::start();
    let options = standin.options_tls("oauth2");
    let pairs: Vec<&str> = options.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]).collect();
    let once = |library: &Path| {
        let body = server::success(1200, 3600).into_bytes();
        standin.next("oauth2", Fault::Reply { status: 200, headers: vec![], body });
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.arg("first").arg(library).args(&pairs).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().parse::<f64>().unwrap() / 1e6
    };
    let (bare, ours): (Vec<f64>, Vec<f64>) = (0..41).map(|_| (once(Path::new(BARE)), once(library))).unzip();
    let (bare, ours) = (median(bare), median(ours));
    println!("bare ureq and rustls      {bare:7.2} ms");
    println!("C, from options to header {ours:7.2} ms = {:.2} x", ours / bare);
}

/// In place of a library: none.
const BARE: &str = "bare";

fn first_token(library: &Path, options: &[&str]) -> Duration {
    let options: Vec<(&str, &str)> = options.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let abi = (library != Path::new(BARE)).then(|| Abi::load(library));
    let began = Instant::now();
    match abi {
        Some(abi) => assert_eq!(InC::new(abi, &options).copy_authorization(&mut [0; 8192]), 0),
        None => bare_exchange(&options).unwrap(),
    }
    began.elapsed()
}

fn bare_exchange(options: &[(&str, &str)]) -> Result<(), Box<dyn std::error::Error>> {
    let option = |name| options.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).unwrap();
    let pem = std::fs::read(option("ca_file"))?;
    let roots: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    let tls = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(rustls::crypto::ring::default_provider().into())
        .build();
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().tls_config(tls).build());
    let form = [("grant_type", "client_credentials"), ("client_secret", option("client_secret"))];
    let mut reply = agent.post(option("token_url")).send_form(form)?;
    let reply: serde_json::Value = serde_json::from_str(&reply.body_mut().read_to_string()?)?;
    reply["access_token"].as_str().map(drop).ok_or_else(|| "no token".into())
}
