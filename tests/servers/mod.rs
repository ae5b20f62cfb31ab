//! Authorization servers and a proxy that others wrote, run by Node: the scripts beside this file.
#![allow(unreachable_pub)] // as in a crate of its own

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use serde_json::Value;

#[allow(dead_code)] // the stand-in uses its flaws
#[path = "../standin/certificates.rs"]
mod certificates;

/// No server takes so long to tell where it is.
const START: Duration = Duration::from_secs(60);

/// A running server. It ends when this is dropped, and with this process, however that ends.
pub struct Server {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    known: Value,
}

impl Server {
    /// Runs `script`, installing all servers first if that is not done.
    pub fn start(script: &str) -> Server {
        let mut node = Command::new("node");
        node.arg(script)
            .current_dir(installed())
            .env("CERTIFICATES", certificates())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = node.spawn().unwrap_or_else(|e| panic!("node cannot be run: {e}; {INSTALL}"));
        let mut pipes = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (tell, told) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let _ = tell.send(line(&mut pipes.1));
            pipes
        });
        let known = told.recv_timeout(START).unwrap_or_else(|e| {
            let _ = child.kill();
            panic!("{script} does not start: {e}")
        });
        Server { child, pipes: Mutex::new(reader.join().unwrap()), known }
    }

    /// What the script tells of itself: addresses, clients and their secrets.
    pub fn known(&self, pointer: &str) -> &Value {
        self.known.pointer(pointer).unwrap_or_else(|| panic!("the server tells of no {pointer}"))
    }

    pub fn text(&self, pointer: &str) -> &str {
        self.known(pointer).as_str().unwrap()
    }

    /// What the server saw until now.
    pub fn seen(&self) -> Value {
        let mut pipes = self.pipes.lock().unwrap();
        writeln!(pipes.0).unwrap();
        line(&mut pipes.1)
    }

    pub fn token_requests(&self) -> u64 {
        self.seen()["token_requests"].as_u64().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended already
        let _ = self.child.wait();
    }
}

fn line(stdout: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("the server does not tell of itself: {e}: {line}"))
}

/// The root of every certificate here.
pub fn ca_file() -> PathBuf {
    certificates().join("ca.pem")
}

const INSTALL: &str = "install Node 20 or newer with npm (nodejs.org; Debian 13: apt-get install nodejs npm)";

/// Where the scripts are, with the packages of the lock file; outside the source tree.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
        std::fs::create_dir_all(&folder).unwrap();
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers")).unwrap() {
            let file = entry.unwrap();
            std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
        }
        let version = run("node", &["--version"], &folder);
        let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
        assert!(major.is_some_and(|major| major >= 20), "this is Node {version}; {INSTALL}");
        install(&folder);
        folder
    })
}

/// Once for each lock file.
fn install(folder: &Path) {
    let (lock, stamp) = (folder.join("package-lock.json"), folder.join("node_modules/installed-lock.json"));
    if std::fs::read(&stamp).ok() != std::fs::read(&lock).ok() {
        run("npm", &["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", "npm-cache"], folder);
        std::fs::copy(lock, stamp).unwrap();
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{program} cannot be run: {e}; {INSTALL}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Where the servers' certificates are, made for this process: another may run beside it.
fn certificates() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = installed().join(format!("certificates-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = certificates::Authority::new();
        std::fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
        for (name, names) in
            [("localhost", ["localhost", "127.0.0.1"]), ("elsewhere", ["elsewhere.example", "127.0.0.2"])]
        {
            let (certificate, key) = authority.certify(&names, None);
            std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        folder
    })
}

/// The answer of an API to these headers.
pub fn get(url: &str, headers: &[(String, String)]) -> ureq::http::Response<Value> {
    let request = headers.iter().fold(agent().get(url), |request, (name, value)| request.header(name, value));
    read(request.call().unwrap())
}

/// The answer to a form.
pub fn post(url: &str, form: &[(&str, &str)]) -> ureq::http::Response<Value> {
    read(agent().post(url).send_form(form.iter().copied()).unwrap())
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent()
}

fn read(response: ureq::http::Response<ureq::Body>) -> ureq::http::Response<Value> {
    response.map(|mut body| serde_json::from_str(&body.read_to_string().unwrap()).unwrap())
}
