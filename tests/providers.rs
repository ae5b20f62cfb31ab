//! Every built-in provider against the stand-in, over http and TLS, through Rust and through the C functions.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod hosts;
mod standin;
mod temp;

use hosts::{Failure, Host, InC, InRust, through_both_apis};
use standin::{Fault, PROVIDERS, Standin};
use temp::TempFile;

through_both_apis!(
    each_provider_s_token_is_accepted_by_its_api_and_reused,
    each_provider_works_over_tls,
    oauth2_shows_the_credential_in_the_one_way_that_is_asked_for,
    inputs_reach_the_provider,
    a_wrong_secret_is_denied_and_nothing_is_cached,
    a_locked_client_is_told_so,
    a_signer_whose_clock_is_off_gets_its_token_all_the_same,
    a_token_that_comes_again_is_used_for_what_is_left_of_it,
    a_token_without_an_expiry_is_used_for_five_minutes,
    a_description_of_one_s_own_works_like_a_built_in_one,
    concurrent_callers_send_one_request,
);

/// What an API call with the token's headers gets.
fn call_api(url: &str, headers: &[(String, String)]) -> u16 {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = headers.iter().fold(agent.get(url), |request, (name, value)| request.header(name, value));
    request.call().unwrap().status().as_u16()
}

fn options_with(options: Vec<(String, String)>, more: &[(&str, &str)]) -> Vec<(String, String)> {
    options.into_iter().chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
}

fn each_provider_s_token_is_accepted_by_its_api_and_reused<H: Host>() {
    let standin = Standin::start();
    for provider in PROVIDERS {
        let client = H::client(&standin.options(provider)).unwrap();
        let token = client.token().unwrap();
        assert_eq!(call_api(&standin.api_url(provider), &token.headers), 200, "{provider}");
        assert_eq!(token.token_type, "Bearer", "{provider}");
        assert_eq!(token.authorization.as_ref(), Some(&token.headers[0].1), "{provider}");
        assert!(token.life() > 3590 && token.life() <= 3600, "{provider}: {}", token.life());
        assert_eq!(client.token().unwrap().value, token.value, "{provider}");
        assert_eq!(standin.token_requests(provider), 1, "{provider}");
    }
    assert_eq!(standin.violations(), [""; 0]);
}

fn each_provider_works_over_tls<H: Host>() {
    let standin = Standin::start();
    for provider in PROVIDERS {
        let token = H::client(&standin.options_tls(provider)).unwrap().token().unwrap();
        assert_eq!(call_api(&standin.api_url(provider), &token.headers), 200, "{provider}");
    }
    assert_eq!(standin.violations(), [""; 0]);
}

fn oauth2_shows_the_credential_in_the_one_way_that_is_asked_for<H: Host>() {
    let standin = Standin::start();
    for auth in ["post", "basic", "basic_raw"] {
        let token = H::client(&standin.oauth2_options(auth)).unwrap().token().unwrap();
        assert_eq!(call_api(&standin.api_url("oauth2"), &token.headers), 200, "{auth}");
    }
    assert_eq!(standin.violations(), [""; 0]);
}

fn inputs_reach_the_provider<H: Host>() {
    let standin = Standin::start();
    for (provider, more) in [
        ("calven", vec![("region", "ause1")]),
        ("calven-hmac", vec![("region", "usce1")]),
        ("authvia", vec![("scope", "read:all write:all"), ("expiration", "30min")]),
        ("authvia", vec![("expiration", "1800")]),
        ("event-temple", vec![("scope", "crm_read crm_manage")]),
        ("oauth2", vec![("scope", "a b"), ("audience", "https://api.example/"), ("resource", "https://rs.example/")]),
    ] {
        let token = H::client(&options_with(standin.options(provider), &more)).unwrap().token().unwrap();
        assert_eq!(call_api(&standin.api_url(provider), &token.headers), 200, "{provider} {more:?}");
        if provider == "event-temple" {
            assert_eq!(token.scope.as_deref(), Some("crm_read crm_manage"));
        }
        if provider == "authvia" {
            assert_eq!(token.scope, None, "the server did not say");
            assert!((1790..=1800).contains(&token.life()), "{}", token.life());
        }
    }
    assert_eq!(standin.violations(), [""; 0]);
}

fn a_wrong_secret_is_denied_and_nothing_is_cached<H: Host>() {
    let standin = Standin::start();
    for provider in PROVIDERS {
        let wrong = "canary-secret-that-is-wrong";
        let client = H::client(&options_with(standin.options(provider), &[("client_secret", wrong)])).unwrap();
        let error = client.token().unwrap_err();
        assert_eq!(error.status, hosts::DENIED, "{provider}: {}", error.message);
        assert!(
            error.message.starts_with(&format!("token: {provider} refused the request (HTTP {}", error.http_status)),
            "{}",
            error.message
        );
        assert!(!error.message.contains("canary"), "{}", error.message);
        assert_eq!(error.http_status >= 400, provider != "feishu", "{provider}: {}", error.http_status);
        assert_eq!(client.cached().unwrap_err().status, hosts::NOT_CACHED);
    }
}

fn a_locked_client_is_told_so<H: Host>() {
    let standin = Standin::start();
    for secret in ["canary-secret-wrong-1", "canary-secret-wrong-2"] {
        let wrong = H::client(&options_with(standin.options("eventhos"), &[("client_secret", secret)])).unwrap();
        for _ in 0..2 {
            for _ in 0..4 {
                assert_eq!(wrong.token().unwrap_err().provider_code.as_deref(), Some("401100"));
            }
            wrong.clear();
        }
    }
    assert_eq!(standin.token_requests("eventhos"), 4, "one for each clear()");
    let right = H::client(&standin.options("eventhos")).unwrap();
    let error = right.token().unwrap_err();
    assert_eq!(error.provider_code.as_deref(), Some("401003"));
    assert!(error.message.contains("locked"), "{}", error.message);
}

