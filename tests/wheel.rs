//! The Python package as pip builds and installs it, and its adapters under the real requests and httpx. Takes packages
//! of PyPI, which pip installs under the target directory, so it runs only when asked to:
//! `cargo test --test wheel -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod languages;
mod standin;
mod temp;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use languages::{PYTHON, built, command, printed, root, run};
use standin::{Fault, Standin};
use temp::TempDir;

const VENV: &str = "Python 3.8 or newer with venv, and PyPI or a mirror that pip knows (Debian: apt-get install python3-venv python3-pip)";

type Options = Vec<(String, String)>;

/// With neither the library nor the single file of this repository in sight.
fn away(program: impl AsRef<std::ffi::OsStr>, options: &[(String, String)]) -> Command {
    let mut command = command(program, options);
    for name in ["LD_LIBRARY_PATH", "LIBTOKAUTH_PATH", "PYTHONPATH"] {
        command.env_remove(name);
    }
    command.current_dir(std::env::temp_dir());
    command
}

/// As the README says, into `folder`; the file that came of it.
fn pip_wheel(folder: &str, prepare: impl FnOnce(&mut Command)) -> PathBuf {
    let mut pip = away("python3", &[]);
    pip.current_dir(root()).args(["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]);
    pip.arg("./examples/python");
    // What cargo tells this test is none of that build's, and would make cargo compile ring anew.
    let told = |name: &str| ["OUT_DIR", "CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|begin| name.starts_with(begin));
    for (name, _) in std::env::vars().filter(|(name, _)| told(name)) {
        pip.env_remove(name);
    }
    prepare(&mut pip);
    done(pip);
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [wheel] = &files[..] else { panic!("{files:?}") };
    wheel.clone()
}

fn done(command: Command) {
    let output = run(command, VENV);
    assert!(output.status.success(), "{}\nThis needs {VENV}.", String::from_utf8_lossy(&output.stderr));
}

fn library() -> PathBuf {
    built().join("libtokauth.so")
}

/// The Python of a new environment that has the wheel, with the library of this build, and what the tests need besides.
fn installed() -> &'static Path {
    static PYTHON_THERE: OnceLock<PathBuf> = OnceLock::new();
    PYTHON_THERE.get_or_init(|| {
        let venv = built().join("wheel");
        let mut create = away("python3", &[]);
        create.args(["-m", "venv", "--clear"]).arg(&venv);
        done(create);
        let python = venv.join("bin/python");
        let pip = |arguments: &[&str]| {
            let mut pip = away(&python, &[]);
            pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]).args(arguments);
            done(pip);
        };
        pip(&["--requirement", root().join("tests/python/requirements.txt").to_str().unwrap()]);
        let folder = TempDir::new();
        let wheel = pip_wheel(&folder.join("wheel"), |pip| {
            pip.env("LIBTOKAUTH_PATH", library());
        });
        pip(&["--no-index", wheel.to_str().unwrap()]);
        python
    })
}

/// With the library of this build, into a folder of the test's own.
#[test]
#[ignore = "takes packages of PyPI; .ci/run asks for it"]
fn the_readme_s_command_makes_a_wheel_and_installs_it() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let line = text.lines().find(|line| line.starts_with("python3 -m pip wheel ")).unwrap();
    let (folder, readme) = (TempDir::new(), text.split("\n```python\n").nth(1).unwrap());
    let mut create = away("python3", &[]);
    create.args(["-m", "venv", &folder.join("venv")]);
    done(create);
    let mut shell = away("sh", &[]);
    let path = format!("{}:{}", folder.join("venv/bin"), std::env::var("PATH").unwrap());
    shell.args(["-euc", &line.replace("target/wheels", &folder.join("wheels"))]).current_dir(root());
    shell.env("PATH", path).env("LIBTOKAUTH_PATH", library());
    done(shell);
    let standin = Standin::start();
    let mut program = away(folder.join("venv/bin/python"), &standin.options_tls("oauth2"));
    program.args(["-c", readme.split("\n```").next().unwrap()]);
    assert_eq!(printed(program, PYTHON), "Authorization: Bearer ...\n");
}

/// A script under the installed package; a warning is an error.
fn script(name: &str, options: &[(String, String)]) -> Command {
    let mut command = away(installed(), options);
    command.args(["-X", "dev", "-W", "error"]).arg(root().join("tests/python").join(name));
    command
}

fn all_pass(command: Command) {
    let text = printed(command, PYTHON);
    assert!(text.ends_with("OK\n") && !text.contains("skipped") && !text.contains("ignored"), "{text}");
}

#[test]
#[ignore = "takes packages of PyPI; .ci/run asks for it"]
fn the_single_file_s_tests_pass_for_the_package() {
    let standin = Standin::start();
    all_pass(script("test_binding.py", &standin.oauth2_options("post")));
}

