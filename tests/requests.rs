//! What leaves for each provider, to the byte.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod temp;
mod world;

use serde_json::json;
use temp::TempFile;
use tokauth::{Builder, Client, seams::Seams};
use world::{NOW, Request, World, oauth2};

/// What leaves when a client is asked for a token; how the reply is read is another matter.
fn sent(builder: Builder) -> Request {
    let world = World::new();
    let _ = world.client(&builder).token();
    world.provider.last()
}

fn client_of(provider: &str) -> Builder {
    let builder = Client::builder().provider(provider).store("memory").quota("none");
    builder.client_id("client-id-123").client_secret("libtokauth-example-secret")
}

/// Q8, Q9, Q10, Q13, Q17: presets, JSON or a form, other grant types, extra headers, the URL byte for byte.
#[test]
fn each_provider_gets_its_own_request() {
    // Signatures were made with Python's hmac, not with this library.
    for (builder, url, headers, body) in [
        (
            client_of("calven"),
            "https://api.calven.com/v1/auth/token",
            vec![("x-calven-region", None)],
            r#"{"client_id":"client-id-123","client_secret":"libtokauth-example-secret"}"#.to_owned(),
        ),
        (
            client_of("calven").set("region", "ause1"),
            "https://api.calven.com/v1/auth/token",
            vec![("x-calven-region", Some("ause1"))],
            r#"{"client_id":"client-id-123","client_secret":"libtokauth-example-secret"}"#.to_owned(),
        ),
        (
            client_of("calven-hmac"),
            "https://api.calven.com/v1/auth",
            vec![("x-calven-region", None)],
            format!(r#"{{"apiKey":"client-id-123","timestamp":{NOW},"hash":"HEX"}}"#)
                .replace("HEX", "8f8066d6227ea4d90e2a3f6c7da7cf135ecc55a8204014cc03079918c089c586"),
        ),
        (
            client_of("calenso"),
            "https://calenso.eu.auth0.com/oauth/token",
            vec![],
            "grant_type=client_credentials&audience=https%3A%2F%2Fmy.calenso.com%2Fapi%2Fv1\
             &client_id=client-id-123&client_secret=libtokauth-example-secret"
                .to_owned(),
        ),
        (
            client_of("eventhos").set("base_url", "https://eventhos.example/api/").client_id("abc::usil.app"),
            "https://eventhos.example/api/auth/token",
            vec![],
            "grant_type=client_credentials&client_id=abc%3A%3Ausil.app&client_secret=libtokauth-example-secret".to_owned(),
        ),
        (
            client_of("event-temple").scope("crm_read crm_manage").set("org_id", "7"),
            "https://api.eventtemple.com/oauth/token",
            vec![("x-api-org", None)],
            r#"{"grant_type":"client_credentials","scope":"crm_read crm_manage","client_id":"client-id-123","client_secret":"libtokauth-example-secret"}"#.to_owned(),
        ),
        (
            client_of("event-temple"),
            "https://api.eventtemple.com/oauth/token",
            vec![],
            r#"{"grant_type":"client_credentials","client_id":"client-id-123","client_secret":"libtokauth-example-secret"}"#.to_owned(),
        ),
        (
            client_of("feishu"),
            "https://open.feishu.cn/open-apis/auth/v3/tenant_access_token/internal",
            vec![("content-type", Some("application/json; charset=utf-8"))],
            r#"{"app_id":"client-id-123","app_secret":"libtokauth-example-secret"}"#.to_owned(),
        ),
        (
            client_of("feishu").set("base_url", "https://open.larksuite.com/"),
            "https://open.larksuite.com/open-apis/auth/v3/tenant_access_token/internal",
            vec![],
            r#"{"app_id":"client-id-123","app_secret":"libtokauth-example-secret"}"#.to_owned(),
        ),
        (
            oauth2().auth("post").client_secret("a b+c&d=e/f%g").scope("x y").audience("https://a/").resource("urn:r"),
            "https://auth.example/token",
            vec![("authorization", None)],
            "grant_type=client_credentials&scope=x+y&audience=https%3A%2F%2Fa%2F&resource=urn%3Ar\
             &client_id=me&client_secret=a+b%2Bc%26d%3De%2Ff%25g"
                .to_owned(),
        ),
        (
            oauth2().token_url("https://auth.example:8443/a/../b//?x=%2f&y=").param("grant_type", "account_credentials").param("account_id", "5"),
            "https://auth.example:8443/a/../b//?x=%2f&y=",
            vec![("authorization", Some("Basic bWU6Y2FuYXJ5LXNlY3JldC0wMTIzNDU2Nzg5YWJjZGVm"))],
            "grant_type=account_credentials&account_id=5".to_owned(),
        ),
    ] {
        let request = sent(builder);
        assert_eq!(request.url, url);
        assert_eq!(request.body, body, "{url}");
        for (name, value) in headers {
            assert_eq!(request.header(name), value, "{name} at {url}");
        }
    }
}

/// Q14, Q16, R8.
#[test]
fn every_request_says_what_it_is_and_what_it_takes() {
    for (builder, content_type) in [
        (client_of("calven"), "application/json"),
        (client_of("calenso"), "application/x-www-form-urlencoded"),
        (
            oauth2().header("content-type", "application/x-www-form-urlencoded;charset=UTF-8"),
            "application/x-www-form-urlencoded;charset=UTF-8",
        ),
    ] {
        let request = sent(builder);
        assert_eq!(request.header("content-type"), Some(content_type));
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("user-agent"), Some(concat!("libtokauth/", env!("CARGO_PKG_VERSION"))));
        assert_eq!(request.header("accept-encoding"), None);
        let mut names: Vec<_> = request.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "no header twice");
    }
    let request = sent(oauth2().user_agent("my-app/2").header("X-Api-Version", "3"));
    assert_eq!(request.header("user-agent"), Some("my-app/2"));
    assert_eq!(request.header("x-api-version"), Some("3"));
}

