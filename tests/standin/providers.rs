//! What each provider verifies and answers.

use super::checks::{self, FORM, JSON};
use super::clients::{client_id, client_secret, oauth2_client_id};
use super::{Fault, Issued, ORG_ID, Recorded, State, TOKEN_WORD};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use sha2::Sha256;

type Fields = Map<String, Value>;

/// The answer of a provider, or its refusal.
type Answer = Result<Fault, Fault>;

const CALENSO_AUDIENCE: &str = "https://my.calenso.com/api/v1";
const AUTHVIA_AUDIENCE: &str = "api.authvia.com/v3";
const EVENT_TEMPLE_SCOPES: [&str; 2] = ["crm_read", "crm_manage"];

pub(super) fn token(state: &mut State, provider: &str, request: &Recorded) -> Fault {
    let answer = match provider {
        "eventhos" => eventhos(state, request), // with its own words for a wrong method
        _ if request.method != "POST" => Err(oauth_error(405, "method_not_allowed", "POST only")),
        "calven" => calven(state, request),
        "calven-hmac" => calven_hmac(state, request),
        "calenso" => calenso(state, request),
        "authvia" => authvia(state, request),
        "event-temple" => event_temple(state, request),
        "feishu" => feishu(state, request),
        _ => oauth2(state, request),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

fn calven(state: &mut State, request: &Recorded) -> Answer {
    let bad = |message: String| reply(400, json!({"message": message}));
    let region = region(request).map_err(bad)?;
    let fields = exact_json(state, "calven", request).map_err(bad)?;
    let given = (text(&fields, "client_id").map_err(bad)?, text(&fields, "client_secret").map_err(bad)?);
    if given != (client_id("calven"), client_secret("calven")) {
        return Err(reply(401, json!({"message": "Unauthorized"})));
    }
    let life = state.token_life;
    let token = issue(state, "calven", life, region, None);
    Ok(reply(200, json!({"access_token": token, "expires_in": life, "token_type": "Bearer"})))
}

fn calven_hmac(state: &mut State, request: &Recorded) -> Answer {
    let refuse = |status, message: &str| reply(status, json!({"authenticated": false, "message": message}));
    let bad = |message: String| refuse(400, &message);
    let region = region(request).map_err(bad)?;
    let fields = exact_json(state, "calven-hmac", request).map_err(bad)?;
    let id = text(&fields, "apiKey").map_err(bad)?;
    let hash = text(&fields, "hash").map_err(bad)?;
    let timestamp = fresh_timestamp(state, &fields).map_err(bad)?;
    let right: String = hmac("calven-hmac", &format!("{id}{timestamp}")).iter().map(|b| format!("{b:02x}")).collect();
    if id != client_id("calven-hmac") || hash != right {
        return Err(refuse(401, "Authentication failed"));
    }
    let (now, life) = (state.now(), state.token_life);
    let token = issue(state, "calven-hmac", life, region, None);
    Ok(reply(200, json!({"authenticated": true, "message": "Authenticated", "token": token, "expiration": now + life})))
}

fn calenso(state: &mut State, request: &Recorded) -> Answer {
    let bad = |message: String| oauth_error(400, "invalid_request", &message);
    let fields = body(request, FORM).map_err(bad)?;
    if text(&fields, "grant_type").map_err(bad)? != "client_credentials" {
        return Err(oauth_error(501, "unsupported_grant_type", "Unsupported grant type"));
    }
    let given = (text(&fields, "client_id").map_err(bad)?, text(&fields, "client_secret").map_err(bad)?);
    let audience = text(&fields, "audience").map_err(bad)?;
    if given != (client_id("calenso"), client_secret("calenso")) {
        return Err(oauth_error(401, "access_denied", "Unauthorized"));
    }
    if audience != CALENSO_AUDIENCE {
        return Err(oauth_error(403, "access_denied", &format!("Service not found: {audience}")));
    }
    let (now, life) = (state.now(), state.token_life);
    let claims = json!({"aud": audience, "gty": "client-credentials", "iat": now, "exp": now + life});
    let token = issue(state, "calenso", life, None, Some(claims));
    Ok(reply(200, json!({"access_token": token, "token_type": "Bearer", "expires_in": life})))
}

fn authvia(state: &mut State, request: &Recorded) -> Answer {
    let bad = |message: String| reply(400, json!({"message": message}));
    let fields = exact_json(state, "authvia", request).map_err(bad)?;
    let id = text(&fields, "client_id").map_err(bad)?;
    let random = text(&fields, "signature_value").map_err(bad)?;
    let signature = text(&fields, "signature").map_err(bad)?;
    let audience = text(&fields, "audience").map_err(bad)?;
    let timestamp = fresh_timestamp(state, &fields).map_err(bad)?;
    let scope = optional_text(&fields, "scope").map_err(bad)?;
    let life = asked_life(&fields).map_err(bad)?.unwrap_or(state.token_life);

    let length = random.chars().count();
    let rules = [
        ("client_id", (12..=36).contains(&id.chars().count())),
        ("audience", audience == AUTHVIA_AUDIENCE),
        ("signature_value", (16..=1024).contains(&length)),
        ("scope", scope.is_none_or(|scope| scope.chars().count() >= 5)),
    ];
    if let Some((name, _)) = rules.iter().find(|(_, kept)| !kept) {
        return Err(bad(format!("{name} is not valid")));
    }
    if length != 64 || !random.is_ascii() {
        state.violations.push("authvia: signature_value is not 64 ASCII characters".into());
    }
    if !state.seen_random.insert(random.to_owned()) {
        state.violations.push("authvia: signature_value was used before".into());
    }
    if id != client_id("authvia") {
        return Err(reply(404, json!({"message": "client not found"})));
    }
    if signature != STANDARD.encode(hmac("authvia", &format!("{random}.{length}.{timestamp}"))) {
        return Err(bad("signature is not valid".into()));
    }
    let now = state.now();
    let mut claims = json!({"aud": audience, "sub": id, "iat": now, "exp": now + life});
    if state.authvia_without_exp {
        claims.as_object_mut().unwrap().remove("exp");
    }
    let token = issue(state, "authvia", life, None, Some(claims));
    Ok(reply(201, json!({"type": "Bearer", "token": token})))
}

/// In seconds: a number, or text with a unit, such as `5m`.
fn asked_life(fields: &Fields) -> Result<Option<i64>, String> {
    let wrong = || "expiration is not valid".to_owned();
    match fields.get("expiration") {
        None => Ok(None),
        Some(Value::String(text)) => {
            let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?);
            let seconds = match unit {
                "s" => 1,
                "m" | "min" => 60,
                "h" => 3600,
                "d" => 86_400,
                _ => return Err(wrong()),
            };
            Ok(Some(number.parse::<i64>().map_err(|_| wrong())? * seconds))
        }
        Some(number) => number.as_i64().map(Some).ok_or_else(wrong),
    }
}

fn eventhos(state: &mut State, request: &Recorded) -> Answer {
    if request.method != "POST" {
        return Err(eventhos_not_found(request, "auth/token"));
    }
    let fields = checks::body_fields(request).map_err(|m| eventhos_error(state, 400, 500_000, &m))?;
    for name in ["grant_type", "client_id", "client_secret"] {
        match fields.get(name) {
            None => return Err(eventhos_error(state, 400, 400_001, &format!("Invalid body; {name} is required"))),
            Some(Value::String(_)) => {}
            Some(_) => {
                return Err(eventhos_error(state, 400, 400_003, &format!("Invalid body; {name} is not an string")));
            }
        }
    }
    if fields["grant_type"] != "client_credentials" {
        return Err(eventhos_error(state, 400, 400_002, "Unsupported grand type"));
    }
    let id = client_id("eventhos");
    let wrong = "Auth failed; Invalid client_id or client_secret.";
    if fields["client_id"] != id {
        return Err(eventhos_error(state, 404, 401_100, wrong));
    }
    if state.wrong_secrets >= 4 {
        let message = "Auth failed; Subject is locked. Try again in some minutes.";
        return Err(eventhos_error(state, 401, 401_003, message));
    }
    if fields["client_secret"] != client_secret("eventhos") {
        state.wrong_secrets += 1;
        return Err(eventhos_error(state, 401, 401_100, wrong));
    }
    let (now, life) = (state.now(), state.token_life);
    let subject = json!({"id": id, "subjectType": "client", "identifier": "standin"});
    let token = issue(state, "eventhos", life, None, Some(json!({"data": subject, "iat": now, "exp": now + life})));
    let content = json!({
        "jwt_token": token, "name": "Stand-in", "description": "A client of the stand-in",
        "client_id": 1, "identifier": "standin", "roles": ["admin"],
    });
    Ok(reply(201, json!({"message": format!("Token generated for client {id}"), "code": 200_000, "content": content})))
}

fn eventhos_error(state: &mut State, status: u16, code: u32, message: &str) -> Fault {
    let uuid = format!("00000000-0000-4000-8000-{:012x}", state.next_id());
    reply(status, json!({"message": message, "code": code, "errorUUID": uuid}))
}

fn eventhos_not_found(request: &Recorded, path: &str) -> Fault {
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Error</title>\n</head>\n\
         <body>\n<pre>Cannot {} /{path}</pre>\n</body>\n</html>\n",
        request.method
    );
    let headers = vec![("Content-Type".into(), "text/html; charset=utf-8".into())];
    Fault::Reply { status: 404, headers, body: body.into_bytes() }
}

