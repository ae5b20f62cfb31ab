//! Real hosts: C and C++ compiled by the system's compilers and CPython, against the stand-in.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod languages;
mod standin;
mod temp;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use languages::{
    PYTHON, built, command, compile, compile_as, get_token_in_c, get_token_in_cpp, get_token_in_python, printed,
    python, root, run,
};
use standin::{Fault, PROVIDERS, Standin};
use temp::{TempDir, TempFile};

/// The same small program in each language.
fn small_programs(options: &[(String, String)]) -> Vec<(&'static str, Command)> {
    let in_rust = built().parent().unwrap().join("examples/get_token");
    assert!(in_rust.exists(), "examples/get_token is not built; run cargo test as a whole, or cargo build --examples");
    vec![
        ("C", get_token_in_c(options)),
        ("C++", get_token_in_cpp(options)),
        ("Python", get_token_in_python(options)),
        ("Rust", command(in_rust, options)),
    ]
}

#[test]
fn the_small_program_prints_the_same_in_every_language() {
    let standin = Standin::start();
    for (asked, (language, program)) in small_programs(&standin.options("eventhos")).into_iter().enumerate() {
        let text = printed(program, PYTHON);
        let lines: Vec<&str> = text.lines().collect();
        let [authorization, access_key, expires, requests] = lines[..] else { panic!("{language}: {text}") };
        assert!(authorization.starts_with("Authorization: BEARER ... ("), "{language}: {text}");
        assert!(access_key.starts_with("access-key: eyJhbGc... ("), "{language}: {text}");
        let left = expires.strip_prefix("expires in ").and_then(|rest| rest.strip_suffix(" s")?.parse().ok());
        assert!(left.is_some_and(|left: u32| (3500..=3600).contains(&left)), "{language}: {text}");
        assert_eq!(requests, "requests sent: 1", "{language}");
        assert!(!text.contains(standin::TOKEN_WORD), "{language} prints the token: {text}");
        assert_eq!(standin.token_requests("eventhos"), asked + 1, "{language}");
    }
}

/// That no call waits for a renewal then is in tests/reuse.rs, on virtual time.
#[test]
fn the_program_with_a_timer_of_its_own_serves_and_sends_one_request() {
    let standin = Standin::start();
    let program = command(compile("examples/c/keep_warm.c"), &standin.options("oauth2"));
    assert_eq!(printed(program, "a C library with POSIX threads"), "served: 1000\nrequests sent: 1\n");
    assert_eq!(standin.token_requests("oauth2"), 1);
}

/// Two tokens of one credential: whoever comes first asks for each, and the budget is that of both.
#[test]
fn threads_of_a_cpp_program_send_one_request_per_token_whatever_their_number() {
    let standin = Standin::start();
    let program = compile("examples/cpp/threads.cpp");
    let lines = |text: &str, begin: &str| text.lines().filter(|line| line.starts_with(begin)).count();
    for (run, count) in [2, 3, 16, 64].into_iter().enumerate() {
        let mut threads = command(&program, &standin.oauth2_options("post"));
        threads.args([&count.to_string(), "edit"]);
        let text = printed(threads, "g++");
        let told = format!("calls: {}\nlines logged: 2\nrequests sent: 1 and 1\nbudget: none\n", count * 100);
        assert!(text.starts_with(&told), "{count}: {text}");
        assert_eq!(lines(&text, "log: oauth2: "), 2, "one for each token: {text}");
        assert_eq!(standin.token_requests("oauth2"), 2 * (run + 1));
    }

    let store = TempDir::new();
    let mut options = standin.oauth2_options("post");
    options.push(("store".into(), format!("file:{}", store.join("shared"))));
    options.push(("quota".into(), "100/month".into()));
    let text = printed(command(&program, &options), "g++");
    assert!(text.starts_with("calls: 800\n") && text.contains("sent: 1 and 1\nbudget: 98 requests left\n"), "{text}");

    let mut options = standin.oauth2_options("post");
    options.push(("client_secret".into(), "canary-secret-that-is-wrong".into()));
    let Output { status, stdout, stderr } = run(command(&program, &options), "g++");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert_eq!(lines(&stderr, "threads: TOKAUTH_ERR_DENIED: "), 8, "{stderr}");
    assert!(stdout.starts_with("calls: 0\n") && stdout.ends_with("sent: 1 and 1\nbudget: none\n"), "{stdout}");
}

