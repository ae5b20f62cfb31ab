//! What a reply means: token or error, as each provider writes them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod temp;
mod world;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use temp::TempFile;
use tokauth::{Builder, Client, Error, ErrorKind, Token};
use world::{Act, NOW, S, World, oauth2};

fn client_of(provider: &str) -> Builder {
    let builder = Client::builder().provider(provider).store("memory").quota("none");
    let builder = builder.client_id("client-id-123").client_secret("canary-secret-of-the-test");
    match provider {
        "eventhos" => builder.set("base_url", "https://eventhos.example"),
        _ => builder,
    }
}

/// What a client makes of this reply.
fn read(builder: &Builder, status: u16, headers: &[(&'static str, &str)], body: &str) -> Result<Token, Error> {
    let world = World::new();
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    world.provider.always(Act::Reply(status, headers, body.into()));
    let client = world.client(builder);
    let outcome = client.token();
    if outcome.is_err() {
        client.cached().expect_err("nothing is cached");
    }
    outcome
}

/// A JWT with this payload; nobody looks at its signature.
fn jwt(claims: &Value) -> String {
    use base64::Engine;
    let part = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims))
}

#[test]
fn each_provider_s_success_is_read() {
    let now = NOW as i64;
    let with_exp = jwt(&json!({"exp": now + 1800}));
    let without_exp = jwt(&json!({"sub": "x"}));
    for (provider, status, body, life) in [
        ("calven", 200, json!({"access_token": "canary-token-1", "expires_in": 3600, "token_type": "Bearer"}), 3600),
        (
            "calven-hmac",
            200,
            json!({"authenticated": true, "message": "ok", "token": "canary-token-1", "expiration": now + 409}),
            409,
        ),
        (
            "calven-hmac",
            200,
            json!({"authenticated": true, "message": "ok", "token": "canary-token-1", "expiration": (now + 409) * 1000}),
            409,
        ),
        (
            "calenso",
            200,
            json!({"access_token": "canary-token-1", "token_type": "Bearer", "expires_in": 86400}),
            86_400,
        ),
        ("calenso", 200, json!({"access_token": "canary-token-1"}), 86_400),
        ("authvia", 201, json!({"type": "Bearer", "token": with_exp}), 1800),
        ("authvia", 201, json!({"type": "Bearer", "token": without_exp}), 300),
        ("authvia", 201, json!({"type": "Bearer", "token": "opaque"}), 300),
        (
            "eventhos",
            201,
            json!({"message": "Token generated", "code": 200000, "content": {"jwt_token": with_exp, "roles": [1]}}),
            1800,
        ),
        (
            "event-temple",
            200,
            json!({"access_token": "canary-token-1", "token_type": "Bearer", "expires_in": 7200, "created_at": now}),
            7200,
        ),
        ("event-temple", 200, json!({"access_token": "canary-token-1"}), 7200),
        ("feishu", 200, json!({"code": 0, "msg": "ok", "tenant_access_token": "canary-token-1", "expire": 7140}), 7140),
        ("oauth2", 200, json!({"access_token": "canary-token-1", "token_type": "Bearer"}), 300),
    ] {
        let builder = if provider == "oauth2" { oauth2() } else { client_of(provider) };
        let token = read(&builder, status, &[], &body.to_string()).unwrap();
        assert_eq!(token.expires_at() - now, life, "{provider}: {body}");
    }
}