fn event_temple(state: &mut State, request: &Recorded) -> Answer {
    let bad = |message: String| doorkeeper_error(400, "invalid_request", &message);
    let fields = body(request, JSON).map_err(bad)?;
    if text(&fields, "grant_type").map_err(bad)? != "client_credentials" {
        let message = "The authorization grant type is not supported by the authorization server.";
        return Err(doorkeeper_error(400, "unsupported_grant_type", message));
    }
    let given = (text(&fields, "client_id").map_err(bad)?, text(&fields, "client_secret").map_err(bad)?);
    if given != (client_id("event-temple"), client_secret("event-temple")) {
        let message = "Client authentication failed due to unknown client, no client authentication included, \
                       or unsupported authentication method.";
        return Err(doorkeeper_error(401, "invalid_client", message));
    }
    let scope = optional_text(&fields, "scope").map_err(bad)?.unwrap_or("crm_read");
    if !scope.split(' ').all(|one| EVENT_TEMPLE_SCOPES.contains(&one)) {
        let message = "The requested scope is invalid, unknown, or malformed.";
        return Err(doorkeeper_error(400, "invalid_scope", message));
    }
    let (now, life) = (state.now(), state.token_life);
    let token = issue(state, "event-temple", life, None, None);
    Ok(reply(
        200,
        json!({
            "access_token": token, "token_type": "Bearer", "expires_in": life, "scope": scope, "created_at": now,
        }),
    ))
}