/// E-11.
fn a_signer_whose_clock_is_off_gets_its_token_all_the_same<H: Host>() {
    for (offset, requests) in [(2, 1), (-10, 2), (3600, 2), (86_400, 2)] {
        let standin = Standin::start();
        standin.set_clock_offset(offset);
        let client = H::client(&standin.options("authvia")).unwrap();
        for _ in 0..2 {
            let life = client.token().unwrap().life();
            assert!((3570..=3601).contains(&life), "{offset} s off: {life}");
            assert_eq!(standin.token_requests("authvia"), requests, "{offset} s off");
        }
        client.clear();
        client.token().unwrap();
        assert_eq!(standin.token_requests("authvia"), requests + 1, "what was learnt stays");
        assert_eq!(standin.tokens_issued("authvia"), 2);
    }
}

fn a_token_that_comes_again_is_used_for_what_is_left_of_it<H: Host>() {
    let standin = Standin::start();
    let client = H::client(&standin.options("feishu")).unwrap();
    let first = client.token().unwrap();
    standin.set_clock_offset(1000);
    client.clear();
    let again = client.token().unwrap();
    assert_eq!((&again.value, standin.tokens_issued("feishu")), (&first.value, 1));
    assert!((2500..=2600).contains(&again.life()), "{}", again.life());
    standin.set_clock_offset(1801);
    client.clear();
    assert_ne!(client.token().unwrap().value, first.value);
    assert_eq!((standin.token_requests("feishu"), standin.tokens_issued("feishu")), (3, 2));
}

fn a_token_without_an_expiry_is_used_for_five_minutes<H: Host>() {
    let standin = Standin::start();
    standin.authvia_without_exp(true);
    let token = H::client(&standin.options("authvia")).unwrap().token().unwrap();
    assert!((240..=300).contains(&token.life()), "{}", token.life());
}

fn a_description_of_one_s_own_works_like_a_built_in_one<H: Host>() {
    let standin = Standin::start();
    let own = include_str!("../src/providers/calven.json").replace("\"calven\"", "\"my-own\"");
    let file = TempFile::new(own);
    let mut options = standin.options("calven");
    options.retain(|(name, _)| name != "provider");
    let options = options_with(options, &[("provider_file", file.path())]);
    let token = H::client(&options).unwrap().token().unwrap();
    assert_eq!(call_api(&standin.api_url("calven"), &token.headers), 200);

    file.write(r#"{"name": "broken", "about": "", "request": {"body": "yaml"}}"#);
    let error = H::client(&options).err().unwrap();
    assert_eq!(error.status, hosts::CONFIG);
    assert!(error.message.contains("broken at request.body: unknown variant"), "{}", error.message);
}

fn concurrent_callers_send_one_request<H: Host>() {
    let standin = Standin::start();
    let client = H::client(&standin.options("event-temple")).unwrap();
    let hold = standin.hold("event-temple");
    let values: Vec<String> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..50).map(|_| scope.spawn(|| client.token().unwrap().value)).collect();
        hold.wait_for_request();
        hold.release();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(values.iter().all(|value| *value == values[0]));
    assert_eq!(standin.token_requests("event-temple"), 1);
}

#[test]
fn the_stand_in_knows_every_built_in_provider() {
    let mut known = PROVIDERS;
    known.sort_unstable();
    assert_eq!(known.to_vec(), tokauth::providers().collect::<Vec<_>>());
}

#[test]
fn c_copies_the_authorization_or_says_that_there_is_none() {
    let standin = Standin::start();
    let client = InC::client(&standin.options("eventhos")).unwrap();
    assert_eq!(Some(client.copy_authorization().unwrap()), client.token().unwrap().authorization);

    let keyed = include_str!("../src/providers/calven.json")
        .replace("\"Authorization\": \"Bearer {token}\"", "\"X-Key\": \"{token}\"");
    let file = TempFile::new(keyed);
    let mut options = standin.options("calven");
    options.retain(|(name, _)| name != "provider");
    let client = InC::client(&options_with(options, &[("provider_file", file.path())])).unwrap();
    assert_eq!(client.copy_authorization().unwrap_err().status, hosts::UNSUPPORTED);
    let token = client.token().unwrap();
    assert_eq!((token.authorization, token.headers), (None, vec![("X-Key".to_owned(), token.value)]));
}

#[test]
fn both_apis_tell_the_same_of_a_failure() {
    let standin = Standin::start();
    let reply = || Fault::Reply { status: 429, headers: vec![("Retry-After".into(), "60".into())], body: Vec::new() };
    standin.next("oauth2", reply());
    standin.next("oauth2", reply());
    let client = InRust::client(&standin.options("oauth2")).unwrap();
    let in_rust = client.token().unwrap_err();
    client.clear();
    let in_c = InC::client(&standin.options("oauth2")).unwrap().token().unwrap_err();
    assert_eq!(Failure { class: None, ..in_rust }, in_c);
    assert_eq!((in_c.status, in_c.http_status, in_c.retry_after_ms), (hosts::RATE_LIMITED, 429, 60_000));
    assert_eq!(standin.token_requests("oauth2"), 2);

    // And of what is left of it, whoever asks.
    let recorded = [client.token().unwrap_err(), InC::client(&standin.options("oauth2")).unwrap().token().unwrap_err()];
    for recorded in recorded {
        assert!((1..=60_000).contains(&recorded.retry_after_ms), "{recorded:?}");
        assert_eq!(Failure { class: None, retry_after_ms: 60_000, ..recorded }, in_c);
    }
    assert_eq!(standin.token_requests("oauth2"), 2);
}