#[test]
fn the_life_that_was_asked_for_counts_where_nothing_else_tells() {
    let builder = client_of("authvia").set("expiration", "5m");
    let opaque = json!({"type": "Bearer", "token": "opaque"}).to_string();
    assert_eq!(read(&builder, 201, &[], &opaque).unwrap().expires_at() - NOW as i64, 300);
    let builder = client_of("authvia").set("expiration", "2h");
    assert_eq!(read(&builder, 201, &[], &opaque).unwrap().expires_at() - NOW as i64, 7200);
    let claimed = json!({"type": "Bearer", "token": jwt(&json!({"exp": NOW + 60}))}).to_string();
    assert_eq!(read(&builder, 201, &[], &claimed).unwrap().expires_at() - NOW as i64, 60);
    let builder = oauth2().default_ttl_s("77");
    assert_eq!(read(&builder, 200, &[], r#"{"access_token": "t"}"#).unwrap().expires_at() - NOW as i64, 77);
    let builder = oauth2().max_ttl_s("60");
    assert_eq!(
        read(&builder, 200, &[], r#"{"access_token": "t", "expires_in": 3600}"#).unwrap().expires_at() - NOW as i64,
        60
    );
}

/// T7.
#[test]
fn a_token_comes_with_the_headers_its_api_wants() {
    let tok = json!({"access_token": "canary-token-1", "token_type": "Bearer", "expires_in": 60});
    let table = [
        (client_of("calven"), tok.clone(), vec![("Authorization", "Bearer canary-token-1")]),
        (
            client_of("calven").set("region", "usce1"),
            tok.clone(),
            vec![("Authorization", "Bearer canary-token-1"), ("x-calven-region", "usce1")],
        ),
        (client_of("event-temple"), tok.clone(), vec![("Authorization", "Bearer canary-token-1")]),
        (
            client_of("event-temple").set("org_id", "4711"),
            tok.clone(),
            vec![("Authorization", "Bearer canary-token-1"), ("X-API-ORG", "4711")],
        ),
        (
            client_of("eventhos"),
            json!({"content": {"jwt_token": "canary-token-1"}}),
            vec![("Authorization", "BEARER canary-token-1"), ("access-key", "canary-token-1")],
        ),
        (
            oauth2(),
            json!({"access_token": "canary-token-1", "token_type": "bEaReR"}),
            vec![("Authorization", "Bearer canary-token-1")],
        ),
    ];
    for (builder, body, headers) in table {
        let token = read(&builder, 200, &[], &body.to_string()).unwrap();
        assert_eq!(token.headers().collect::<Vec<_>>(), headers);
        assert_eq!(token.authorization(), Some(headers[0].1));
        assert_eq!(token.value(), "canary-token-1");
    }
}

#[test]
fn an_api_without_authorization_gets_its_own_header_only() {
    let description = json!({
        "name": "keyed", "about": "Takes the token in a header of its own.", "token_url": "https://auth.example/token",
        "request": {"auth": ["post"], "body": "json"}, "response": {"token": "/key"},
        "api": {"headers": {"X-Api-Key": "{token}"}},
    });
    let file = TempFile::new(description.to_string());
    let builder = Client::builder().provider_file(file.path()).client_id("me").client_secret("s");
    let token = read(&builder, 200, &[], r#"{"key": "k1"}"#).unwrap();
    assert_eq!(token.authorization(), None);
    assert_eq!(token.headers().collect::<Vec<_>>(), [("X-Api-Key", "k1")]);
}

#[test]
fn type_and_scope_are_what_the_server_said() {
    let token = |body: Value| read(&oauth2(), 200, &[], &body.to_string()).unwrap();
    let plain = token(json!({"access_token": "t"}));
    assert_eq!((plain.token_type(), plain.scope()), ("Bearer", None));
    let said = token(json!({"access_token": " t\n", "token_type": "Application Access Token", "scope": ["a", "b"]}));
    assert_eq!((said.value(), said.token_type(), said.scope()), ("t", "Application Access Token", Some("a b")));
    let odd = token(json!({"access_token": "t", "token_type": "x\r\ny", "scope": 5}));
    assert_eq!((odd.token_type(), odd.scope()), ("Bearer", None));
}

#[test]
fn an_end_that_cannot_be_read_is_told_in_the_log() {
    for (end, told) in [(json!("soon"), 1), (json!(true), 1), (json!(null), 0), (json!("60"), 0)] {
        let world = World::new();
        world.provider.next_json(200, json!({"access_token": "t", "expires_in": end}));
        world.client(&oauth2()).token().unwrap();
        let warnings = world.lines.at(tokauth::LogLevel::Warning);
        assert_eq!(warnings.len(), told, "{end}: {warnings:?}");
        assert!(warnings.iter().all(|line| line.contains("the end of the token at /expires_in cannot be read")));
    }
}

#[test]
fn each_refusal_is_told_by_its_family_code_and_step() {
    use ErrorKind::{BadResponse, Denied, RateLimited, Server};
    let calven = || client_of("calven-hmac");
    for (builder, status, body, kind, code, words) in [
        (client_of("calven"), 401, "", Denied, None, "token: calven refused the request (HTTP 401); check client_id"),
        (calven(), 200, r#"{"authenticated": false, "message": "bad hash"}"#, Denied, None, "saying \"bad hash\""),
        (calven(), 200, r#"{"token": "t", "expiration": 1}"#, Denied, None, "calven-hmac refused"),
        (
            client_of("calenso"),
            401,
            r#"{"error":"access_denied","error_description":"Unauthorized"}"#,
            Denied,
            Some("access_denied"),
            "wrong client_id or client_secret",
        ),
        (
            client_of("calenso"),
            403,
            r#"{"error":"access_denied","error_description":"Service not found: x"}"#,
            Denied,
            Some("access_denied"),
            "audience",
        ),
        (
            client_of("calenso"),
            429,
            r#"{"error":"too_many_requests"}"#,
            RateLimited,
            Some("too_many_requests"),
            "limits token requests",
        ),
        (
            client_of("calenso"),
            501,
            r#"{"error":"unsupported_grant_type"}"#,
            Denied,
            Some("unsupported_grant_type"),
            "client credentials",
        ),
        (client_of("calenso"), 500, "<html>", Server, None, "calenso failed (HTTP 500); ask again later"),
        (client_of("authvia"), 400, "", Denied, None, "authvia refused"),
        (
            client_of("eventhos"),
            401,
            r#"{"message":"Incorrect password","code":401100}"#,
            Denied,
            Some("401100"),
            "wrong client_secret; four of them lock the client",
        ),
        (client_of("eventhos"), 404, r#"{"message":"no","code":401100}"#, Denied, Some("401100"), "unknown client_id"),
        (
            client_of("eventhos"),
            401,
            r#"{"message":"locked","code":401003}"#,
            Denied,
            Some("401003"),
            "this client is locked",
        ),
        (client_of("eventhos"), 403, r#"{"message":"no","code":403100}"#, Denied, Some("403100"), "long-lived token"),
        (
            client_of("eventhos"),
            401,
            r#"{"code":400001,"message":"Incorrect client secret"}"#,
            Denied,
            Some("400001"),
            "wrong client_secret",
        ),
        (
            client_of("eventhos"),
            404,
            r#"{"code":400004,"message":"not found"}"#,
            Denied,
            Some("400004"),
            "unknown client_id",
        ),
        (
            client_of("eventhos"),
            401,
            r#"{"code":400011,"message":"can not"}"#,
            Denied,
            Some("400011"),
            "long-lived token",
        ),
        (client_of("eventhos"), 500, r#"{"code":500000,"message":{}}"#, Server, Some("500000"), "eventhos failed"),
        (
            client_of("event-temple"),
            401,
            r#"{"error":"invalid_client","error_description":"unknown client"}"#,
            Denied,
            Some("invalid_client"),
            "saying \"unknown client\"",
        ),
        (
            client_of("feishu"),
            200,
            r#"{"code":10014,"msg":"app secret invalid"}"#,
            Denied,
            Some("10014"),
            "(HTTP 200, code 10014), saying \"app secret invalid\"; wrong client_secret",
        ),
        (
            client_of("feishu"),
            200,
            r#"{"code":10003,"msg":"invalid param"}"#,
            Denied,
            Some("10003"),
            "client_id is malformed",
        ),
        (client_of("feishu"), 200, r#"{"code":77,"msg":"future"}"#, Denied, Some("77"), "saying \"future\""),
        (
            client_of("feishu"),
            400,
            r#"{"code":99991400,"msg":"request trigger frequency limit"}"#,
            RateLimited,
            Some("99991400"),
            "too many requests",
        ),
        (
            oauth2(),
            400,
            r#"{"error":"invalid_client"}"#,
            Denied,
            Some("invalid_client"),
            "check client_id, client_secret and auth",
        ),
        (oauth2(), 400, r#"{"error":"invalid_scope"}"#, Denied, Some("invalid_scope"), "; check scope"),
        (
            oauth2(),
            400,
            r#"{"error":"invalid_target"}"#,
            Denied,
            Some("invalid_target"),
            "; check resource and audience",
        ),
        (
            oauth2(),
            400,
            r#"{"error":"unauthorized_client"}"#,
            Denied,
            Some("unauthorized_client"),
            "ask the provider to allow it",
        ),
        (
            oauth2(),
            200,
            r#"{"access_token":null,"error":"invalid_client"}"#,
            Denied,
            Some("invalid_client"),
            "HTTP 200",
        ),
        (
            client_of("eventhos"),
            201,
            r#"{"message":"Token generated","code":200000,"content":{}}"#,
            BadResponse,
            None,
            "/content/jwt_token is missing (there are texts at /message); is base_url the token endpoint?",
        ),
        (
            client_of("eventhos"),
            200,
            r#"{"message":"locked","code":401003}"#,
            Denied,
            Some("401003"),
            "this client is locked",
        ),
    ] {
        let error = read(&builder, status, &[], body).unwrap_err();
        let text = error.to_string();
        assert_eq!((error.kind(), error.provider_code()), (kind, code), "{text}");
        assert_eq!(error.http_status(), Some(status), "{text}");
        assert!(text.contains(words), "{text}\n  lacks {words}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

/// Q17, Q18.
#[test]
fn a_redirect_is_never_followed_and_names_only_the_origin() {
    for (status, location, told) in [
        (301, Some("https://other.example/login?client_secret=x"), "to https://other.example,"),
        (307, Some("http://user:pass@other.example:81/"), "to http://other.example:81,"),
        (308, Some("/token/"), "to another path of the same host,"),
        (308, Some("//other.example/token"), "to https://other.example,"),
        (302, Some("/\\other.example/token"), "elsewhere,"),
        (302, Some("*"), "elsewhere,"),
        (302, Some("https://CANARY-SECRET-1.example/"), "elsewhere,"),
        (302, Some("::::"), "elsewhere,"),
    ] {
        let headers: Vec<_> = location.iter().map(|location| ("location", *location)).collect();
        let error = read(&oauth2(), status, &headers, "").unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::BadResponse);
        assert!(text.contains(told) && text.contains("token_url"), "{text}");
        assert!(!text.contains("secret=") && !text.contains("pass"), "{text}");
    }
}

/// What a signer is told, whose requests are all refused at this time of the server's, and how often it asked.
fn refused_at(date: &str) -> (World, Error, usize) {
    let world = World::new();
    world.provider.always(Act::Reply(400, vec![("date", date.to_owned())], Vec::new()));
    let error = world.client(&client_of("authvia")).token().unwrap_err();
    let requests = world.provider.count();
    (world, error, requests)
}

/// E-11, E-14: by the second that `Date` cuts off, a clock that is 4 s off may be 5 s off.
#[test]
fn a_signer_whose_clock_is_off_signs_once_more_by_the_server_s() {
    for (date, told, off) in [
        ("Sat, 21 Nov 2026 00:01:00 GMT", "clock is 60 s behind the server's, which bears 5 s", 60),
        ("Fri, 20 Nov 2026 23:59:50 GMT", "clock is 10 s ahead of the server's", -10),
        ("Sat, 21 Nov 2026 00:00:06 GMT", "clock is 6 s behind the server's", 6),
        ("Sat, 21 Nov 2026 01:00:00 GMT", "clock is 3600 s behind the server's", 3600),
        ("Fri, 20 Nov 2026 00:00:00 GMT", "clock is 86400 s ahead of the server's", -86_400),
    ] {
        let (world, error, requests) = refused_at(date);
        assert_eq!(requests, 2, "{date}");
        let signed = world.provider.last().json()["timestamp"].as_i64().unwrap() - NOW as i64;
        assert!((signed - off).abs() <= 1, "{date}: {signed}");
        let first = world.lines.at(tokauth::LogLevel::Warning).remove(0);
        assert!(first.contains(told), "{date}: {first}");
        assert!(!error.to_string().contains("clock"), "it was not that: {error}");
        // So that Date is no longer believed.
        world.clock.advance(S * 60);
        world.client(&client_of("authvia")).token().unwrap_err();
        assert_eq!(world.provider.count(), 3, "{date}");
        let signed = world.provider.last().json()["timestamp"].as_i64().unwrap() - NOW as i64;
        assert_eq!(signed, 60, "{date}: by this machine's clock");
    }
}

#[test]
fn a_signer_asks_no_more_where_its_clock_may_be_right_or_nobody_knows() {
    let told = |date| {
        let (_, error, requests) = refused_at(date);
        assert_eq!(requests, 1, "{date}");
        error.to_string()
    };
    assert!(!told("Sat, 21 Nov 2026 00:00:03 GMT").contains("clock"));
    // E-13: who knows only this machine's time is shown that.
    for date in ["", "now", "Sun, 21 Nov 2026 00:01:00 GMT"] {
        let shown = "; the server bears 5 s, and this machine's clock says 2026-11-21T00:00:00Z: is that right?";
        assert!(told(date).ends_with(shown), "{date}: {}", told(date));
    }
    // E-10
    assert!(!told("Fri, 20 Nov 2026 23:59:60 GMT").contains("clock"));
}

/// F20.
#[test]
fn a_provider_s_words_are_one_short_line_without_a_secret_in_them() {
    let says = |words: &str| {
        let body = json!({"error": "invalid_request", "error_description": words}).to_string();
        read(&oauth2().client_secret("Tr0ub4dor&3-xyz"), 400, &[], &body).unwrap_err().to_string()
    };
    assert!(says("line one\r\nline \u{1b}[31mtwo").contains("saying \"line one line [31mtwo\""));
    let long = says(&"x".repeat(60_000));
    assert!(long.contains(&format!("\"{}…\"", "x".repeat(200))) && long.len() < 400);
    assert!(says("a\u{202e}b\u{200b}c").contains("saying \"a b c\""), "marks that turn or hide text are taken out");
    for leak in ["secret Tr0ub4dor&3-xyz is wrong", "prefix Tr0ub4do", "b4dor&3-", "Basic bWU6VHIwdWI0ZG9yJTI2My14eXo="]
    {
        let text = says(leak);
        assert!(!text.contains("saying"), "{text}");
    }
    assert!(says("Tr0ub4d is seven characters").contains("saying"));
    let refused = r#"{"authenticated": false, "token": "canary-of-a-token", "message": "not canary-of-a-token"}"#;
    assert!(!read(&client_of("calven-hmac"), 200, &[], refused).unwrap_err().to_string().contains("saying"));
    let spaced = json!({"error_description": "hunt  er12  pass  word"}).to_string();
    assert!(
        !read(&oauth2().client_secret("hunt  er12  pass  word"), 400, &[], &spaced)
            .unwrap_err()
            .to_string()
            .contains("saying")
    );
    for (secret, echo) in [
        ("a b c d e f g h", "got a\tb\tc\td\te\tf\tg\th"),
        ("a b c d e f g h", "got A B C D E F G H"),
        ("a b c d e f g h", "got a+b+c+d+e+f+g+h"),
        ("pa\"ss\"wo\"rd\"1", "got pa\\\"ss\\\"wo\\\"rd\\\"1"),
    ] {
        let body = json!({"error_description": echo}).to_string();
        let text = read(&oauth2().client_secret(secret).auth("post"), 400, &[], &body).unwrap_err().to_string();
        assert!(!text.contains("saying"), "{text}");
    }
    let encoded = json!({"error_description": "bad a%2Fb%2Bc%3Dd"}).to_string();
    assert!(
        !read(&oauth2().client_secret("a/b+c=d").auth("post"), 400, &[], &encoded)
            .unwrap_err()
            .to_string()
            .contains("saying")
    );
    // A query and a field may be echoed as they are written there.
    let query = oauth2().token_url("https://auth.example/token?api_key=canary-abcdefgh");
    read(&query, 404, &[], r#"{"message": "Cannot POST /token?api_key=canary-abcdefgh"}"#).unwrap_err();
    let field = oauth2().param("pw", "canary/cd/ef+gh=ij");
    let text = read(&field, 400, &[], r#"{"message": "no pw=canary%2Fcd%2Fef%2Bgh%3Dij"}"#).unwrap_err().to_string();
    assert!(!text.contains("saying"), "{text}");
    for own in [oauth2().header("X-Key", "canary-api-key-77"), oauth2().param("pin", "canary-api-key-77")] {
        for (body, header) in [
            (r#"{"error_description": "bad key canary-api-key-77"}"#, ("x", "y")),
            (r#"{"error": "canary-api-key-77"}"#, ("x", "y")),
        ] {
            let error = read(&own, 400, &[header], body).unwrap_err();
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        let to = read(&own, 302, &[("location", "https://canary-api-key-77.example/")], "").unwrap_err().to_string();
        assert!(to.contains("a redirect elsewhere,"), "{to}");
        let body = r#"{"access_token": "canary-token-1"}"#;
        read(&own, 302, &[("location", "https://canary-token.example/")], body).unwrap_err();
        let body = r#"{"access_token": "canary-token-1", "access_token": "canary-token-2"}"#;
        read(&own, 302, &[("location", "https://canary-token.example/")], body).unwrap_err();
        let label = read(&own, 200, &[("content-type", "text/canary-api-key-77")], "x").unwrap_err().to_string();
        assert!(label.contains("with a body that is no JSON"), "{label}");
    }
    let code = read(&oauth2(), 400, &[], r#"{"error": "canary-secret-1"}"#).unwrap_err();
    assert_eq!(code.provider_code(), None, "a code can be a secret too");
}

#[test]
fn a_signature_is_not_repeated() {
    let world = World::new();
    let client = world.client(&client_of("calven-hmac"));
    world.provider.next_json(401, json!({}));
    client.token().unwrap_err();
    let hash = world.provider.last().json()["hash"].as_str().unwrap().to_owned();
    // Time stands still, so it is the same hash.
    for (said, is_told) in [("bad hash".to_owned(), true), (format!("bad hash {hash}"), false)] {
        client.clear().unwrap();
        world.provider.next_json(401, json!({"message": said}));
        assert_eq!(client.token().unwrap_err().to_string().contains("saying"), is_told, "{said}");
    }
}

#[test]
fn a_long_text_and_a_long_secret_are_compared_at_once() {
    let words = json!({"error_description": "x".repeat(1_000_000)}).to_string();
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let before = used();
    read(&oauth2().client_secret("y".repeat(64 * 1024)), 400, &[], &words).unwrap_err();
    assert!(used() - before < S * 20, "{:?}", used() - before);
}