fn doorkeeper_error(status: u16, error: &str, message: &str) -> Fault {
    let challenge = format!("Bearer realm=\"Doorkeeper\", error=\"{error}\", error_description=\"{message}\"");
    with_header(oauth_error(status, error, message), "WWW-Authenticate", &challenge)
}

/// Every answer has the HTTP status 200. A token comes again until less than half an hour of its life is left.
fn feishu(state: &mut State, request: &Recorded) -> Answer {
    let refuse = |code: u32, message: &str| reply(200, json!({"code": code, "msg": message}));
    let bad = |_: String| refuse(10_003, "invalid param");
    if request.header("content-type") != Some("application/json; charset=utf-8") {
        state.violations.push("feishu: Content-Type is not the documented one".into());
    }
    let fields = exact_json(state, "feishu", request).map_err(bad)?;
    let (id, secret) = (text(&fields, "app_id").map_err(bad)?, text(&fields, "app_secret").map_err(bad)?);
    if id != client_id("feishu") {
        return Err(refuse(10_014, "app id not exists"));
    }
    if secret != client_secret("feishu") {
        return Err(refuse(10_014, "app secret invalid"));
    }
    let (now, life) = (state.now(), state.token_life);
    let lasting = state.tokens.iter().find(|(_, old)| old.provider == "feishu" && old.expires_at - now >= 1800);
    let (token, left) = match lasting.map(|(token, old)| (token.clone(), old.expires_at - now)) {
        Some(lasting) => lasting,
        None => (issue(state, "feishu", life, None, None), life),
    };
    Ok(reply(200, json!({"code": 0, "msg": "ok", "tenant_access_token": token, "expire": left})))
}