#[test]
fn the_small_program_tells_an_error_in_the_same_words_in_every_language() {
    let standin = Standin::start();
    let mut options = standin.options("event-temple");
    options.retain(|(name, _)| name != "client_secret");
    options.push(("client_secret".into(), "canary-secret-that-is-wrong".into()));
    for (language, program) in small_programs(&options) {
        let Output { status, stdout, stderr } = run(program, PYTHON);
        let text = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), stdout.len()), (Some(1), 0), "{language}: {text}");
        assert!(
            text.starts_with("get_token: ") && text.contains("event-temple refused the request (HTTP 401"),
            "{text}"
        );
        assert!(!text.contains("canary"), "{language}: {text}");
    }
}

#[test]
fn a_store_in_redis_is_refused_in_the_same_words_in_every_language() {
    let standin = Standin::start();
    let mut options = standin.options("eventhos");
    options.push(("store".into(), "redis://:canary-secret@localhost:x".into()));
    let words = match cfg!(feature = "redis") {
        true => "config: store has no sound port; write it as redis://user:password@host:6379/0, or rediss for TLS",
        false => "config: this build has no store in Redis; build with the feature redis, or set store=file",
    };
    for (language, program) in small_programs(&options) {
        let Output { status, stderr, .. } = run(program, PYTHON);
        let text = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{language}: {text}");
        assert!(text.contains(words) && !text.contains("canary"), "{language}: {text}");
    }
}

#[test]
fn every_provider_works_from_every_language_over_tls() {
    let standin = Standin::start();
    for provider in PROVIDERS {
        for (number, (language, program)) in small_programs(&standin.options_tls(provider)).into_iter().enumerate() {
            // Tokens of calenso are scarce, so the first program's serves the others.
            let sent = if provider == "calenso" && number > 0 { 0 } else { 1 };
            let told = format!("requests sent: {sent}\n");
            assert!(printed(program, PYTHON).ends_with(&told), "{provider} from {language}");
        }
    }
    assert_eq!(standin.violations(), [""; 0]);
}

#[test]
fn processes_of_every_language_share_a_budget() {
    let standin = Standin::start();
    let options = standin.options("calenso");
    let mut told = Vec::new();
    for (_, program) in small_programs(&options) {
        printed(program, PYTHON);
        let mut python = command("python3", &options);
        python.env("PYTHONPATH", root().join("examples/python"));
        let program = "import tokauth\nwith tokauth.Client.from_env() as client: print(client.budget())";
        python.args(["-c", program]);
        told.push(printed(python, PYTHON));
    }
    assert_eq!(told, vec!["(30, None)\n"; told.len()]);
    assert_eq!(standin.token_requests("calenso"), 1);
}

/// The first block of that page that begins so.
fn block(page: &str, begin: &str) -> String {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let (_, block) = text.split_once(&format!("\n```{begin}")).unwrap();
    block.split_once("\n```").unwrap().0.to_owned() + "\n"
}

fn readme(language: &str) -> String {
    block("README.md", &format!("{language}\n"))
}

#[test]
fn the_readme_s_programs_work() {
    let standin = Standin::start();
    let compiled = |language: &str| {
        let source = built().join(format!("readme.{language}"));
        std::fs::write(&source, readme(language)).unwrap();
        command(compile(source.to_str().unwrap()), &standin.options("calenso"))
    };
    let mut in_python = command("python3", &standin.options("calenso"));
    in_python.env("PYTHONPATH", root().join("examples/python")).args(["-c", &readme("python")]);
    for program in [compiled("c"), compiled("cpp"), in_python] {
        assert_eq!(printed(program, PYTHON), "Authorization: Bearer ...\n");
    }
}

/// The example on top of a header, with what it uses.
#[test]
fn the_examples_of_the_headers_work() {
    let standin = Standin::start();
    let in_c = "#include <stdio.h>\n#include <tokauth.h>\n\nstatic void call_the_api(const char *header)\n{\n    \
                printf(\"Authorization: %.7s...\\n\", header);\n}\n";
    let in_cpp = "#include <iostream>\n#include <tokauth.hpp>\n\nstatic struct {\n    void header(const std::string &name, \
                  const std::string &value) { std::cout << name << \": \" << value.substr(0, 7) << \"...\\n\"; }\n} \
                  request;\n";
    for (path, source, used) in
        [("include/tokauth.h", "header_example.c", in_c), ("include/tokauth.hpp", "header_example.cpp", in_cpp)]
    {
        let header = std::fs::read_to_string(root().join(path)).unwrap();
        let lines = header.lines().skip_while(|line| !line.starts_with(" *     "));
        let lines =
            lines.map_while(|line| line.strip_prefix(" *").filter(|rest| rest.is_empty() || rest.starts_with("     ")));
        let example: String = lines.map(|line| format!("{line}\n")).collect();
        let source = built().join(source);
        std::fs::write(&source, format!("{used}\nint main(void)\n{{\n{example}    return 0;\n}}\n")).unwrap();
        let program = compile(source.to_str().unwrap());
        assert_eq!(printed(command(&program, &standin.options("calven")), "gcc"), "Authorization: Bearer ...\n");
    }
}

