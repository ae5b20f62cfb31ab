//! Programs in C, C++ and Python, run against the library of this build.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::canary;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo put this test, and beside it the shared library of the same build.
pub fn built() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// What the gates in .ci/gates set, to run these programs with a library of theirs: `LIBRARY`, the directory that has it,
/// for the programs too; `CFLAGS` to compile them with; `WRAPPER`, a command that runs them; `PRELOAD` for Python.
fn of_gate(name: &str) -> Option<String> {
    std::env::var(format!("LIBTOKAUTH_TEST_{name}")).ok().filter(|value| !value.is_empty())
}

/// Where the shared library is, and the programs that are compiled against it.
fn library() -> PathBuf {
    of_gate("LIBRARY").map_or_else(built, PathBuf::from)
}

/// A command with the options in its environment and no other variable that looks like one.
pub fn command(program: impl AsRef<std::ffi::OsStr>, options: &[(String, String)]) -> Command {
    let (program, library) = (Path::new(program.as_ref()), library());
    let wrapper = of_gate("WRAPPER").filter(|_| program.starts_with(&library)).unwrap_or_default();
    let mut words = wrapper.split_whitespace().map(Path::new).chain([program]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    if let (Some(preload), true) = (of_gate("PRELOAD"), program == Path::new("python3")) {
        command.env("LD_PRELOAD", preload);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("TOKAUTH_")) {
            command.env_remove(name);
        }
    }
    command.envs(options.iter().map(|(name, value)| (format!("TOKAUTH_{}", name.to_uppercase()), value)));
    command.env("LD_LIBRARY_PATH", &library).env("LIBTOKAUTH_PATH", library.join("libtokauth.so"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// What came of a program; none prints a secret or a token.
pub fn run(mut command: Command, install: &str) -> Output {
    let output = command.output();
    let output = output.unwrap_or_else(|e| {
        let advice = if e.kind() == ErrorKind::NotFound { format!("; install {install}") } else { String::new() };
        panic!("{:?} cannot be run: {e}{advice}", command.get_program())
    });
    canary::search(&String::from_utf8_lossy(&output.stdout));
    canary::search(&String::from_utf8_lossy(&output.stderr));
    output
}

/// What a program printed; it must succeed.
pub fn printed(command: Command, install: &str) -> String {
    let name = format!("{command:?}");
    let Output { status, stdout, stderr } = run(command, install);
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{name} ended with {status}:\n{stdout}{stderr}");
    stdout.into_owned() + &stderr
}

/// Compiles a program of C or C++, in the oldest standard that the headers promise.
pub fn compile(source: &str) -> PathBuf {
    match source.ends_with(".cpp") {
        true => compile_as("g++", "c++11", &[source]),
        false => compile_as("gcc", "c99", &[source]),
    }
}

/// Compiles a program against the committed headers and the library of this build.
pub fn compile_as(compiler: &str, standard: &str, sources: &[&str]) -> PathBuf {
    let stem = Path::new(sources[0]).file_stem().unwrap().to_str().unwrap();
    // Another run beside this one may be executing the same program.
    let program = library().join(format!("{stem}-{compiler}-{standard}"));
    let mine = program.with_extension(std::process::id().to_string());
    let mut command = Command::new(compiler);
    command.arg(format!("-std={standard}")).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", "-I"]);
    command.arg(root().join("include")).args(sources.iter().map(|source| root().join(source)));
    command.args(of_gate("CFLAGS").unwrap_or_default().split_whitespace());
    command.arg("-L").arg(library()).arg("-ltokauth").arg("-o").arg(&mine);
    printed(command, "gcc and g++ (Debian: apt-get install gcc g++ libc6-dev)");
    std::fs::rename(mine, &program).unwrap();
    program
}

pub fn python(script: &str, options: &[(String, String)]) -> Command {
    let mut command = command("python3", options);
    command.env("PYTHONPATH", root().join("examples/python")).arg(root().join(script));
    command
}

pub const PYTHON: &str = "Python 3.8 or newer (Debian: apt-get install python3)";

/// The small program in C.
pub fn get_token_in_c(options: &[(String, String)]) -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    command(PROGRAM.get_or_init(|| compile("examples/c/get_token.c")), options)
}

/// The same in C++.
pub fn get_token_in_cpp(options: &[(String, String)]) -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    command(PROGRAM.get_or_init(|| compile("examples/cpp/get_token.cpp")), options)
}

/// The same in Python.
pub fn get_token_in_python(options: &[(String, String)]) -> Command {
    python("examples/python/get_token.py", options)
}
