//! Options: what is refused, and in which words.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod temp;
mod world;

use temp::TempFile;
use tokauth::{Builder, Client, ErrorKind};
use world::{World, oauth2};

fn refusal(builder: &Builder) -> (ErrorKind, String) {
    let error = canary::build(builder).expect_err("this cannot work");
    let text = error.to_string();
    assert!(text.starts_with("config: "), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains("canary"), "a value is quoted: {text}");
    assert!(text.len() < 400, "{text}");
    (error.kind(), text)
}

/// A-05, A-06, A-07, A-22, C-29.
#[test]
fn a_broken_configuration_names_the_option_and_what_to_do() {
    let calven = || Client::builder().provider("calven").client_id("canary-id").client_secret("canary-secret");
    let authvia = || calven().provider("authvia").client_id("canary-id-of-12");
    for (builder, words) in [
        (Client::builder(), "provider is missing; set it to one of authvia, calenso, calven, calven-hmac"),
        (Client::builder().provider("canary-calvin"), "names no built-in provider; did you mean \"calven\"?"),
        (Client::builder().set("providr", "x"), "unknown option \"providr\"; did you mean \"provider\"?"),
        (calven().provider_file("x"), "provider and provider_file are both set"),
        (calven().remove("provider").provider_file("/canary/none.json"), "provider_file cannot be read"),
        (calven().remove("client_id"), "client_id is missing; calven needs it"),
        (calven().remove("client_secret"), "client_secret is missing; set it, or client_secret_file"),
        (calven().client_secret_file("/canary"), "client_secret and client_secret_file are both set"),
        (calven().remove("client_secret").client_secret_file("/canary/none"), "client_secret_file cannot be read"),
        (calven().client_secret("canary\n"), "client_secret holds a line break; did you mean client_secret_file?"),
        (calven().client_secret(""), "client_secret is empty; give it a value or leave it out"),
        (calven().client_id("canary\r\nX: y"), "client_id holds a line break or a NUL"),
        (calven().client_id("canary\0"), "client_id holds a line break or a NUL"),
        (calven().client_id("canary".repeat(20_000)), "longer than 64 KiB"),
        (calven().scope("canary"), "calven takes no scope; leave it out"),
        (calven().audience("canary"), "calven takes no audience"),
        (calven().set("regoin", "canary"), "unknown option \"regoin\"; did you mean \"region\"?"),
        (calven().set("base_url", "canary"), "unknown option \"base_url\""),
        (calven().set("region", "canäry"), "region goes into the header x-calven-region: visible ASCII only"),
        (calven().set("param.", "canary"), "unknown option \"param.\""),
        (calven().auth("canary"), "auth is one of post for calven"),
        (calven().auth("basic"), "auth is one of post for calven"),
        (authvia().auth("post"), "authvia takes no auth"),
        (oauth2().auth("canary"), "auth is one of post, basic, basic_raw for oauth2"),
        (authvia().client_id("canary-11ch"), "client_id has 12 to 36 characters at authvia; this one has 11"),
        (authvia().client_id("canary".repeat(7)), "this one has 42"),
        (authvia().scope("can"), "scope has at least 5 characters at authvia; this one has 3"),
        (authvia().set("expiration", "canary"), "expiration is seconds, or a number with s, m, min, h, d or w"),
        (calven().provider("eventhos"), "base_url is missing; eventhos needs it"),
        (calven().provider("eventhos").set("base_url", "canary"), "base_url is not a"),
        (oauth2().remove("token_url"), "token_url is missing; oauth2 needs it"),
        (calven().token_url("http://canary.example/token"), "token_url is http to another machine"),
        (calven().token_url("http://127.0.0.1.canary.example/"), "token_url is http to another machine"),
        (calven().token_url("ftp://canary.example/"), "token_url is neither https nor http"),
        (calven().token_url("canary.example/token"), "token_url is not a"),
        (calven().token_url("/canary"), "token_url is not a full URL"),
        (calven().token_url("https://canary:pass@host/"), "token_url holds credentials"),
        (calven().token_url("https://canary/#top"), "token_url holds a fragment"),
        (calven().token_url("https://canary/a b"), "token_url is not a URL"),
        (calven().token_url("https://canary/\ta"), "token_url is not a URL"),
        (calven().token_url("https://canary/\u{7f}"), "token_url is not a URL"),
        (calven().token_url("https://can\u{e4}ry.example/"), "token_url is not ASCII"),
        (calven().token_url("https://canary/\u{e9}"), "token_url is not ASCII"),
        (calven().token_url("http://127.0.0.1:99999/"), "token_url has no sound host and port"),
        (calven().token_url("http://127.0.0.1:0/"), "token_url has no sound host and port"),
        (calven().token_url("https://canary:/"), "token_url has no sound host and port"),
        (calven().token_url("https://canary:http/"), "token_url"),
        (calven().token_url("https://:443/"), "token_url has no sound host and port"),
        (calven().token_url("http://[::1]x/"), "token_url"),
        (calven().provider("eventhos").set("base_url", "https://canary/?a=b"), "base_url holds a query"),
        (calven().provider("eventhos").set("base_url", "https://canary:99999"), "base_url has no sound host and port"),
        (oauth2().auth("basic_raw").client_id("canary:id"), "client_id holds a colon"),
        (calven().default_ttl_s("18446744073709551615"), "default_ttl_s is from 1 to"),
        (calven().timeout_ms("0"), "timeout_ms is from 1 to 600000 milliseconds"),
        (calven().timeout_ms("99999999999999999999999"), "timeout_ms is from 1 to 600000 milliseconds"),
        (calven().header(&"x".repeat(9999), ""), "is empty; give it a value"),
        (calven().timeout_ms("600001"), "timeout_ms is from 1 to 600000 milliseconds"),
        (calven().timeout_ms("canary"), "timeout_ms is a whole number"),
        (calven().timeout_ms("+5"), "timeout_ms is a whole number"),
        (calven().min_valid_s("-1"), "min_valid_s is a whole number"),
        (calven().max_ttl_s("0"), "max_ttl_s is from 1 to 315360000 seconds"),
        (calven().default_ttl_s("1.5"), "default_ttl_s is a whole number"),
        (calven().refresh_ahead("canary"), "refresh_ahead is auto, off, or whole seconds"),
        (calven().store("canary"), "store is memory, file, file:/directory, or redis://host"),
        (calven().store("redis"), "store is memory, file, file:/directory, or redis://host"),
        (calven().store("http://canary"), "store is memory, file, file:/directory, or redis://host"),
        #[cfg(feature = "redis")]
        (calven().store("redis://"), "store has no sound host and port; write it as redis://user:password@host:6379/0"),
        #[cfg(feature = "redis")]
        (calven().store("redis:canary"), "store is not a URL; write it as redis://"),
        #[cfg(feature = "redis")]
        (calven().store("redis://:canary@host:99999"), "store has no sound port"),
        #[cfg(feature = "redis")]
        (calven().store("rediss://canary@host"), "store has a user without a password"),
        #[cfg(feature = "redis")]
        (calven().store("rediss://host?ca_file=/canary/none.pem"), "ca_file cannot be read"),
        (calven().store("file:canary"), "takes the absolute path of a directory"),
        (calven().store("file:"), "takes the absolute path of a directory"),
        (calven().quota("canary"), "quota has a part without a slash; write it as COUNT/WINDOW"),
        (calven().quota("31/canary"), "quota has a window"),
        (calven().quota("0/month"), "quota has a count that is not a number from 1 to 10000"),
        (calven().quota("31/month").store("memory"), "store is memory, which every start of a program forgets"),
        (calven().provider("calenso").store("memory"), "set store=file, or quota=none"),
        (calven().store_key_file("/canary"), "store_key_file seals a store that is shared, and store is memory"),
        (calven().store("file:/tmp").store_key_file("/canary"), "store_key_file cannot be read"),
        (calven().proxy("canary"), "proxy is not the URL of an HTTP proxy"),
        (calven().proxy("socks5://canary:1"), "proxy is not the URL of an HTTP proxy"),
        (calven().ca_file("/canary/none.pem"), "ca_file cannot be read"),
        (calven().user_agent("canäry"), "user_agent is visible ASCII"),
        (calven().header("Content-Length", "canary"), "header.Content-Length is the library's own"),
        (calven().header("accept-Encoding", "canary"), "header.accept-Encoding is the library's own"),
        (calven().header("a b", "canary"), "header.a b is not the name of a header"),
        (calven().header("X-A", "canary").header("x-a", "canary"), "set twice, in different case"),
        (calven().header("Authorization", "canary"), "would be a second way to authenticate"),
        (calven().header("X-A", "canäry"), "not visible ASCII"),
        (calven().param("client_secret", "canary"), "param.client_secret would hide the option client_secret"),
    ] {
        let (kind, text) = refusal(&builder);
        assert!(text.contains(words), "{text}\n  lacks {words}");
        assert_eq!(kind, ErrorKind::Config, "{text}");
    }
}

