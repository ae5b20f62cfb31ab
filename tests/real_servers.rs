//! The library against authorization servers and a proxy that others wrote. Needs Node, so it runs only when asked to:
//! `cargo test --test real_servers -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod hosts;
mod languages;
mod servers;

use hosts::{Failure, Host, Seen, through_both_apis};
use languages::{PYTHON, get_token_in_c, get_token_in_python, printed, run};
use serde_json::{Value, json};
use servers::{Server, ca_file, get, post};

through_both_apis!(
    #[ignore = "needs Node 20 and npm; .ci/run runs it"]
    tokens_of_oidc_provider_pass_its_introspection_or_its_api,
    a_token_of_oidc_provider_is_asked_for_once_however_short_its_life,
    refusals_of_oidc_provider_are_told_in_its_words,
    without_a_trusted_connection_oidc_provider_is_not_asked,
    tokens_of_node_oauth2_server_pass_its_resource,
    refusals_of_node_oauth2_server_are_told_in_its_words,
    a_proxy_leads_to_oidc_provider_by_connect_only,
);

type Options = Vec<(String, String)>;
/// Options beyond those of the client.
type More<'a> = &'a [(&'a str, &'a str)];

/// How the client `name` of a server asks at `url`.
fn options(server: &Server, name: &str, url: &str, more: More<'_>) -> Options {
    let known = |what| server.text(&format!("/clients/{name}/{what}"));
    let token_url = format!("{url}/token");
    let (id, secret) = (known("id"), known("secret"));
    let mut options = vec![("provider", "oauth2"), ("token_url", &token_url), ("client_id", id)];
    if !more.iter().any(|(name, _)| *name == "client_secret") {
        options.push(("client_secret", secret));
    }
    options.extend_from_slice(more);
    options.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn trusting(mut options: Options) -> Options {
    options.push(("ca_file".into(), ca_file().to_str().unwrap().into()));
    options
}

/// Asks, and sees that neither the error nor any line of the log tells a secret or the token.
fn ask<H: Host>(client: &H) -> Result<Seen, Failure> {
    let answer = client.token();
    let mut told = hosts::logged();
    assert!(!told.is_empty());
    told.extend(answer.as_ref().err().map(|failure| failure.message.clone()));
    for line in told {
        let token = answer.as_ref().is_ok_and(|seen| line.contains(&seen.value));
        assert!(!token && !line.contains("canary") && !line.contains("Basic "), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    answer
}

/// Whether a new token lives as long as the server said, a little for the way aside.
fn lives(seen: &Seen, life: &Value) -> bool {
    let life = life.as_i64().unwrap();
    (life - 100..=life).contains(&seen.life())
}

/// Asks as a new client, which gets no token, and tells why.
fn fail<H: Host>(options: &Options, what: &str) -> Failure {
    let client = H::client(options).unwrap_or_else(|failure| panic!("{what}: {}", failure.message));
    let failure = ask(&client).expect_err(what);
    assert_eq!(client.cached().unwrap_err().status, hosts::NOT_CACHED, "{what}");
    failure
}

fn tokens_of_oidc_provider_pass_its_introspection_or_its_api<H: Host>() {
    let server = Server::start("oidc-provider.mjs");
    let (http, https) = (server.text("/urls/http"), server.text("/urls/https"));
    let (opaque, jwt) = (("resource", "https://api.example/opaque"), ("resource", "https://api.example/jwt"));
    let cases: [(&str, More<'_>); 9] = [
        ("plain", &[]),
        ("plain", &[("auth", "basic")]),
        ("plain", &[("auth", "basic_raw")]),
        ("plain", &[("auth", "post")]),
        ("special", &[("auth", "basic")]),
        ("special", &[("auth", "post")]),
        ("plain", &[("scope", "api:read api:write")]),
        ("plain", &[("scope", "api:write"), opaque]),
        ("plain", &[("scope", "api:read"), ("auth", "post"), jwt]),
    ];
    let mut sent = 0;
    for (url, (name, more)) in [http, https].into_iter().flat_map(|url| cases.map(|case| (url, case))) {
        let what = format!("{name} at {url} with {more:?}");
        let client = H::client(&trusting(options(&server, name, url, more))).unwrap();
        client.clear(); // some cases are the same to the server, and so share a slot
        let seen = ask(&client).unwrap_or_else(|failure| panic!("{what}: {}", failure.message));
        sent += 1;
        let asked = |option| more.iter().find(|(name, _)| *name == option).map(|(_, value)| *value);
        assert_eq!((&*seen.token_type, seen.scope.as_deref()), ("Bearer", asked("scope")), "{what}");
        assert!(lives(&seen, server.known("/life")), "{what}: {}", seen.life());
        let claims = match seen.value.contains('.') {
            true => get(&format!("{http}/api"), &seen.headers),
            false => {
                let (id, secret) = (server.text("/clients/plain/id"), server.text("/clients/plain/secret"));
                let form = [("client_id", id), ("client_secret", secret), ("token", &*seen.value)];
                let introspected = post(&format!("{http}/token/introspection"), &form);
                assert_eq!(introspected.body()["active"], true, "{what}");
                introspected
            }
        };
        let claims = claims.body();
        assert_eq!(claims["client_id"], server.text(&format!("/clients/{name}/id")), "{what}: {claims}");
        assert_eq!(claims["scope"].as_str(), asked("scope"), "{what}: {claims}");
        assert_eq!(claims["aud"].as_str(), asked("resource"), "{what}: {claims}");
        assert_eq!(server.token_requests(), sent, "{what}");
    }
    let made_up = [("Authorization".to_owned(), "Bearer made.up.token".to_owned())];
    assert_eq!(get(&format!("{http}/api"), &made_up).status(), 401);
}

fn a_token_of_oidc_provider_is_asked_for_once_however_short_its_life<H: Host>() {
    let server = Server::start("oidc-provider.mjs");
    for (requests, url) in [server.text("/urls/http"), server.text("/urls/https")].into_iter().enumerate() {
        let options = trusting(options(&server, "short", url, &[("min_valid_s", "300")]));
        let client = H::client(&options).unwrap();
        let ask_often = || {
            std::thread::scope(|scope| {
                let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| [(); 4].map(|()| ask(&client).unwrap()))).collect();
                callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect::<Vec<Seen>>()
            })
        };
        let seen = ask_often();
        assert!(lives(&seen[0], server.known("/short_life")), "{}", seen[0].life());
        assert!(seen.iter().all(|other| *other == seen[0]));
        assert_eq!(ask(&H::client(&options).unwrap()).unwrap(), seen[0]);
        client.clear();
        assert_ne!(ask(&client).unwrap().value, seen[0].value);
        assert_eq!((client.requests(), server.token_requests()), (2, 2 * (requests as u64 + 1)));
    }
}

/// Who asks and with what; the status, the server's HTTP status and code, and how the message ends.
type Refusal<'a> = (&'a str, More<'a>, i32, i32, &'a str, &'a str);

fn told_in_its_words<H: Host>(server: &Server, url: &str, refusals: &[Refusal<'_>]) {
    let mut requests = 0;
    for (name, more, status, http_status, code, words) in refusals {
        let what = format!("{name} with {more:?}");
        let failure = fail::<H>(&options(server, name, url, more), &what);
        let told = (failure.status, failure.http_status, failure.provider_code.as_deref());
        assert_eq!(told, (*status, *http_status, Some(*code)), "{what}: {}", failure.message);
        assert!(failure.message.ends_with(words), "{what}: {}\n  does not end with {words}", failure.message);
        // Who failed may have issued a token, and is asked once more.
        requests += if *status == hosts::SERVER { 2 } else { 1 };
        assert_eq!(server.token_requests(), requests, "{what}");
    }
}

const WRONG: (&str, &str) = ("client_secret", "canary-secret-that-is-wrong");

fn refusals_of_oidc_provider_are_told_in_its_words<H: Host>() {
    let server = Server::start("oidc-provider.mjs");
    let unknown = "\"client authentication failed\"; check client_id, client_secret and auth";
    let refusals: [Refusal<'_>; 8] = [
        ("plain", &[WRONG], hosts::DENIED, 401, "invalid_client", unknown),
        ("plain", &[WRONG, ("auth", "post")], hosts::DENIED, 401, "invalid_client", unknown),
        ("plain", &[("client_id", "m2m-nobody")], hosts::DENIED, 401, "invalid_client", unknown),
        (
            "expired",
            &[],
            hosts::DENIED,
            400,
            "invalid_client",
            "- its client secret is expired\"; check client_id, client_secret and auth",
        ),
        (
            "special_secret",
            &[("auth", "basic_raw")],
            hosts::DENIED,
            400,
            "invalid_request",
            "in the authorization header are not properly encoded\"; check the credentials and the options",
        ),
        (
            "without_grant",
            &[],
            hosts::DENIED,
            400,
            "invalid_request",
            "\"requested grant type is not allowed for this client\"; check the credentials and the options",
        ),
        ("reader", &[("scope", "api:write")], hosts::DENIED, 400, "invalid_scope", "; check scope"),
        (
            "plain",
            &[("resource", "https://unknown.example")],
            hosts::DENIED,
            400,
            "invalid_target",
            "\"no such resource\"; check resource and audience",
        ),
    ];
    told_in_its_words::<H>(&server, server.text("/urls/http"), &refusals);
}

fn without_a_trusted_connection_oidc_provider_is_not_asked<H: Host>() {
    let server = Server::start("oidc-provider.mjs");
    let at = |listener: &str| options(&server, "plain", server.text(&format!("/urls/{listener}")), &[]);
    for (what, options, words) in [
        ("a root that is not trusted", at("https"), "; check the host; for a private CA set ca_file"),
        (
            "a certificate for another name",
            trusting(at("elsewhere")),
            "; check the host, and that ca_file holds the root of its certificate",
        ),
    ] {
        let failure = fail::<H>(&options, what);
        assert_eq!(failure.status, hosts::TLS, "{what}: {}", failure.message);
        assert!(failure.message.starts_with("TLS: no trusted connection to localhost:"), "{what}: {}", failure.message);
        assert!(failure.message.ends_with(words), "{what}: {}", failure.message);
    }
    // The server refuses when the handshake is over for the client, which may be writing: then its alert is lost.
    let failure = fail::<H>(&trusting(at("strict")), "a client certificate is wanted");
    let words = match failure.status {
        hosts::TLS => "; ask the provider what it wants",
        _ => "; ask again; if it stays so, does it want a client certificate?",
    };
    assert!([hosts::TLS, hosts::NETWORK].contains(&failure.status), "{}", failure.message);
    assert!(failure.message.ends_with(words), "{}", failure.message);
    assert_eq!(server.token_requests(), 0);
}

fn tokens_of_node_oauth2_server_pass_its_resource<H: Host>() {
    let server = Server::start("node-oauth2-server.mjs");
    let url = server.text("/url");
    let cases: [(&str, More<'_>, &str); 5] = [
        ("special", &[("auth", "basic_raw")], "read"),
        ("special", &[("auth", "basic_raw"), ("scope", "write read")], "write read"),
        ("special", &[("auth", "post")], "read"),
        ("plain", &[("auth", "basic_raw")], "read"),
        ("plain", &[("scope", "write")], "write"),
    ];
    for (requests, (name, more, scope)) in cases.into_iter().enumerate() {
        let client = H::client(&options(&server, name, url, more)).unwrap();
        let seen = ask(&client).unwrap_or_else(|failure| panic!("{name} with {more:?}: {}", failure.message));
        assert_eq!(seen.scope.as_deref(), Some(scope), "{name} with {more:?}");
        assert!(lives(&seen, server.known("/life")), "{name} with {more:?}: {}", seen.life());
        let passed = get(&format!("{url}/resource"), &seen.headers);
        let expected = json!({"client_id": server.text(&format!("/clients/{name}/id")), "scope": scope});
        assert_eq!((passed.status().as_u16(), passed.body()), (200, &expected));
        assert_eq!((client.requests(), server.token_requests()), (1, requests as u64 + 1));
    }
    let made_up = [("Authorization".to_owned(), "Bearer canary-token-made-up".to_owned())];
    assert_eq!(get(&format!("{url}/resource"), &made_up).status(), 401);
    let (id, secret) = (server.text("/clients/plain/id"), server.text("/clients/plain/secret"));
    let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    let reply = post(&format!("{url}/token"), &form);
    assert_eq!(reply.headers()["transfer-encoding"], "chunked", "as were the replies that gave the tokens");
}

fn refusals_of_node_oauth2_server_are_told_in_its_words<H: Host>() {
    let server = Server::start("node-oauth2-server.mjs");
    let invalid = "\"Invalid client: client is invalid\"; check client_id, client_secret and auth";
    let refusals: [Refusal<'_>; 6] = [
        ("special", &[("auth", "basic")], hosts::DENIED, 401, "invalid_client", invalid), // it does not decode
        ("plain", &[WRONG], hosts::DENIED, 401, "invalid_client", invalid),
        ("plain", &[WRONG, ("auth", "post")], hosts::DENIED, 400, "invalid_client", invalid),
        ("plain", &[("scope", "admin")], hosts::DENIED, 400, "invalid_scope", "; check scope"),
        (
            "without_grant",
            &[],
            hosts::DENIED,
            400,
            "unauthorized_client",
            "; this client may not use the client credentials grant; ask the provider to allow it",
        ),
        ("faulty", &[], hosts::SERVER, 503, "server_error", "\"the database is down\"; ask again later"),
    ];
    told_in_its_words::<H>(&server, server.text("/url"), &refusals);
}

/// The proxy's address with a user and a password in it.
fn as_user(proxy: &Server, password: &str) -> String {
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let (user, password) = (encode(proxy.text("/user")), encode(password));
    proxy.text("/guarded").replace("http://", &format!("http://{user}:{password}@"))
}

fn a_proxy_leads_to_oidc_provider_by_connect_only<H: Host>() {
    let (server, proxy) = (Server::start("oidc-provider.mjs"), Server::start("proxy.mjs"));
    let urls = [server.text("/urls/https"), server.text("/urls/http")];
    let peers = urls.map(|url| url.split_once("://").unwrap().1);
    let through = |url, proxy: &str| trusting(options(&server, "plain", url, &[("proxy", proxy)]));
    let leading = [proxy.text("/open").to_owned(), as_user(&proxy, proxy.text("/password"))];
    for (url, leading) in urls.iter().flat_map(|url| leading.iter().map(move |leading| (*url, leading))) {
        let client = H::client(&through(url, leading)).unwrap();
        ask(&client).unwrap_or_else(|failure| panic!("{url}: {}", failure.message));
        assert_eq!(client.requests(), 1);
    }
    // What goes to this machine in clear goes past it.
    let connected = [peers[0], peers[0]];
    assert_eq!(proxy.seen(), json!({"connected": connected, "refused": 0, "other": 0}));
    assert_eq!(server.token_requests(), 4);

    for refusing in [proxy.text("/guarded").to_owned(), as_user(&proxy, "canary-secret-that-is-wrong")] {
        let failure = fail::<H>(&through(urls[0], &refusing), "a proxy that refuses");
        assert_eq!(failure.status, hosts::NETWORK, "{}", failure.message);
        let words = format!("connect: the proxy does not lead to {}: ", peers[0]);
        assert!(failure.message.starts_with(&words), "{}", failure.message);
        assert!(failure.message.contains("(HTTP 407); write proxy as http://user:password@"), "{}", failure.message);
    }
    assert!(ask(&H::client(&trusting(options(&server, "plain", urls[0], &[]))).unwrap()).is_ok());
    // Once for each call: the same password would be refused again.
    assert_eq!(proxy.seen(), json!({"connected": connected, "refused": 2, "other": 0}));
    assert_eq!(server.token_requests(), 5, "the last past the proxy");
}

#[test]
#[ignore = "needs Node 20 and npm; .ci/run runs it"]
fn c_and_python_get_tokens_over_tls_directly_and_through_a_proxy() {
    let (server, proxy) = (Server::start("oidc-provider.mjs"), Server::start("proxy.mjs"));
    let url = server.text("/urls/https");
    let through = as_user(&proxy, proxy.text("/password"));
    let mut sent = 0;
    for (name, more) in [("special", &[][..]), ("plain", &[("proxy", &*through)])] {
        let options = trusting(options(&server, name, url, more));
        for program in [get_token_in_c(&options), get_token_in_python(&options)] {
            let text = printed(program, PYTHON);
            assert!(text.starts_with("Authorization: Bearer ") && text.ends_with("\nrequests sent: 1\n"), "{text}");
            sent += 1;
            assert_eq!(server.token_requests(), sent);
        }
    }
    assert_eq!(proxy.seen()["connected"].as_array().unwrap().len(), 2);
    let options = trusting(options(&server, "plain", url, &[WRONG]));
    for program in [get_token_in_c(&options), get_token_in_python(&options)] {
        let output = run(program, PYTHON);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{text}");
        assert!(text.contains("(HTTP 401, code invalid_client)") && !text.contains("canary"), "{text}");
    }
}