/// Q15, Q20.
#[test]
fn fields_stand_in_their_order_and_a_resource_may_be_repeated() {
    let request = sent(
        oauth2()
            .auth("post")
            .scope("b a+c")
            .resource("https://api.example/a  urn:b")
            .param("index", "1")
            .param("account_id", "5"),
    );
    // A blank is + in a form, and a plus %2B; doubled blanks make no empty field.
    let expected = "grant_type=client_credentials&scope=b+a%2Bc&resource=https%3A%2F%2Fapi.example%2Fa&resource=urn%3Ab\
                    &client_id=me&client_secret=canary-secret-0123456789abcdef&index=1&account_id=5";
    assert_eq!(request.body, expected);
}

/// Q7, Q8.
#[test]
fn exactly_one_way_to_authenticate_leaves() {
    for (auth, header, fields) in [("basic", true, false), ("basic_raw", true, false), ("post", false, true)] {
        let request = sent(oauth2().auth(auth));
        assert_eq!(request.header("authorization").is_some(), header, "{auth}");
        assert_eq!(request.body.contains("client_secret") || request.body.contains("client_id"), fields, "{auth}");
    }
}

/// Q12, Q16: Sabre wants base64 within base64, which its users make themselves; others want the secret in a header of
/// their own.
#[test]
fn a_description_may_put_the_secret_into_a_header_and_name_a_charset() {
    let file = TempFile::new(
        json!({
            "name": "headed", "about": "The secret in a header.", "token_url": "https://auth.example/token",
            "request": {
                "body": "form",
                "headers": {
                    "Authorization": "Basic {client_secret}",
                    "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8",
                },
                "fields": {"grant_type": "client_credentials"},
            },
            "api": {"headers": {"Authorization": "Bearer {token}"}},
        })
        .to_string(),
    );
    let headed = |secret: &str| Client::builder().provider_file(file.path()).client_id("me").client_secret(secret);
    let request = sent(headed("Y2FuYXJ5OnNlY3JldA=="));
    assert_eq!(request.header("authorization"), Some("Basic Y2FuYXJ5OnNlY3JldA=="));
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded;charset=UTF-8"));
    assert_eq!(request.body, "grant_type=client_credentials");

    let world = World::new();
    let error = world.client(&headed("canary-sécret")).token().unwrap_err().to_string();
    assert_eq!(error, "request: client_secret cannot stand in the header Authorization: it is not visible ASCII");
    world.provider.next_json(400, json!({"error_description": "bad canary-of-a-secret"}));
    let error = world.client(&headed("canary-of-a-secret")).token().unwrap_err().to_string();
    assert!(!error.contains("canary"), "{error}");
}

/// Q1 to Q4.
#[test]
fn basic_credentials_are_percent_encoded_or_raw_as_asked() {
    let (id, secret) = ("1PpG/Q 1", "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=");
    let basic = |auth: &str| {
        let request = sent(oauth2().client_id(id).client_secret(secret).auth(auth));
        assert!(
            !request.body.contains("client_id") && !request.body.contains("secret"),
            "exactly one way: {}",
            request.body
        );
        request.header("authorization").unwrap().to_owned()
    };
    // A blank as %20 is understood by every server; as + it is not (that would be AppAuth's vector, …RyUyRlErMT…).
    assert_eq!(
        basic("basic"),
        "Basic MVBwRyUyRlElMjAxOnolMkZ0WjlWd0ZacUFwbUlRJTJCWkgxSTVwTGslMkZ1QjR1ZCUzQVgyJTJGOGJMJTJCd2ZGVHQxckZ3JTNE"
    );
    assert_eq!(
        basic("basic_raw"),
        "Basic MVBwRy9RIDE6ei90WjlWd0ZacUFwbUlRK1pIMUk1cExrL3VCNHVkOlgyLzhiTCt3ZkZUdDFyRnc9"
    );
    let plain = sent(oauth2().client_id("abc-._~123").auth("basic"));
    let raw = sent(oauth2().client_id("abc-._~123").auth("basic_raw"));
    assert_eq!(plain.header("authorization"), raw.header("authorization"), "unreserved characters stay");
}

