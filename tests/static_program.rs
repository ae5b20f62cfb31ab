//! A C program that needs no shared library at all, for a container with nothing else in it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod languages;
mod standin;

use std::path::Path;
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
    cargo.arg("--target-dir").arg(&target).current_dir(root());
    printed(cargo, "cargo");

    // That of a gcc for glibc is for glibc, so the unwinder is Rust's.
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", MUSL]);
    let unwinder = Path::new(printed(rustc, "rustc").trim()).join("self-contained");
    let program = built().join("get_token-static");
    let mut musl_gcc = Command::new("musl-gcc");
    musl_gcc.args([
        "-static",
        "-s",
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-Wl,--gc-sections",
        "-I",
    ]);
    musl_gcc.arg(root().join("include")).arg(root().join("examples/c/get_token.c"));
    musl_gcc.arg(target.join(MUSL).join("release/libtokauth.a")).arg("-L").arg(unwinder);
    musl_gcc.args(["-lunwind", "-o"]).arg(&program);
    printed(musl_gcc, "musl-gcc (Debian: apt-get install musl-tools)");
    println!("{} bytes, stripped", std::fs::metadata(&program).unwrap().len());

    let standin = Standin::start();
    for provider in ["eventhos", "calenso"] {
        let text = printed(command(&program, &standin.options_tls(provider)), "");
        assert!(text.ends_with("requests sent: 1\n"), "{provider}: {text}");
    }
    assert_eq!(standin.violations(), [""; 0]);
}