#[test]
#[ignore = "takes packages of PyPI; .ci/run asks for it"]
fn the_package_works_in_processes_however_they_are_started() {
    let standin = Standin::start();
    let silent = standin.peer(standin::Manner::Hangs);
    let mut program = away(installed(), &standin.oauth2_options("post"));
    program.arg(root().join("tests/python/processes.py"));
    program.env("SILENT_URL", format!("http://{}/token", silent.address()));
    assert_eq!(printed(program, PYTHON), "done\n");
}

#[test]
#[ignore = "takes packages of PyPI; .ci/run asks for it"]
fn adapters_behave_under_the_real_requests_and_httpx() {
    let standin = Standin::start();
    let mut program = script("test_adapters.py", &standin.oauth2_options("post"));
    let eventhos = standin.options("eventhos");
    program.envs(eventhos.iter().map(|(name, value)| (format!("EVENTHOS_{}", name.to_uppercase()), value)));
    all_pass(program);
}

#[test]
#[ignore = "takes packages of PyPI; .ci/run asks for it"]
fn a_token_that_the_provider_s_api_refuses_is_replaced_over_http_and_tls() {
    let standin = Standin::start();
    let origins: [(&str, Options); 2] =
        [(standin.http(), standin.options("oauth2")), (standin.https(), standin.options_tls("oauth2"))];
    for (origin, options) in origins {
        for caller in ["requests", "httpx", "asyncio"] {
            let body = br#"{"access_token": "canary-token-of-nobody", "expires_in": 3600}"#.to_vec();
            standin.next("oauth2", Fault::Reply { status: 200, headers: Vec::new(), body });
            let mut program = script("refused_token.py", &options);
            program.arg(caller).env("API_URL", format!("{origin}/oauth2/api"));
            let text = printed(program, PYTHON);
            assert!(text.starts_with("[401, 200] 2\n") && !text.contains("ignored"), "{caller} at {origin}: {text}");
        }
    }
    assert_eq!(standin.violations(), [""; 0]);
}

#[test]
#[ignore = "takes packages of PyPI; .ci/run asks for it"]
fn types_satisfy_mypy_s_strictest() {
    let python = installed();
    let cache = TempDir::new();
    let single = root().join("examples/python");
    let checks: [&[PathBuf]; 2] = [
        &[single.join("tokauth.py"), single.join("get_token.py")],
        &[root().join("tests/python/typed.py"), root().join("tests/python/refused_token.py")],
    ];
    for files in checks {
        let mut mypy = away(python, &[]);
        mypy.args(["-m", "mypy", "--strict", "--python-version", "3.8", "--cache-dir", &cache.join("mypy")])
            .args(files);
        assert!(printed(mypy, PYTHON).starts_with("Success: no issues found in 2 source files"));
    }
}

/// What the wheel says of itself and holds, told by Python.
const CONTENTS: &str = r#"
import sys, zipfile
wheel, *sources = sys.argv[1:]
with zipfile.ZipFile(wheel) as file:
    print(*sorted(name for name in file.namelist() if ".dist-info/" not in name))
    for name, source in zip(("tokauth/__init__.py", "tokauth/libtokauth.so"), sources):
        print(file.read(name) == open(source, "rb").read())
"#;

#[test]
#[ignore = "builds the release library and takes packages of PyPI; .ci/run asks for it"]
fn the_wheel_holds_the_single_file_its_types_and_the_library_and_comes_out_the_same_twice() {
    let folder = TempDir::new();
    let target = built().ancestors().nth(2).unwrap().join("shipped"); // where .ci/run builds it too
    let wheels = ["first", "second"].map(|name| {
        pip_wheel(&folder.join(name), |pip| {
            pip.env("CARGO_TARGET_DIR", &target);
        })
    });
    let bytes = wheels.clone().map(|wheel| std::fs::read(wheel).unwrap());
    assert_eq!(bytes[0].len(), bytes[1].len());
    assert!(bytes[0] == bytes[1], "two builds of one state differ");

    let name = wheels[0].file_name().unwrap().to_str().unwrap().to_owned();
    let library = target.join("release/libtokauth.so");
    let mut objdump = command("objdump", &[]);
    objdump.arg("-T").arg(&library);
    let symbols = printed(objdump, "binutils (Debian: apt-get install binutils)");
    let minor = |line: &str| line.split_once("GLIBC_2.")?.1.split(['.', ')', ' ']).next()?.parse::<u32>().ok();
    let glibc = symbols.lines().filter_map(minor).max().unwrap();
    let system = format!("manylinux_2_{glibc}_{}", std::env::consts::ARCH);
    assert_eq!(name, format!("tokauth-{}-py3-none-{system}.whl", env!("CARGO_PKG_VERSION")));
    println!("{name} has {} bytes", bytes[0].len());

    let mut python = command("python3", &[]);
    python.args(["-c", CONTENTS]).arg(&wheels[0]).arg(root().join("examples/python/tokauth.py")).arg(&library);
    let files = "LICENSE-APACHE LICENSE-MIT __init__.py libtokauth.so py.typed".replace(' ', " tokauth/");
    assert_eq!(printed(python, PYTHON), format!("tokauth/{files}\nTrue\nTrue\n"));
}
