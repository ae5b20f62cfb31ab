//! What an operator has in a shell: the example `token`, libcurl in C, and the page about jobs that call Calenso.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod languages;
mod standin;
mod temp;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;

use languages::{built, command, root};
use serde_json::{Value, json};
use standin::{Fault, PROVIDERS, Standin, TOKEN_WORD, client_id, client_secret};
use temp::{TempDir, TempFile};
use tokauth::OPTIONS;

const CURL: &str = "curl (Debian: apt-get install curl)";
const LIBCURL: &str = "gcc and libcurl's headers (Debian: apt-get install gcc libcurl4-openssl-dev)";
const SYSTEMD: &str = "systemd-analyze (Debian: apt-get install systemd)";

fn example() -> PathBuf {
    let program = built().parent().unwrap().join("examples/token");
    assert!(program.exists(), "examples/token is not built; run cargo test as a whole, or cargo build --examples");
    program
}

/// The program with these options in its environment, at home in this directory.
fn token(home: &TempDir, options: &[(String, String)], arguments: &[&str]) -> Command {
    let mut program = command(example(), options);
    program.env("HOME", home.join("")).env_remove("XDG_STATE_HOME").args(arguments);
    program
}

/// Exit code, stdout and stderr. On stdout there may be a token, on stderr never.
fn told(mut program: Command, install: &str) -> (Option<i32>, String, String) {
    let output = program.output().unwrap_or_else(|e| panic!("{:?}: {e}; install {install}", program.get_program()));
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    canary::search(&stderr);
    (output.status.code(), stdout, stderr)
}

/// What it prints, all well.
fn prints(program: Command) -> String {
    let (code, stdout, stderr) = told(program, "nothing");
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    stdout
}

fn without(mut options: Vec<(String, String)>, names: &[&str]) -> Vec<(String, String)> {
    options.retain(|(name, _)| !names.contains(&&**name));
    options
}

#[test]
fn each_format_prints_what_a_shell_needs_and_all_share_one_request() {
    let (standin, home) = (Standin::start(), TempDir::new());
    let options = standin.options("eventhos");
    let bare = prints(token(&home, &options, &[]));
    let value = bare.strip_suffix('\n').unwrap();
    assert!(value.contains(TOKEN_WORD) && !value.contains(char::is_whitespace), "{bare}");
    let headers = format!("Authorization: BEARER {value}\naccess-key: {value}\n");
    assert_eq!(prints(token(&home, &options, &["--header"])), headers);
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let before = now();
    let object = prints(token(&home, &options, &["--json"]));
    let during = before..=now();
    assert!(object.ends_with("}\n") && object.lines().count() == 1, "{object}");
    let mut object: Value = serde_json::from_str(&object).unwrap();
    let (ends, left) = (object["expires_at"].take().as_i64().unwrap(), object["expires_in"].take().as_i64().unwrap());
    assert!((3500..=3600).contains(&left) && during.contains(&(ends - left)), "{ends} {left} {during:?}");
    let bearer = format!("BEARER {value}");
    let expected = json!({
        "token": value, "authorization": bearer, "headers": {"Authorization": bearer, "access-key": value},
        "type": "Bearer", "scope": null, "expires_at": null, "expires_in": null, "requests": 0,
    });
    assert_eq!(object, expected);
    assert_eq!(prints(token(&home, &options, &["--cached-only"])), bare);
    assert_eq!(standin.token_requests("eventhos"), 1);
    assert_ne!(prints(token(&home, &options, &["--force-refresh"])), bare);
    assert_eq!(standin.token_requests("eventhos"), 2);
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let (standin, home) = (Standin::start(), TempDir::new());
    standin.expect_field("oauth2", "tenant_id");
    let secret = TempFile::new(format!("{}\n", client_secret("oauth2")));
    let mut environment = standin.options("oauth2");
    for (name, value) in &mut environment {
        match &**name {
            "provider" => (*name, *value) = ("provider_file".into(), "/nowhere".into()),
            "client_id" | "client_secret" => *value = "canary-secret-of-nobody".into(),
            _ => {}
        }
    }
    let id = format!("--client-id={}", client_id("oauth2"));
    let arguments = [
        "--provider=oauth2",
        &id,
        "--client-secret-file",
        secret.path(),
        "--scope",
        "one two=2",
        "--param.tenant_id",
        "blue",
        "--header.X-Tenant_1=-x",
        "--json",
    ];
    let object: Value = serde_json::from_str(&prints(token(&home, &environment, &arguments))).unwrap();
    assert_eq!((&object["scope"], &object["requests"]), (&json!("one two=2"), &json!(1)));
    let request = standin.last_request("oauth2");
    assert!(request.body.contains("tenant_id=blue"), "{}", request.body);
    assert_eq!(request.header("x-tenant_1"), Some("-x"));
}