#[test]
fn the_quickstart_shows_every_provider_without_a_secret_and_without_colour_in_a_pipe() {
    let standin = Standin::start();
    let quickstart = built().parent().unwrap().join("examples/quickstart");
    let whole = printed(command(&quickstart, &[]), "");
    let real = printed(command(&quickstart, &standin.options_tls("eventhos")), "");
    for text in [&whole, &real] {
        assert!(!text.contains("canary") && !text.contains("eyJ") && !text.contains('\x1b'), "{text}");
    }
    let section = |text: &str| {
        assert!(text.contains("sent      POST http") && text.contains("client_secret=***"), "{text}");
        assert!(text.contains("the same token, from the cache, in ") && text.contains("requests  1\n"), "{text}");
    };
    let mut at_a_terminal = command("python3", &[]);
    at_a_terminal.args(["-c", "import pty, sys; pty.spawn(sys.argv[1:])"]).arg(&quickstart);
    assert!(printed(at_a_terminal, PYTHON).contains("\x1b[1;36mcalven\x1b[0m"));
    section(&real);
    assert!(real.contains("Authorization: BEARER ***") && standin.token_requests("eventhos") == 1, "{real}");
    section(&whole);
    assert!(PROVIDERS.iter().all(|provider| whole.contains(&format!("\n{provider}\n"))), "{whole}");
    assert_eq!(whole.matches("requests  1\n").count(), PROVIDERS.len(), "{whole}");
}

#[test]
fn a_newcomer_s_own_provider_works_in_every_program() {
    let standin = Standin::start();
    let file = TempFile::new("{\n".to_owned() + &block("CONTRIBUTING.md", "json\n{\n"));
    let mut options = standin.options("oauth2");
    options.retain(|(name, _)| !["provider", "auth"].contains(&name.as_str()));
    options.push(("provider_file".into(), file.path().into()));
    let answers = || {
        let body = block("CONTRIBUTING.md", "json\n").into_bytes();
        standin.next("oauth2", Fault::Reply { status: 200, headers: Vec::new(), body });
    };
    for (language, program) in small_programs(&options) {
        answers();
        let text = printed(program, PYTHON);
        assert!(text.starts_with("X-Acme-Session: a-sessi... (15 characters)\n"), "{language}: {text}");
        assert!(text.ends_with("requests sent: 1\n"), "{language}: {text}");
    }
    answers();
    let text = printed(command(built().parent().unwrap().join("examples/quickstart"), &options), "");
    let fields = "key=m2m client/1, secret=***, ttl=3600, app=reports, renew=false";
    assert!(text.contains(fields) && text.contains("token     lives 3"), "{text}");
    assert!(text.contains("goes to the API as X-Acme-Session: ***") && !text.contains("canary"), "{text}");
}

/// With the programs as they are built, and a server where the page has none.
#[test]
fn the_newcomer_s_commands_work() {
    let standin = Standin::start();
    let place = temp::TempDir::new();
    let page = |begin: &str| block("CONTRIBUTING.md", begin).replace("/tmp/", &place.join(""));
    std::fs::write(place.join("acme.json"), "{\n".to_owned() + &page("json\n{\n")).unwrap();
    for _ in 0..2 {
        let body = block("CONTRIBUTING.md", "json\n").into_bytes();
        standin.next("oauth2", Fault::Reply { status: 200, headers: Vec::new(), body });
    }
    let mut options = standin.options("oauth2");
    options.retain(|(name, _)| name == "token_url");
    let mut shell = command("sh", &options);
    shell.env("BUILT", built().parent().unwrap().join("examples"));
    shell.args(["-euc", &format!("cargo() {{ \"$BUILT/$3\"; }}\nprintf{}", page("sh\nprintf"))]);
    let text = printed(shell, "");
    assert!(text.contains("secret=***") && text.ends_with("requests sent: 1\n"), "{text}");
}

/// A test program of its own closes with `N passed, N failed`.
fn passes(command: Command, install: &str) {
    let text = printed(command, install);
    assert!(text.contains(" passed, 0 failed"), "{text}");
}

#[test]
fn the_c_functions_behave_as_the_header_says() {
    let standin = Standin::start();
    let mut program = command(compile("tests/c/abi.c"), &standin.oauth2_options("post"));
    if cfg!(feature = "redis") {
        program.env("HAS_REDIS", "yes");
    }
    passes(program, "gcc");
    assert_eq!(standin.violations(), [""; 0]);
}