#[test]
fn what_this_version_lacks_is_refused_with_a_sentence() {
    let calven = || Client::builder().provider("calven").client_id("id").client_secret("s");
    let lacking: &[(Builder, &str)] = &[
        #[cfg(not(feature = "redis"))]
        (calven().store("redis://localhost"), "build with the feature redis, or set store=file"),
        #[cfg(not(feature = "redis"))]
        (calven().store("rediss://:canary@localhost"), "build with the feature redis, or set store=file"),
        #[cfg(not(feature = "platform-verifier"))]
        (calven().ca_file("system"), "platform-verifier"),
    ];
    for (builder, words) in lacking {
        let (kind, text) = refusal(builder);
        assert!(kind == ErrorKind::Unsupported && text.contains(words), "{text}");
    }
    canary::build(&calven().store("memory").quota("none")).unwrap();
}

#[test]
fn a_pem_file_without_certificates_is_refused() {
    let file = TempFile::new("");
    for (content, words) in [
        ("", "ca_file holds no certificate"),
        ("hello", "ca_file holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n", "ca_file is not PEM"),
    ] {
        file.write(content);
        let (_, text) = refusal(&oauth2().ca_file(file.path()));
        assert!(text.contains(words), "{text}");
    }
}

/// C-29.
#[test]
fn http_is_for_this_machine_only() {
    for url in [
        "http://127.0.0.1:1/",
        "http://localhost/t",
        "http://[::1]:8080/t",
        "http://127.9.9.9/",
        "https://x.example/",
        "https://[2001:db8::1]:8443/t",
        "https://xn--canry-jra.example/a/../%00",
    ] {
        canary::build(&oauth2().token_url(url)).unwrap();
    }
}