fn oauth2(state: &mut State, request: &Recorded) -> Answer {
    let bad = |message: String| oauth_error(400, "invalid_request", &message);
    let fields = body(request, FORM).map_err(bad)?;
    if text(&fields, "grant_type").map_err(bad)? != "client_credentials" {
        return Err(oauth_error(400, "unsupported_grant_type", "only client_credentials"));
    }
    let in_body = fields.contains_key("client_id") || fields.contains_key("client_secret");
    let authenticated = match request.header("authorization") {
        Some(_) if in_body => return Err(bad("two ways to authenticate".into())),
        Some(value) => is_basic(value),
        None => {
            let given = (text(&fields, "client_id").map_err(bad)?, text(&fields, "client_secret").map_err(bad)?);
            given == (oauth2_client_id("post"), client_secret("oauth2"))
        }
    };
    if !authenticated {
        let refusal = oauth_error(401, "invalid_client", "Client authentication failed");
        return Err(with_header(refusal, "WWW-Authenticate", "Basic realm=\"standin\""));
    }
    let scope = optional_text(&fields, "scope").map_err(bad)?;
    let life = state.token_life;
    let token = issue(state, "oauth2", life, None, None);
    let mut answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": life});
    if let Some(scope) = scope {
        answer["scope"] = scope.into();
    }
    Ok(reply(200, answer))
}

/// Each client may use its own encoding only.
fn is_basic(value: &str) -> bool {
    let Some(encoded) = value.strip_prefix("Basic ") else { return false };
    let Some(pair) = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return false;
    };
    let Some((id, secret)) = pair.split_once(':') else { return false };
    if (id, secret) == (oauth2_client_id("basic_raw"), client_secret("oauth2")) {
        return true;
    }
    let escaped = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~%".contains(c));
    let is = |given: &str, right: &str| escaped(given) && percent_decode_str(given).eq(right.bytes());
    is(id, oauth2_client_id("basic")) && is(secret, client_secret("oauth2"))
}

/// The API that the tokens are for, and all that is not there.
pub(super) fn api(state: &mut State, provider: &str, endpoint: &str, request: &Recorded) -> Fault {
    let authorization = request.header("authorization").unwrap_or_default();
    match (provider, endpoint, request.method.as_str()) {
        ("eventhos", "api", "GET") => match authorization.strip_prefix("BEARER ") {
            None => eventhos_error(state, 403, 403_002, "Subject not authorized; no jwt token was send"),
            Some(token) if valid(state, provider, token).is_some() => eventhos_success(),
            Some(token) if state.tokens.contains_key(token) => eventhos_error(state, 401, 400_002, "jwt expired"),
            Some(_) => eventhos_error(state, 401, 400_001, "jwt malformed"),
        },
        ("eventhos", "event/send", "POST") => match request.header("access-key") {
            Some(token) if valid(state, provider, token).is_some() => eventhos_success(),
            _ => eventhos_error(state, 401, 401_201, "Invalid access-key"),
        },
        ("eventhos", ..) => eventhos_not_found(request, endpoint),
        (_, "api", "GET") => {
            let issued = authorization.strip_prefix("Bearer ").and_then(|token| valid(state, provider, token));
            let Some(issued) = issued else { return reply(401, json!({"error": "invalid_token"})) };
            // who names a region to the API must have named it for the token
            if provider.starts_with("calven") && region(request).as_ref() != Ok(&issued.region) {
                return reply(400, json!({"message": "x-calven-region is not that of the token"}));
            }
            if provider == "event-temple" && request.header("x-api-org") != Some(ORG_ID) {
                return reply(403, json!({"error": "X-API-ORG is missing or wrong"}));
            }
            reply(200, json!({"ok": true}))
        }
        _ => reply(404, json!({"message": "not found"})),
    }
}