/// Two translation units that share tokauth.hpp.
fn the_cpp_wrapper_works(compiler: &str, standard: &str) {
    let standin = Standin::start();
    let keyed = include_str!("../src/providers/oauth2.json")
        .replace("\"inputs\": {", "\"inputs\": {\"prefix\": {}, ")
        .replace("\"Bearer {token}\"", "\"{prefix} {token}\", \"X-Key\": \"{token}\"");
    let file = TempFile::new(keyed);
    standin
        .next("oauth2", Fault::Reply { status: 429, headers: vec![("Retry-After".into(), "60".into())], body: vec![] });
    let program = compile_as(compiler, standard, &["tests/cpp/wrapper.cpp", "tests/cpp/other_unit.cpp"]);
    let mut program = command(program, &standin.oauth2_options("post"));
    program.arg(file.path());
    passes(program, compiler);
    assert_eq!(standin.violations(), [""; 0]);
}

fn with_clang_if_there_is_one(standards: &[&str]) {
    if let Err(e) = Command::new("clang++").arg("--version").output() {
        let note = format!("clang++ was not tried: {e} (Debian: apt-get install clang)\n");
        return std::io::stderr().write_all(note.as_bytes()).unwrap(); // the harness keeps what macros print
    }
    standards.iter().for_each(|standard| the_cpp_wrapper_works("clang++", standard));
}

/// A-29.
#[test]
fn the_cpp_wrapper_works_in_the_oldest_standard() {
    the_cpp_wrapper_works("g++", "c++11");
}

#[test]
fn the_cpp_wrapper_works_with_clang() {
    with_clang_if_there_is_one(&["c++20"]);
}

#[test]
#[ignore = "compiles for long; .ci/run asks for it"]
fn the_cpp_wrapper_works_in_the_other_standards() {
    ["c++14", "c++17", "c++20"].iter().for_each(|standard| the_cpp_wrapper_works("g++", standard));
    with_clang_if_there_is_one(&["c++11", "c++14", "c++17"]);
}

/// A-01, A-02, A-03.
#[test]
fn null_is_refused_or_harmless_in_every_place() {
    let standin = Standin::start();
    let mut matrix = python("tests/python/null_matrix.py", &standin.oauth2_options("post"));
    matrix.arg(root().join("include/tokauth.h"));
    passes(matrix, PYTHON);
}

/// A-28.
#[test]
fn the_python_binding_works_and_knows_the_whole_header() {
    let standin = Standin::start();
    let mut program = python("tests/python/test_binding.py", &standin.oauth2_options("post"));
    program.env("PYTHONDEVMODE", "1").env("PYTHONWARNINGS", "error");
    let text = printed(program, PYTHON);
    assert!(text.ends_with("OK\n") && !text.contains("skipped") && !text.contains("ignored"), "{text}");
}

/// Here, for Python's regular expressions are what those of JSON Schema commonly are.
#[test]
fn the_patterns_of_the_schema_mean_what_the_types_do() {
    let schema = include_str!("../src/providers/schema.json");
    let mut program = command("python3", &[]);
    program.args([
        "-c",
        "import json, re, sys\nfor pattern, text in json.load(sys.stdin):\n    print(bool(re.search(pattern, text)))",
    ]);
    let pattern = |definition: &str| {
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        schema
            .pointer(definition)
            .and_then(|pattern| pattern.as_str())
            .unwrap_or_else(|| panic!("{definition}"))
            .to_owned()
    };
    let (name, template, pointer) =
        (pattern("/properties/name/pattern"), pattern("/$defs/Template/pattern"), pattern("/$defs/Pointer/pattern"));
    let table = [
        (&name, "event-temple2", true),
        (&name, "Event", false),
        (&name, "", false),
        (&name, "a\nb", false),
        (&template, "", true),
        (&template, "a {client_id} b{x2}", true),
        (&template, "{client_id", false),
        (&template, "client}", false),
        (&template, "{Client Id}", false),
        (&template, "{}", false),
        (&pointer, "/a/0/b~1c~0", true),
        (&pointer, "/", true),
        (&pointer, "a", false),
        (&pointer, "", false),
        (&pointer, "/a~2", false),
        (&pointer, "/a~", false),
    ];
    let questions: Vec<_> = table.iter().map(|(pattern, text, _)| (pattern, text)).collect();
    let mut child =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(|e| panic!("{e}: {PYTHON}"));
    child.stdin.take().unwrap().write_all(serde_json::to_string(&questions).unwrap().as_bytes()).unwrap();
    let answers = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let answers: Vec<bool> = answers.lines().map(|line| line == "True").collect();
    assert_eq!(answers, table.map(|(_, _, sound)| sound), "{questions:?}");
}