#[test]
fn options_come_in_any_order_and_the_last_word_counts() {
    let world = World::new();
    let forwards =
        [("provider", "oauth2"), ("token_url", "https://a.example/"), ("client_id", "me"), ("client_secret", "s")];
    let one = forwards.iter().fold(Client::builder(), |builder, (name, value)| builder.set(*name, *value));
    let other = forwards
        .iter()
        .rev()
        .fold(Client::builder().client_id("replaced").scope("removed"), |builder, (name, value)| {
            builder.set(*name, *value)
        });
    world.client(&one).token().unwrap();
    world.client(&other.remove("scope").remove("never-set")).token().unwrap();
    assert_eq!(world.provider.count(), 1, "they are the same");
}

#[test]
fn json_is_one_flat_object() {
    let world = World::new();
    let builder = oauth2()
        .scope("from-before")
        .load_json(r#"{"timeout_ms": 5000, "min_valid_s": 2e1, "param.flag": true, "scope": null, "audience": "a"}"#)
        .unwrap();
    world.client(&builder).token().unwrap();
    assert_eq!(world.provider.last().body, "grant_type=client_credentials&audience=a&flag=true");
    for (json, words) in [
        (r#"{"client_id": "canary", "client_id": "canary"}"#, "the JSON member \"client_id\" stands there twice"),
        (r#"{"client_id": ["canary"]}"#, "the JSON member \"client_id\" is not a text, number or boolean"),
        (
            r#"{"client_id": 123456789012345678901234}"#,
            "\"client_id\" is a number that JSON readers change; write it in quotes",
        ),
        (r#"{"client_secret": 1.10}"#, "write it in quotes"),
        (r#"["canary"]"#, "not one flat object"),
        (r#""canary""#, "not one flat object"),
        (r#"{"client_secret": "canary" "#, "cannot be read at line 1 column"),
        (r#"{"client_secret": "canary"} canary"#, "cannot be read at line 1 column"),
    ] {
        let error = Client::builder().load_json(json).unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Config && text.contains(words), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

/// B-20.
#[test]
fn the_environment_is_read_by_prefix_and_only_in_upper_case() {
    // In a child process: a program's own environment is not to be changed under running threads.
    let child = |vars: &[(&str, &std::ffi::OsStr)]| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "child_of_the_environment_test", "--nocapture"]).env("LIBTOKAUTH_TEST_CHILD", "1");
        child.env_remove("TOKAUTH_PROVIDER").envs(vars.iter().copied());
        String::from_utf8(child.output().unwrap().stdout).unwrap()
    };
    use std::os::unix::ffi::OsStrExt;
    let text = |text: &'static str| std::ffi::OsStr::new(text);
    for (name, value, told) in [
        ("PROBE_CLIENT_ID", text("me"), "loaded [\"client_id\"]"),
        ("PROBE_CLIENT_ID", std::ffi::OsStr::from_bytes(b"\xff"), "the variable \"PROBE_CLIENT_ID\" is not UTF-8"),
        ("PROBE_Client_Id", text("canary"), "the variable \"PROBE_Client_Id\" is no option in upper case"),
        ("PROBE_PARAM.X", text("canary"), "the variable \"PROBE_PARAM.X\" is no option in upper case"),
        ("ELSEWHERE_CLIENT_ID", text("canary"), "loaded []"),
    ] {
        let output = child(&[(name, value)]);
        assert!(output.contains(told) && !output.contains("canary"), "{name}: {output}");
    }
    assert!(child(&[]).contains("empty prefix: config: the prefix is empty"));
}

#[test]
fn child_of_the_environment_test() {
    if std::env::var_os("LIBTOKAUTH_TEST_CHILD").is_some() {
        match Client::builder().load_env(Some("PROBE_")) {
            Ok(builder) => println!("loaded {builder:?}"),
            Err(error) => println!("{error}"),
        }
        println!("empty prefix: {}", Client::builder().load_env(Some("")).unwrap_err());
    }
}

#[test]
fn a_debugged_builder_shows_names_only() {
    let text = format!("{:?}", oauth2().param("x", "canary-value").proxy("http://canary:canary@proxy/"));
    assert!(text.contains("param.x") && !text.contains("canary"), "{text}");
}

#[test]
fn no_public_type_shows_a_secret_or_a_token() {
    let world = World::new();
    let builder = oauth2().token_url("https://auth.example/?code=canary-query");
    let client = world.client(&builder.param("x", "canary-value").proxy("http://canary:canary@proxy/"));
    let token = client.token().unwrap();
    let shown = format!("{client:?} {token:?} {:?}", world.seams);
    assert!(!shown.contains("canary") && !shown.contains("\"t1\"") && !shown.contains("Basic"), "{shown}");
}