fn valid<'a>(state: &'a State, provider: &str, token: &str) -> Option<&'a Issued> {
    state.tokens.get(token).filter(|issued| issued.provider == provider && issued.expires_at > state.now())
}

fn eventhos_success() -> Fault {
    reply(200, json!({"code": 200_000, "message": "success"}))
}

fn region(request: &Recorded) -> Result<Option<String>, String> {
    match request.header("x-calven-region") {
        None => Ok(None),
        Some(region @ ("usce1" | "ause1")) => Ok(Some(region.into())),
        Some(_) => Err("x-calven-region is not valid".into()),
    }
}

/// A new token: with claims a JWT, whose signature nobody but the provider could check.
fn issue(state: &mut State, provider: &str, life: i64, region: Option<String>, claims: Option<Value>) -> String {
    let mut token = format!("{TOKEN_WORD}-{provider}-{:06}", state.next_id());
    if let Some(claims) = claims {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        token = format!("{}.{}.{token}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    }
    state.endpoint(provider).issued += 1;
    let expires_at = state.now() + life;
    state.tokens.insert(token.clone(), Issued { provider: provider.into(), expires_at, region });
    token
}

/// The body's fields, if it has this media type.
fn body(request: &Recorded, media_type: &str) -> Result<Fields, String> {
    if checks::media_type(request) != media_type {
        return Err(format!("Content-Type must be {media_type}"));
    }
    checks::body_fields(request)
}

/// The fields of a JSON body that has no others.
fn exact_json(state: &mut State, provider: &str, request: &Recorded) -> Result<Fields, String> {
    let fields = body(request, JSON)?;
    match fields.keys().find(|name| !checks::is_known(state, provider, name)) {
        Some(name) => Err(format!("unknown field {name}")),
        None => Ok(fields),
    }
}

fn text<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, String> {
    optional_text(fields, name)?.ok_or_else(|| format!("{name} is required"))
}

fn optional_text<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a str>, String> {
    match fields.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| format!("{name} must be a string")),
    }
}

fn fresh_timestamp(state: &State, fields: &Fields) -> Result<i64, String> {
    let timestamp = fields.get("timestamp").and_then(Value::as_i64).ok_or("timestamp must be a number of seconds")?;
    if (timestamp - state.now()).abs() > 5 {
        return Err("timestamp is more than 5 seconds off".into());
    }
    Ok(timestamp)
}

fn hmac(provider: &str, message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(client_secret(provider).as_bytes()).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn reply(status: u16, body: Value) -> Fault {
    let headers = vec![("Content-Type".into(), "application/json; charset=utf-8".into())];
    Fault::Reply { status, headers, body: body.to_string().into_bytes() }
}

fn oauth_error(status: u16, error: &str, description: &str) -> Fault {
    reply(status, json!({"error": error, "error_description": description}))
}

fn with_header(mut answer: Fault, name: &str, value: &str) -> Fault {
    if let Fault::Reply { headers, .. } = &mut answer {
        headers.push((name.into(), value.into()));
    }
    answer
}
