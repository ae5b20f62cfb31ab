//! A C program without a shared library, as containers of nothing else want it: the static library of a musl target.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod languages;
mod standin;

use std::process::Command;

use languages::{built, command, printed, root};
use standin::Standin;

const MUSL: &str = "x86_64-unknown-linux-musl";

#[test]
#[ignore = "takes minutes; needs the target x86_64-unknown-linux-musl, and musl-gcc"]
fn a_static_program_gets_a_token_over_tls() {
    let target = built().join("musl");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["rustc", "--quiet", "--locked", "--release", "--lib", "--crate-type", "staticlib", "--target", MUSL]);
    printed(
        {
            cargo.arg("--target-dir").arg(&target).current_dir(root());
            cargo
        },
        "cargo",
    );
    let program = built().join("get_token-static");
    let mut musl_gcc = Command::new("musl-gcc");
    musl_gcc.args(["-static", "-s", "-std=c99", "-Wl,--gc-sections", "-I"]).arg(root().join("include"));
    musl_gcc.arg(root().join("examples/c/get_token.c")).arg(target.join(MUSL).join("release/libtokauth.a"));
    printed(
        {
            musl_gcc.args(["-lgcc_eh", "-o"]).arg(&program);
            musl_gcc
        },
        "musl (Debian: apt-get install musl-tools)",
    );

    let bytes = std::fs::read(&program).unwrap();
    assert!(!bytes.windows(10).any(|part| part == b"ld-linux-x"), "it needs no loader");
    println!("a static C program has {} bytes", bytes.len());
    let standin = Standin::start();
    for provider in ["eventhos", "calenso"] {
        assert!(printed(command(&program, &standin.options_tls(provider)), "").ends_with("requests sent: 1\n"));
    }
    assert_eq!(standin.violations(), [""; 0]);
}