/// The status line of the API's answer to these headers.
fn call(standin: &Standin, provider: &str, headers: &str) -> String {
    let mut api = TcpStream::connect(standin.http().strip_prefix("http://").unwrap()).unwrap();
    let headers = headers.replace('\n', "\r\n");
    write!(api, "GET /{provider}/api HTTP/1.1\r\nHost: api\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    api.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[test]
fn every_provider_works_from_the_command_line() {
    let (standin, home) = (Standin::start(), TempDir::new());
    for provider in PROVIDERS {
        let (mut arguments, mut environment) = (vec!["--header".to_owned()], Vec::new());
        for (name, value) in standin.options_tls(provider) {
            match &*name {
                "client_secret" => environment.push((name, value)),
                _ => arguments.extend([format!("--{}", name.replace('_', "-")), value]),
            }
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let headers = prints(token(&home, &environment, &arguments));
        assert_eq!(call(&standin, provider, &headers), "HTTP/1.1 200 OK", "{provider}");
    }
    assert_eq!(standin.violations(), [""; 0]);
}

#[test]
fn the_budget_is_told_in_words_and_in_json() {
    let (standin, home) = (Standin::start(), TempDir::new());
    let options = standin.options("calenso");
    let budget = |arguments: &[&str]| prints(token(&home, &options, &[&["--budget"], arguments].concat()));
    assert_eq!(budget(&[]), "31 left, the next: now\n");
    prints(token(&home, &options, &[]));
    assert_eq!(budget(&[]), "30 left, the next: now\n");
    assert_eq!(budget(&["--json"]), "{\"next_at\":null,\"requests\":30}\n");
    let spent = budget(&["--quota", "1/month"]);
    assert!(spent.starts_with("0 left, the next: ") && spent.ends_with(" GMT\n"), "{spent}");
    let object: Value = serde_json::from_str(&budget(&["--quota=1/month", "--json"])).unwrap();
    let next = httpdate::parse_http_date(spent.split_once(": ").unwrap().1.trim()).unwrap();
    let next = next.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(object, json!({"requests": 0, "next_at": next}));
    let unlimited = standin.options("oauth2");
    assert_eq!(prints(token(&home, &unlimited, &["--budget"])), "no limit\n");
    let object: Value = serde_json::from_str(&prints(token(&home, &unlimited, &["--budget", "--json"]))).unwrap();
    assert_eq!(object, json!({"requests": null, "next_at": null}));
}

#[test]
fn a_wrong_command_line_is_told_without_a_value_of_it() {
    let home = TempDir::new();
    let rows: [(&[&str], &str); 12] = [
        (&["--headers"], "\"--headers\" is no flag, and an option needs a value; see --help"),
        (&["--scope", "--json"], "\"--scope\" is no flag, and an option needs a value; see --help"),
        (&["--json", "canary-secret"], "argument 2 is neither a flag nor an option; see --help"),
        (&["-h"], "argument 1 is neither a flag nor an option; see --help"),
        (&["--json=canary"], "--json takes no value; see --help"),
        (&["--header", "--json"], "--header and --json do not go together; see --help"),
        (&["--cached-only", "--force-refresh"], "--cached-only and --force-refresh do not go together; see --help"),
        (
            &["--client-secret", "canary-secret"],
            "every user sees a secret here; give --client-secret-file, or set TOKAUTH_CLIENT_SECRET; see --help",
        ),
        (
            &["--store=rediss://tokauth:canary-secret@redis.example"],
            "every user sees a password in --store; set TOKAUTH_STORE; see --help",
        ),
        (
            &["--proxy", "http://me:canary-secret@proxy.example:3128"],
            "every user sees a password in --proxy; set TOKAUTH_PROXY; see --help",
        ),
        (
            &["--clientid", "canary", "--provider", "oauth2"],
            "TOKAUTH_ERR_CONFIG: config: unknown option \"clientid\"; did you mean \"client_id\"?",
        ),
        (
            &[],
            "TOKAUTH_ERR_CONFIG: config: provider is missing; set it to one of authvia, calenso, calven, calven-hmac, \
             event-temple, eventhos, feishu, oauth2, or set provider_file",
        ),
    ];
    for (arguments, text) in rows {
        let expected = (Some(2), String::new(), format!("token: {text}\n"));
        assert_eq!(told(token(&home, &[], arguments), ""), expected);
    }
    let mut not_text = token(&home, &[], &[]);
    not_text.arg(OsStr::from_bytes(b"--scope=\xff"));
    assert_eq!(told(not_text, "").2, "token: argument 1 is not UTF-8; see --help\n");
}

#[test]
fn the_exit_code_says_whether_waiting_helps() {
    let reply = |status, headers: &[(&str, &str)], body: &str| {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Some(Fault::Reply { status, headers, body: body.into() })
    };
    type Row = (&'static str, &'static [&'static str], Option<Fault>, i32, &'static str);
    let rows: [Row; 11] = [
        ("oauth2", &["--cached-only"], None, 1, "NOT_CACHED: token: no token of oauth2 is cached; ask"),
        ("oauth2", &["--client-id", "nobody"], None, 1, "DENIED: token: oauth2 refused the request (HTTP 401"),
        ("oauth2", &[], reply(200, &[], "<p>"), 1, "BAD_RESPONSE: reply: oauth2 answered HTTP 200 with"),
        ("oauth2", &[], reply(429, &[("Retry-After", "7")], ""), 75, "RATE_LIMITED: reply: oauth2 asks to wait"),
        ("oauth2", &[], reply(500, &[], ""), 75, "SERVER: reply: "),
        ("oauth2", &["--token-url", "http://127.0.0.1:1/"], None, 75, "NETWORK: connect: "),
        ("oauth2", &["--timeout-ms=300"], Some(Fault::Stall), 75, "TIMEOUT: "),
        ("calenso", &["--quota=1/month", "--force-refresh"], None, 75, "QUOTA: budget: "),
        ("oauth2", &["--store=file:/dev/null"], None, 1, "STORE: store: /dev/null is not a directory"),
        ("calenso", &["--store", "memory"], None, 2, "CONFIG: config: store is memory, which every start"),
        ("oauth2", &["--store=redis:"], None, 2, ""),
    ];
    let header = std::fs::read_to_string(root().join("include/tokauth.h")).unwrap();
    for (provider, arguments, fault, code, begin) in rows {
        let (standin, home) = (Standin::start(), TempDir::new());
        let options = standin.options(provider);
        if provider == "calenso" && code == 75 {
            prints(token(&home, &options, &["--quota=1/month"]));
        }
        // To the second attempt too, where there is one.
        [fault.clone(), fault].into_iter().flatten().for_each(|fault| standin.next(provider, fault));
        let (ended, stdout, stderr) = told(token(&home, &options, arguments), "");
        assert_eq!((ended, &*stdout), (Some(code), ""), "{stderr}");
        assert!(stderr.starts_with(&format!("token: TOKAUTH_ERR_{begin}")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let wait = stderr.rsplit_once(" (wait ").and_then(|(_, rest)| rest.strip_suffix(" s)\n"));
        let wait = wait.map(|seconds| seconds.parse::<u64>().unwrap());
        assert!(if code == 75 { wait > Some(0) } else { code == 1 || wait.is_none() }, "{stderr}");
        let status = stderr.split(' ').nth(1).unwrap().trim_end_matches(':');
        assert!(header.contains(&format!("#define {status} ")), "{status}");
    }
}

#[test]
fn what_outlives_the_program_is_the_default_and_refused_where_it_cannot_be_kept() {
    let (standin, home) = (Standin::start(), TempDir::new());
    let options = standin.options("oauth2");
    let mut homeless = token(&home, &options, &[]);
    homeless.env_remove("HOME");
    let (code, _, stderr) = told(homeless, "");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("TOKAUTH_ERR_STORE: store: neither XDG_STATE_HOME nor HOME"), "{stderr}");
    let mut guessable = without(options.clone(), &["client_secret"]);
    guessable.push(("client_secret".into(), "canary".into()));
    let (code, _, stderr) = told(token(&TempDir::new(), &guessable, &[]), "");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.ends_with("give store_key_file, or set store=memory\n"), "{stderr}");
    let mut elsewhere = token(&home, &options, &["--store", "memory"]);
    elsewhere.env_remove("HOME");
    prints(elsewhere);
    prints(token(&home, &[options, vec![("store".into(), "memory".into())]].concat(), &[]));
    assert!(!PathBuf::from(home.join(".local")).exists());
    assert_eq!(standin.token_requests("oauth2"), 2);
}

#[test]
fn a_reader_that_goes_away_is_no_fault_and_a_full_disk_is_one() {
    let (standin, home) = (Standin::start(), TempDir::new());
    let options = standin.options("oauth2");
    for arguments in [&[] as &[&str], &["--help"], &["--providers"]] {
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        let mut program = token(&home, &options, arguments);
        let child = program.stdout(OwnedFd::from(writer)).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{arguments:?}");
    }
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut program = token(&home, &options, &[]);
    let output = program.stdout(full()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr, "token: stdout: No space left on device (os error 28)\n");
    let mut mute = token(&home, &[], &[]);
    assert_eq!(mute.stderr(full()).status().unwrap().code(), Some(2));
}

#[test]
fn log_lines_come_when_asked_for_and_on_stderr() {
    let (standin, home) = (Standin::start(), TempDir::new());
    let (code, stdout, stderr) = told(token(&home, &standin.options("oauth2"), &["--verbose"]), "");
    assert_eq!((code, stdout.lines().count()), (Some(0), 1), "{stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("token: ")), "{stderr}");
    assert!(stderr.contains("token: debug: ") && stderr.contains("token: info: "), "{stderr}");
}

#[test]
fn the_help_names_all_that_is_understood() {
    let home = TempDir::new();
    let help = prints(token(&home, &[], &["--help"]));
    let flags: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  --")?.split_once("  "))
        .map(|(flag, _)| flag.trim())
        .collect();
    let source = std::fs::read_to_string(root().join("examples/token.rs")).unwrap();
    let list = source.split_once("const FLAGS").unwrap().1.split_once("];").unwrap().0;
    let known: Vec<&str> = list.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next()).collect();
    assert!(known.len() > 5 && flags == known, "{flags:?} {known:?}");
    for flag in flags {
        let flag = format!("--{flag}");
        let (_, _, stderr) = told(token(&home, &[], &[&flag]), "");
        assert!(stderr.is_empty() || stderr.contains("provider is missing"), "{flag}: {stderr}");
    }
    for option in OPTIONS {
        let name = match option.name {
            "client_secret" => "TOKAUTH_CLIENT_SECRET".to_owned(),
            name => format!("--{}", name.replace('_', "-")),
        };
        assert!(help.contains(&format!("\n  {name}\n      {}. Default: ", option.about)), "{name}");
    }
    let names: String = tokauth::providers().map(|name| format!("{name}\n")).collect();
    assert_eq!(prints(token(&home, &[], &["--providers"])), names);
    assert_eq!(
        prints(token(&home, &[], &["--version"])),
        format!("token of libtokauth {}\n", env!("CARGO_PKG_VERSION"))
    );
}

/// The lines of that script in the help, for every provider, as a shell runs them.
#[test]
#[ignore = "needs curl; .ci/run asks for it"]
fn the_help_s_script_calls_every_provider_s_api_with_the_real_curl() {
    let (standin, home) = (Standin::start(), TempDir::new());
    let help = prints(token(&home, &[], &["--help"]));
    let (_, script) = help.split_once("\n  headers=").unwrap();
    let script = format!("headers={}", script.split_once("\n\n").unwrap().0);
    assert!(Command::new("curl").arg("--version").output().is_ok(), "curl is missing; install {CURL}");
    for provider in PROVIDERS {
        let mut shell = command("sh", &standin.options(provider));
        let script = script.replace("https://api.example/things", &standin.api_url(provider));
        let path = format!("{}:{}", example().parent().unwrap().display(), std::env::var("PATH").unwrap());
        shell.env("PATH", path).env("HOME", home.join("")).env_remove("XDG_STATE_HOME").args(["-c", &script]);
        let (code, stdout, stderr) = told(shell, "a shell");
        assert_eq!((code, &*stderr), (Some(0), ""), "{provider}: {stdout}");
        let success =
            if provider == "eventhos" { "{\"code\":200000,\"message\":\"success\"}" } else { "{\"ok\":true}" };
        assert_eq!(stdout, success, "{provider}");
    }
    let mut failing = command("/bin/sh", &[]);
    failing.env("PATH", example().parent().unwrap()).args(["-c", &script]);
    assert_eq!(told(failing, "a shell").0, Some(2), "curl is not started without a token");
}

/// An API that answers with these statuses; in the end it tells what it was sent.
struct Api {
    url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Api {
    fn start(statuses: &'static [u16]) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/things", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut requests, mut statuses) = (Vec::new(), statuses.iter());
            loop {
                let mut stream = listener.accept().unwrap().0;
                let (mut request, mut bytes) = (String::new(), [0; 4096]);
                let is_whole = |request: &str| {
                    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
                    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                    body.len() == length.map_or(0, |length| length.parse().unwrap())
                };
                while !is_whole(&request) {
                    match stream.read(&mut bytes).unwrap() {
                        0 => return requests,
                        count => request.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
                    }
                }
                let status = statuses.next().expect("no more requests are expected");
                let head = format!("HTTP/1.1 {status} So\r\nLocation: /elsewhere\r\nContent-Length: 5");
                write!(stream, "{head}\r\nConnection: close\r\n\r\nbody\n").unwrap();
                requests.push(request);
            }
        });
        Api { url, thread }
    }

    fn requests(self) -> Vec<String> {
        drop(TcpStream::connect(self.url.split('/').nth(2).unwrap()).unwrap());
        self.thread.join().unwrap()
    }
}

/// It also tells of memory that is used wrongly or not given back.
fn libcurl_program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = built().join("everyday-curl");
        let mut gcc = Command::new("gcc");
        gcc.args(["-fsanitize=address,undefined", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
            .arg(root().join("include"));
        gcc.arg(root().join("examples/c/curl.c")).arg("-L").arg(built());
        gcc.args(["-ltokauth", "-lcurl", "-o"]).arg(&program);
        let (code, stdout, stderr) = told(gcc, LIBCURL);
        assert_eq!(code, Some(0), "{stdout}{stderr}if libcurl is missing, install {LIBCURL}");
        program
    })
}

#[test]
#[ignore = "needs libcurl's headers; .ci/run asks for it"]
fn the_libcurl_program_sends_all_headers_and_retries_once_with_a_new_token() {
    let program = libcurl_program();
    let rows: [(&'static [u16], Option<i32>, &str, &str); 5] = [
        (&[200], Some(0), "body\n", ""),
        (&[401, 200], Some(0), "body\n", ""),
        (&[401, 401], Some(1), "", "HTTP status 401: The requested URL returned error: 401\n"),
        (&[500], Some(1), "", "HTTP status 500: The requested URL returned error: 500\n"),
        (&[302], Some(1), "body\n", "HTTP status 302: \n"),
    ];
    for (statuses, code, stdout, stderr) in rows {
        for body in [&[] as &[&str], &["name=value"]] {
            let (standin, api) = (Standin::start(), Api::start(statuses));
            let mut program = command(program, &standin.options("eventhos"));
            program.arg(&api.url).args(body);
            assert_eq!(told(program, LIBCURL), (code, stdout.to_owned(), stderr.to_owned()), "{statuses:?}");
            let requests = api.requests();
            assert_eq!((requests.len(), standin.token_requests("eventhos")), (statuses.len(), statuses.len()));
            let mut seen = Vec::new();
            for request in &requests {
                let method = if body.is_empty() { "GET" } else { "POST" };
                assert!(request.starts_with(&format!("{method} /things ")), "{request}");
                assert!(request.ends_with(&format!("\r\n\r\n{}", body.concat())), "{request}");
                let value = |begin: &str| request.lines().find_map(|line| line.strip_prefix(begin)).unwrap();
                assert_eq!(value("Authorization: BEARER "), value("access-key: "));
                seen.push(value("access-key: "));
            }
            seen.dedup();
            assert_eq!(seen.len(), requests.len(), "a rejected token is not sent again");
        }
    }
}

#[test]
#[ignore = "needs libcurl's headers; .ci/run asks for it"]
fn the_libcurl_program_tells_why_it_got_no_reply() {
    let program = libcurl_program();
    let standin = Standin::start();
    let mut nobody = without(standin.options("eventhos"), &["client_id"]);
    nobody.push(("client_id".into(), "nobody".into()));
    let mut refused = command(program, &nobody);
    refused.arg("http://127.0.0.1:1/");
    let (code, stdout, stderr) = told(refused, LIBCURL);
    assert_eq!((code, &*stdout), (Some(1), ""));
    assert!(stderr.starts_with("TOKAUTH_ERR_DENIED: token: "), "{stderr}");
    let mut unreachable = command(program, &standin.options("eventhos"));
    unreachable.arg("http://127.0.0.1:1/");
    assert!(told(unreachable, LIBCURL).2.starts_with("HTTP status 0: Failed to connect to 127.0.0.1"));
    assert_eq!(told(command(program, &[]), LIBCURL).2, "HTTP status 0: no URL, or no memory\n");
}

/// Runs a command that reads this.
fn give(command: &mut Command, input: &str) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{command:?}");
}

/// A program for all, written by another process: what this one has open to write, the child that another test starts
/// meanwhile has open too until it runs its own program, and nobody can run a file that is open to write.
fn install(path: &str, script: &str) {
    give(Command::new("install").args(["-m", "755", "/dev/stdin", path]), script);
}

/// A machine that was set up as examples/calenso.md says, but for the places.
struct Machine(TempDir);

impl Machine {
    fn page() -> String {
        std::fs::read_to_string(root().join("examples/calenso.md")).unwrap()
    }

    /// The block whose second line is this comment, or whose first is.
    fn block(named: &str) -> String {
        let page = Machine::page();
        let blocks = page.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap().1);
        let mut found = blocks.filter(|block| block.lines().take(2).any(|line| line.contains(named)));
        found.next().unwrap_or_else(|| panic!("no block {named}")).to_owned() + "\n"
    }

    /// The places of the page are below our directory.
    fn here(&self, text: &str) -> String {
        let text = text
            .replace("MY-ID", client_id("calenso"))
            .replace("target/release/examples/token", example().to_str().unwrap());
        ["/usr/local/bin", "/var/lib", "/etc/calenso"]
            .iter()
            .fold(text, |text, place| text.replace(place, &self.0.join(&place[1..])))
    }

    fn new(api: &str) -> Machine {
        let machine = Machine(TempDir::new());
        let block = Machine::block("cargo build");
        let by_us: Vec<&str> = block.lines().filter(|line| line.starts_with("install ")).collect();
        assert_eq!(block.lines().count(), by_us.len() + 2, "cargo and useradd are not run here");
        let by_us = machine.here(&by_us.join("\n")).replace("-o calenso -g calenso", "");
        for place in ["usr/local/bin", "var/lib", "etc"] {
            std::fs::create_dir_all(machine.0.join(place)).unwrap();
        }
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &by_us]);
        give(&mut shell, &format!("{}\n", client_secret("calenso")));
        for name in ["token", "job"] {
            let named = format!("/usr/local/bin/calenso-{name}");
            let script = machine.here(&Machine::block(&named)).replace("https://my.calenso.com/api/v1/PATH", api);
            let path = machine.here(&named);
            install(&path, &script);
        }
        machine
    }

    /// A command of the page with the environment that it has there, and the stand-in's endpoint.
    fn run(&self, standin: &Standin, text: &str, environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
        let mut shell = Command::new("sh");
        shell.args(["-c", &self.here(text)]).env_clear().env("PATH", "/usr/bin:/bin");
        let options = standin.options("calenso");
        let url = options.iter().find(|(name, _)| name == "token_url").unwrap();
        shell.env("TOKAUTH_TOKEN_URL", &url.1).envs(environment.iter().copied());
        told(shell, "a shell")
    }
}

