//! Forks, threads, signals and the end of a process, in real hosts against the stand-in. The numbers are those of the
//! fault catalogue (A, B, E).
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod languages;
mod standin;
mod temp;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use languages::{PYTHON, built, command, compile, printed, python};
use standin::{Manner, Standin};

const COMPILERS: &str = "gcc and g++ (Debian: apt-get install gcc g++ libc6-dev)";

type Options = Vec<(String, String)>;

/// `tests/c/fork.c`: children of a process whose threads are inside the library.
fn forks(count: u32, how: &str, options: &[(String, String)]) {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let mut program = command(PROGRAM.get_or_init(|| compile("tests/c/fork.c")), options);
    program.args([&count.to_string(), how]);
    let text = printed(program, COMPILERS);
    assert!(text.starts_with(&format!("0 of {count} forks failed, 0 failures beside them, ")), "{how}: {text}");
    println!("{how}: {text}");
}

fn with(mut options: Options, name: &str, value: &str) -> Options {
    options.retain(|(known, _)| known != name);
    options.push((name.to_owned(), value.to_owned()));
    options
}

/// Over TLS by address: a child that was forked during a lookup may find lookups stuck, as the README says.
fn by_address(standin: &Standin) -> Options {
    let url = format!("{}/oauth2/token", standin.https().replace("localhost", "127.0.0.1"));
    with(standin.options_tls("oauth2"), "token_url", &url)
}

/// B-01, B-02, B-04.
#[test]
fn children_forked_from_under_busy_threads_work_and_so_does_their_parent() {
    let standin = Standin::start();
    forks(100, "busy", &standin.oauth2_options("post"));
    assert!(standin.token_requests("oauth2") >= 200, "each child asks twice");
    forks(20, "busy", &by_address(&standin));
}

/// B-01, B-02, C-01.
#[test]
#[ignore = "takes minutes; .ci/run asks for it"]
fn thousands_of_children_work() {
    let standin = Standin::start();
    forks(5000, "busy", &standin.oauth2_options("post"));
    forks(1000, "busy", &by_address(&standin));
    forks(1000, "lookups", &standin.options_tls("oauth2"));
}

/// B-04.
#[test]
fn a_child_shares_what_it_inherits() {
    let standin = Standin::start();
    forks(3, "quiet", &standin.oauth2_options("post"));
    forks(3, "quiet", &standin.options_tls("oauth2"));
}

/// B-03.
#[test]
fn children_forked_while_the_library_begins_work() {
    let standin = Standin::start();
    forks(50, "first", &standin.oauth2_options("post"));
    forks(50, "first", &by_address(&standin));
}

#[test]
fn lookups_that_hang_in_the_parent_keep_no_place_in_a_child() {
    forks(3, "hanging", &Standin::start().options_tls("oauth2"));
}

#[test]
fn a_child_forked_from_under_lookups_is_answered_in_time() {
    let standin = Standin::start();
    let options = standin.options_tls("oauth2");
    forks(30, "lookups", &with(options.clone(), "timeout_ms", "1000"));
    let nowhere = with(options, "token_url", "https://nowhere.invalid/token");
    forks(3, "lookups", &with(nowhere, "timeout_ms", "200"));
}

/// `tests/c/threads.c`.
fn threads(case: &str, options: &[(String, String)]) -> Command {
    let mut program = command(threads_program(), options);
    program.arg(case);
    program
}

fn threads_program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compile("tests/c/threads.c"))
}

fn done(program: Command, install: &str) {
    assert_eq!(printed(program, install), "done\n");
}

/// A case whose first request is answered when all of its threads are inside a call.
fn held(case: &str) {
    let standin = Standin::start();
    let hold = standin.hold("oauth2");
    let mut program = threads(case, &with(standin.oauth2_options("post"), "timeout_ms", "120000"));
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    hold.wait_for_request();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(told.next().unwrap().unwrap(), "inside");
    hold.release();
    assert_eq!(told.next().unwrap().unwrap(), "done");
    assert!(child.wait().unwrap().success());
}