/// Q19.
#[test]
fn authvia_signs_a_fresh_random_value_of_64_ascii_characters() {
    let mut world = World::new();
    world.seams.random = Seams::system().unwrap().random;
    let client = world.client(&client_of("authvia").scope("read:all").set("expiration", "5m"));
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        world.provider.next_json(201, json!({"type": "Bearer", "token": "t"}));
        client.refresh().unwrap();
        let body = world.provider.last().json();
        let value = body["signature_value"].as_str().unwrap().to_owned();
        assert_eq!(value.len(), 64);
        assert!(value.bytes().all(|b| b.is_ascii_graphic()));
        assert!(seen.insert(value), "fresh each time");
        assert_eq!(body["timestamp"], json!(NOW), "a number");
        assert_eq!(body["audience"], "api.authvia.com/v3");
        assert_eq!((&body["scope"], &body["expiration"]), (&json!("read:all"), &json!("5m")));
        assert!(body["signature"].as_str().unwrap().ends_with('='), "base64 with padding");
        assert_eq!(body.as_object().unwrap().len(), 7, "no stray field: {body}");
    }
}

#[test]
fn authvia_s_published_signature_is_what_leaves() {
    // developer.authvia.com/reference/authentication: the value is not one of ours, so a description says it.
    let description = include_str!("../src/providers/authvia.json")
        .replace("\"signature_value\": {\"random\": 64}", "\"unused\": {\"random\": 1}")
        .replace("\"timestamp\": {\"unix_time\": \"seconds\"},", "")
        .replace("{timestamp}", "1565870400")
        .replace("\"length_of\": \"signature_value\"", "\"length_of\": \"value\"")
        .replace("{signature_value}", "{value}")
        .replace("\"inputs\": {", "\"inputs\": {\"value\": {\"required\": true},");
    let file = TempFile::new(description);
    let request = sent(
        Client::builder()
            .provider_file(file.path())
            .client_id("client-id-123")
            .client_secret("your-secret")
            .set("value", "rMC%aeVO$&jH3oM4LkijKsz$MS533SZ7f%qLdHZyrB71!7xRQAq!2si&$nBV!Ypm"),
    );
    assert_eq!(request.json()["signature"], "BJY6fZBoq84Fo5JKFoQh6XpeQgeKz1kVz2DrErIp6sU=");
}

#[test]
fn calven_signs_id_and_time_without_a_plus_between() {
    let world = World::new();
    world.clock.set_wall(std::time::Duration::from_secs(1_683_257_792));
    let builder = client_of("calven-hmac").client_id("55DE3799-6C65-43F3-9AFB-A4725358B4FD");
    let _ = world.client(&builder).token();
    let body = world.provider.last().json();
    // With a literal + between, as the page prints it, this would be
    // 16f475b9727b87c7cf9036cb89d5b8abcfaf0842e576a88e5fba7cec20960f36.
    assert_eq!(body["hash"], "01f976760a929f0a58ef0996afcfa37e640ec36bdd5c9e62dcc28b83e122ea9e");
    assert_eq!(body["timestamp"], json!(1_683_257_792));
}

#[test]
fn a_clock_that_was_never_set_signs_nothing() {
    let world = World::new();
    world.clock.set_wall(std::time::Duration::from_secs(9));
    let error = world.client(&client_of("calven-hmac")).token().unwrap_err();
    assert!(error.to_string().contains("clock is decades behind"), "{error}");
    assert_eq!(world.provider.count(), 0);
    let _ = world.client(&client_of("calven")).token();
    assert_eq!(world.provider.count(), 1, "without a signature the time does not matter");
}

#[test]
fn a_life_asked_for_in_bare_seconds_is_a_json_number() {
    let expiration = |text: &str| sent(client_of("authvia").set("expiration", text)).json()["expiration"].clone();
    assert_eq!(expiration("900"), json!(900));
    assert_eq!(expiration("1d"), json!("1d"));
}