/// The command line of the crontab, as `cron` gives it to a shell.
fn cron_line() -> String {
    let block = Machine::block("/etc/cron.d/calenso");
    let line = block.lines().last().unwrap();
    let fields: Vec<&str> = line.splitn(7, ' ').collect();
    assert_eq!((fields.len(), fields[5]), (7, "calenso"), "{line}");
    assert!(!line.contains('%'), "to cron that is the end of the line");
    fields[6].to_owned()
}

fn unit(name: &str) -> String {
    let service = Machine::block("/etc/systemd/system/calenso-job.service");
    let lines = service.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.map(str::to_owned).next().unwrap_or_else(|| panic!("the unit has no {name}"))
}

#[test]
fn the_jobs_of_the_page_share_one_token_a_day_and_its_budget_by_systemd_and_by_cron() {
    let standin = Standin::start();
    let machine = Machine::new("http://127.0.0.1:1/");
    let (name, path) = unit("LoadCredential").split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let credentials = machine.here(path.strip_suffix(&format!("/{name}")).unwrap());
    let state = format!("/var/lib/{}", unit("StateDirectory"));
    assert_eq!(unit("StateDirectoryMode"), "0700");
    assert!(Machine::block("/usr/local/bin/calenso-token").contains(&format!("--store file:{state} ")));
    let by_systemd = [("CREDENTIALS_DIRECTORY", &*credentials), ("HOME", &state), ("STATE_DIRECTORY", &state)];
    let by_cron = [("HOME", &*state), ("LOGNAME", "calenso"), ("SHELL", "/bin/sh")];
    let together = "for run in 1 2 3 4 5 6 7 8; do /usr/local/bin/calenso-token --header & done; wait";
    let (code, stdout, stderr) = machine.run(&standin, together, &by_cron);
    assert_eq!((code, &*stderr), (Some(0), ""));
    let mut tokens: Vec<String> = stdout.lines().map(|line| format!("{line}\n")).collect();
    assert_eq!(tokens.len(), 8);
    for run in 0..24 {
        let environment = if run % 2 == 0 { &by_systemd } else { &by_cron };
        let (code, stdout, stderr) = machine.run(&standin, "/usr/local/bin/calenso-token --header", environment);
        assert_eq!((code, &*stderr), (Some(0), ""));
        tokens.push(stdout);
    }
    tokens.dedup();
    assert_eq!((tokens.len(), standin.token_requests("calenso")), (1, 1));
    let block = Machine::block("calenso-token --budget");
    let view = block.trim_end().strip_prefix("runuser -u calenso -- ").unwrap();
    assert_eq!(machine.run(&standin, view, &[]), (Some(0), "30 left, the next: now\n".into(), String::new()));

    // Moved, with the commands of the page.
    let other = Machine::new("http://127.0.0.1:1/");
    let page = Machine::page();
    for (machine, command) in [(&machine, "-cpf"), (&other, "-xpf")] {
        let begin = page.find(&format!("tar -C /var/lib {command}")).unwrap();
        let command = page[begin..].split('`').next().unwrap().replace("calenso.tar", &other.0.join("calenso.tar"));
        assert_eq!(machine.run(&standin, &command, &[]).0, Some(0), "{command}");
    }
    assert_eq!(other.run(&standin, view, &[]).1, "30 left, the next: now\n");
    assert_eq!(other.run(&standin, "/usr/local/bin/calenso-token --header", &[]).1, tokens[0]);
    assert_eq!(standin.violations(), [""; 0]);
}