/// B-12.
#[test]
fn a_cancelled_thread_ends_after_its_call_and_those_who_wait_are_served() {
    held("cancelled");
}

///
#[test]
fn a_client_may_be_freed_while_others_are_inside_calls_of_their_clones() {
    held("freed_inside");
}

///
#[test]
fn a_thousand_threads_on_one_handle_send_one_request() {
    held("crowd");
}

///
#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    done(threads("cycles", &Standin::start().oauth2_options("post")), COMPILERS);
}

/// B-12.
#[test]
fn no_function_that_may_block_is_a_cancellation_point() {
    done(threads("cancelled_before", &Standin::start().options_tls("oauth2")), COMPILERS);
}

/// B-09.
#[test]
fn signals_that_restart_nothing_fail_no_call() {
    let standin = Standin::start();
    done(threads("storm", &standin.oauth2_options("post")), COMPILERS);
    done(threads("storm", &standin.options_tls("oauth2")), COMPILERS);
}

/// E-02: in a time namespace, whose clock that counts suspend has been set ahead.
#[test]
#[ignore = "takes user namespaces, which not every machine gives; by hand"]
fn a_token_that_died_in_suspend_is_not_served() {
    let standin = Standin::start();
    let mut program = command("unshare", &standin.oauth2_options("post"));
    program.arg("--map-root-user").arg(threads_program()).arg("suspended");
    done(program, "util-linux (Debian: apt-get install util-linux)");
}

/// B-10.
#[test]
fn a_peer_that_closes_is_an_error_and_no_signal() {
    done(threads("broken_pipe", &Standin::start().oauth2_options("post")), COMPILERS);
}

/// B-07, B-08.
#[test]
fn a_new_program_inherits_no_descriptor() {
    let standin = Standin::start();
    done(threads("exec_inherits_nothing", &standin.oauth2_options("post")), COMPILERS);
    done(threads("exec_inherits_nothing", &standin.options_tls("oauth2")), COMPILERS);
}

/// B-17.
#[test]
fn without_a_free_descriptor_a_call_fails_until_there_is_one() {
    let standin = Standin::start();
    done(threads("table_full", &standin.oauth2_options("post")), COMPILERS);
    done(threads("table_full", &standin.options_tls("oauth2")), COMPILERS);
}

/// B-15.
#[test]
fn calls_work_while_threads_and_the_process_end() {
    let standin = Standin::start();
    for options in [standin.oauth2_options("post"), standin.options_tls("oauth2")] {
        assert_eq!(printed(command(compile("tests/cpp/exit.cpp"), &options), COMPILERS), "10 calls\n");
    }
}

/// B-06, B-13, B-14.
#[test]
fn python_s_processes_work_however_they_are_started() {
    let standin = Standin::start();
    let silent = standin.peer(Manner::Hangs);
    let mut program = python("tests/python/processes.py", &standin.oauth2_options("post"));
    program.env("SILENT_URL", format!("http://{}/token", silent.address()));
    done(program, PYTHON);
}

/// The library as it is shipped: without optimisation a request through TLS needs 140 KB.
fn release_library() -> PathBuf {
    let target = built().ancestors().nth(2).unwrap().join("shipped"); // where .ci/run builds it too
    let mut build = Command::new(env!("CARGO"));
    build.args(["rustc", "--locked", "--release", "--lib", "--crate-type", "cdylib", "--target-dir"]).arg(&target);
    printed(build, "cargo (rustup.rs)");
    target.join("release")
}

///
#[test]
#[ignore = "builds the release library; .ci/run asks for it"]
fn a_request_fits_on_a_stack_of_64_kib() {
    let (standin, library) = (Standin::start(), release_library());
    let program = compile("tests/c/small_stack.c");
    for options in [standin.oauth2_options("post"), standin.options_tls("oauth2")] {
        let mut program = command(&program, &options);
        program.env("LD_LIBRARY_PATH", &library).arg("64");
        let text = printed(program, COMPILERS);
        assert!(text.ends_with(" of 65536 bytes used\n"), "{text}");
        println!("{text}");
    }
}