#[test]
fn a_signature_in_a_form_is_as_long_as_its_head_says_whatever_its_bytes() {
    let description = r#"{
        "name": "signed-form", "about": "A signature in base64, in a form.", "token_url": "https://auth.example/token",
        "computed": {
            "nonce": {"random": 8},
            "now": {"unix_time": "milliseconds"},
            "sig": {"hmac_sha256": {"message": "{nonce}", "encoding": "base64"}}
        },
        "request": {
            "body": "form",
            "fields": {"id": "{client_id}", "v": 2, "live": true, "nonce": "n-{nonce}", "now": "{now}", "sig": "{sig}"}
        },
        "api": {"headers": {"Authorization": "Bearer {token}"}}
    }"#;
    let file = TempFile::new(description);
    let world = World::new();
    let client = world.client(&Client::builder().provider_file(file.path()).client_id("me").client_secret("s"));
    for _ in 0..50 {
        client.refresh().unwrap(); // the scripted transport compares the lengths
    }
    let body = world.provider.last().body;
    assert!(body.starts_with("id=me&v=2&live=true&nonce=n-"), "{body}");
    assert!(body.contains(&format!("&now={NOW}000&sig=%")), "{body}");
}

/// A provider's own input may be a second secret.
#[test]
fn what_a_provider_s_own_input_holds_is_shown_nowhere() {
    let file = TempFile::new(
        json!({
            "name": "keyed", "about": "Two secrets.", "token_url": "https://auth.example/token",
            "inputs": {"api_key": {"required": true}, "scope": {}},
            "request": {"auth": ["post"], "body": "form", "headers": {"X-Key": "{api_key}"},
                        "fields": {"key": "k-{api_key}", "scope": "{scope}"}},
            "api": {"headers": {"Authorization": "Bearer {token}"}},
        })
        .to_string(),
    );
    let world = World::new();
    let builder = Client::builder().provider_file(file.path()).client_id("me").client_secret("canary-secret-1");
    let client = world.client(&builder.set("api_key", "canary-api-key").scope("read"));
    world.provider.next_json(400, json!({"error_description": "bad canary-api-key"}));
    client.token().unwrap_err();
    assert_eq!(world.provider.last().header("x-key"), Some("canary-api-key"));
    assert!(
        world.lines.all().contains("key=***, scope=read, client_id=me, client_secret=***"),
        "{}",
        world.lines.all()
    );
}

#[test]
fn a_request_without_a_body_is_not_sent() {
    let file = TempFile::new(
        r#"{"name": "empty", "about": "No field.", "token_url": "https://auth.example/", "request": {"auth": ["basic"],
            "body": "form"}, "api": {"headers": {"Authorization": "Bearer {token}"}}}"#,
    );
    let world = World::new();
    let builder = Client::builder().provider_file(file.path()).client_id("me").client_secret("s");
    let error = world.client(&builder).token().unwrap_err();
    assert!(error.to_string().contains("the body would be empty"), "{error}");
    world.client(&builder.param("grant_type", "client_credentials")).token().unwrap();
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn a_log_line_shows_what_left_and_no_secret_signature_or_token() {
    let world = World::new();
    for provider in tokauth::providers() {
        let mut builder = client_of(provider).param("tenant", "canary-field").header("X-Key", "canary-header");
        builder = match provider {
            "oauth2" => builder.token_url("https://auth.example/token?key=canary-query"),
            "eventhos" => builder.set("base_url", "https://eventhos.example"),
            _ => builder,
        };
        let client = world.client(&builder);
        let token = "canary-token";
        world.provider.next_json(
            200,
            json!({
                "access_token": token, "token": token, "authenticated": true, "content": {"jwt_token": token},
                "tenant_access_token": token, "code": 0,
            }),
        );
        assert_eq!(client.token().unwrap().value(), token, "{provider}");
        world.provider.next_json(401, json!({"error_description": "canary-token and libtokauth-example-secret"}));
        client.refresh().unwrap_err();
    }
    let lines = world.lines.all();
    for leak in ["libtokauth-example-secret", "bGlidG9rYXV0aC1leGFtcGxlLXNlY3JldA", "Basic "] {
        assert!(!lines.contains(leak), "{leak} in\n{lines}");
    }
    assert!(lines.contains("authvia: POST https://api.authvia.com/v3/tokens; Accept: application/json"), "{lines}");
    assert!(lines.contains("signature=***, signature_value="), "{lines}");
    assert!(lines.contains("calven: a token for 300 s, in 0 ms"), "{lines}");
    assert!(lines.contains("calven: no token, after 0 ms: token: calven refused the request (HTTP 401)"), "{lines}");
    assert!(!lines.contains("Bearer"), "{lines}");
}