/// As `DynamicUser` makes one.
#[test]
fn a_directory_behind_a_symbolic_link_is_refused_as_the_page_says() {
    let (standin, machine) = (Standin::start(), Machine::new("http://127.0.0.1:1/"));
    let (state, private) = (machine.here("/var/lib/calenso"), machine.here("/var/lib/private"));
    std::fs::rename(&state, &private).unwrap();
    std::os::unix::fs::symlink(&private, &state).unwrap();
    let (code, _, stderr) = machine.run(&standin, "/usr/local/bin/calenso-token", &[]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("/var/lib/calenso is not a directory of this user alone"), "{stderr}");
    assert_eq!(standin.token_requests("calenso"), 0);
}

/// What `ProtectSystem=strict` leaves.
#[test]
#[ignore = "needs root, to mount; .ci/run asks for it where it is root"]
fn a_state_directory_in_a_system_that_is_read_only_will_do_as_root() {
    let (standin, machine) = (Standin::start(), Machine::new("http://127.0.0.1:1/"));
    let (all, state) = (machine.0.join(""), "/var/lib/calenso");
    let only = format!(
        "mount --bind {all} {all} && mount --bind {state} {state} && mount -o remount,ro,bind {all} && ! touch {all}x \
         2>/dev/null && exec /usr/local/bin/calenso-token --header"
    );
    let (code, stdout, stderr) = machine.run(&standin, &format!("unshare -m sh -c '{only}'"), &[]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert_eq!(machine.run(&standin, "/usr/local/bin/calenso-token --header", &[]).1, stdout);
    assert_eq!(standin.token_requests("calenso"), 1);
}

#[test]
fn a_job_without_a_token_ends_with_75_and_a_spent_budget_sends_nothing() {
    let standin = Standin::start();
    let machine = Machine::new("http://127.0.0.1:1/");
    standin.next("calenso", Fault::Reply { status: 500, headers: Vec::new(), body: Vec::new() });
    let spent = [("TOKAUTH_QUOTA", "1/month")];
    for line in [unit("ExecStart"), cron_line()] {
        let (code, stdout, stderr) = machine.run(&standin, &line, &spent);
        assert_eq!((code, &*stdout), (Some(75), ""), "{stderr}");
        assert!(stderr.starts_with("token: TOKAUTH_ERR_") && stderr.ends_with(" s)\n"), "{stderr}");
    }
    let view = machine.run(&standin, "/usr/local/bin/calenso-token --budget", &spent).1;
    assert!(view.starts_with("0 left, the next: "), "{view}");
    let (code, _, stderr) = machine.run(&standin, "/usr/local/bin/calenso-token --force-refresh", &spent);
    assert_eq!(code, Some(75), "{stderr}");
    assert_eq!(standin.token_requests("calenso"), 1);
}

#[test]
#[ignore = "needs curl; .ci/run asks for it"]
fn the_job_of_the_page_calls_the_api_with_the_real_curl() {
    let standin = Standin::start();
    assert!(Command::new("curl").arg("--version").output().is_ok(), "curl is missing; install {CURL}");
    let machine = Machine::new(&standin.api_url("calenso"));
    assert_eq!(machine.run(&standin, &unit("ExecStart"), &[]), (Some(0), "{\"ok\":true}".into(), String::new()));
    assert_eq!(machine.run(&standin, &cron_line(), &[]), (Some(0), String::new(), String::new()));
    standin.set_clock_offset(4000); // to the API the token has ended
    let (code, _, stderr) = machine.run(&standin, &unit("ExecStart"), &[]);
    assert_eq!((code, &*stderr), (Some(22), "curl: (22) The requested URL returned error: 401\n"));
    assert_eq!(standin.token_requests("calenso"), 1);
}

#[test]
#[ignore = "needs systemd-analyze, strace and curl; .ci/run asks for it"]
fn systemd_takes_the_units_of_the_page_and_lets_the_job_do_what_it_does() {
    let standin = Standin::start();
    let machine = Machine::new(&standin.api_url("calenso"));
    let paths = ["service", "timer"].map(|kind| {
        let named = format!("/etc/systemd/system/calenso-job.{kind}");
        let path = machine.0.join(named.rsplit('/').next().unwrap());
        let text = Machine::block(&named);
        std::fs::write(&path, text.replace("/usr/local/bin", &machine.here("/usr/local/bin"))).unwrap();
        path
    });
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").args(&paths);
    assert_eq!(told(verify, SYSTEMD), (Some(0), String::new(), String::new()));

    let allowed = system_calls(&unit("SystemCallFilter"));
    let trace = machine.0.join("trace");
    let line = format!("strace -f -qq -o {trace} {}", unit("ExecStart"));
    let (code, _, stderr) = machine.run(&standin, &line, &[]);
    assert_eq!(code, Some(0), "{stderr}install strace (Debian: apt-get install strace) and {CURL}");
    let trace = std::fs::read_to_string(trace).unwrap();
    let calls: Vec<&str> =
        trace.lines().filter_map(|line| line.split_once(' ')?.1.trim().split_once('(')).map(|(call, _)| call).collect();
    assert!(calls.contains(&"flock") && calls.contains(&"renameat"), "{calls:?}");
    for call in calls {
        let is_call = call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        assert!(!is_call || allowed.iter().any(|known| known == call), "{call} is not allowed");
    }
}

/// The system calls of a group, and of the groups in it.
fn system_calls(group: &str) -> Vec<String> {
    let mut list = Command::new("systemd-analyze");
    list.args(["syscall-filter", group]);
    let (code, stdout, stderr) = told(list, SYSTEMD);
    assert_eq!(code, Some(0), "{stderr}");
    let names = stdout.lines().skip(1).map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#'));
    names.flat_map(|name| if name.starts_with('@') { system_calls(name) } else { vec![name.to_owned()] }).collect()
}
