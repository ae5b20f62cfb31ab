//! The headers of a token on each request of a ureq agent.

use std::io::Read as _;

use ureq::http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use ureq::http::request::Parts;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::middleware::MiddlewareNext;
use ureq::{Agent, Body, RequestExt as _, SendBody};

use crate::client::Client;
use crate::error::Error;
use crate::token::Token;

/// For a [ureq](https://docs.rs/ureq/3) agent: attaches the headers of the token to each request, and asks once more
/// with a new token after a 401.
///
/// An agent that has it is for one API: whatever address it calls gets the token. It may be shared by any number of
/// threads; each call begins with [`Client::token`], and blocks as that does.
///
/// - **Redirects are not followed**, whatever the settings are: the redirect is the response. ureq would take all headers
///   but `Authorization` along to whatever host it leads to, and nobody could tell whose 401 comes back.
/// - **After a 401** the token is told to [`Client::invalidate`], and the request sent again if there is another token.
///   Whatever comes then is the outcome, a second 401 too. Where the rejected token stays in service (as `invalidate`
///   says) the first 401 is the outcome. Whether the agent makes errors of statuses plays no part.
/// - **Bodies** of POST, PUT and PATCH may be streams, which nobody can send twice, and ureq does not tell which are.
///   So these requests pass as they are; after a 401 that is their outcome, and the next request has a new token.
///   [`keep_bodies`](Middleware::keep_bodies) changes that. A body of any other request is kept in memory.
/// - **The second request** cannot go through the agent, since ureq lets a middleware send one. It goes through an
///   agent of its own with the settings of the first request (timeouts, which begin anew, proxy, TLS and so on), but
///   without the agent's cookies, its later middlewares, and a connector and resolver that it was given by
///   [`Agent::with_parts`]: where there are such, give [`retry_through`](Middleware::retry_through) an agent.
/// - **An error of this library**, when there is no token at first or no other after a 401, is `ureq::Error::Other`
///   around an [`Error`](crate::Error). That a store cannot be told of the 401 is none: this process knows.
///
/// ```
/// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
/// # let (client, api) = (server::client(), server::api());
/// use ureq::Agent;
///
/// let agent: Agent = Agent::config_builder().middleware(tokauth::Middleware::new(client)).build().into();
///
/// let answer = agent.get(format!("{api}/events")).call();
/// # assert!(answer.is_ok());
/// match answer {
///     Ok(response) => println!("{}", response.status()),
///     Err(ureq::Error::Other(error)) if error.is::<tokauth::Error>() => eprintln!("no token: {error}"),
///     Err(error) => eprintln!("{error}"),
/// }
/// # Ok::<(), tokauth::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Middleware {
    client: Client,
    keeps_bodies: bool,
    again: Option<Agent>,
}

impl Middleware {
    /// Attaches the tokens of `client`.
    pub fn new(client: Client) -> Middleware {
        Middleware { client, keeps_bodies: false, again: None }
    }

    /// Reads every body into memory before its request is sent, so that POST, PUT and PATCH are sent again too. For
    /// agents that send no streams: it takes the memory, and a body that is still being made keeps its request waiting,
    /// beyond the agent's timeouts. Such a body is sent with its length, not in chunks.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let (client, api) = (server::client(), server::api_that_rejects_the_first_token());
    /// let middleware = tokauth::Middleware::new(client).keep_bodies();
    /// let agent: ureq::Agent = ureq::Agent::config_builder().middleware(middleware).build().into();
    ///
    /// // Should the API have forgotten its token, this is sent again with a new one.
    /// let response = agent.post(format!("{api}/events")).send(r#"{"name": "order.paid"}"#);
    /// assert!(response.is_ok());
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    #[must_use]
    pub fn keep_bodies(self) -> Middleware {
        Middleware { keeps_bodies: true, ..self }
    }

    /// Sends what is sent again through `agent`, which must not have this middleware. What a request was given by its
    /// own `config()` goes along, and with it the settings of the agent that it was made by.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// # let (client, api) = (server::client(), server::api_that_rejects_the_first_token());
    /// use ureq::Agent;
    /// use ureq::unversioned::{resolver::DefaultResolver, transport::DefaultConnector};
    ///
    /// // Stand for a connector and a resolver of your own.
    /// let parts = || (DefaultConnector::default(), DefaultResolver::default());
    ///
    /// let (connector, resolver) = parts();
    /// let again = Agent::with_parts(Agent::config_builder().build(), connector, resolver);
    /// let middleware = tokauth::Middleware::new(client).retry_through(again);
    /// let (connector, resolver) = parts();
    /// let agent = Agent::with_parts(Agent::config_builder().middleware(middleware).build(), connector, resolver);
    /// # assert!(agent.get(api).call().is_ok());
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    #[must_use]
    pub fn retry_through(self, agent: Agent) -> Middleware {
        Middleware { again: Some(agent), ..self }
    }

    /// That a store cannot be told is no reason to keep the answer: this process knows all the same.
    fn reject(&self, token: &Token) {
        let _ = self.client.invalidate(token);
    }
}

impl ureq::middleware::Middleware for Middleware {
    fn handle(&self, request: Request<SendBody<'_>>, next: MiddlewareNext<'_>) -> Result<Response<Body>, ureq::Error> {
        let token = self.client.token().map_err(told)?;
        let (mut parts, body) = without_redirects(request)?.into_parts();
        attach(&token, &mut parts)?;
        let may_stream =
            !matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS | Method::TRACE);
        if may_stream && !self.keeps_bodies {
            let outcome = next.handle(Request::from_parts(parts, body));
            if is_rejected(&outcome) {
                self.reject(&token);
            }
            return outcome;
        }

        let mut bytes = Vec::new();
        body.into_reader().read_to_end(&mut bytes)?;
        let has_body = may_stream || !bytes.is_empty();
        if has_body && ![CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| parts.headers.contains_key(name)) {
            parts.headers.insert(CONTENT_LENGTH, bytes.len().into());
        }
        let body = has_body.then_some(&*bytes);
        let outcome = send(parts.clone(), body, |request| next.handle(request));
        if !is_rejected(&outcome) {
            return outcome;
        }
        self.reject(&token);
        let other = self.client.token().map_err(told)?;
        if other.is_same(&token) {
            return outcome;
        }
        attach(&other, &mut parts)?;
        let agent = self.again.clone().unwrap_or_else(Agent::new_with_defaults);
        send(parts, body, |request| agent.run(request))
    }
}

/// With the settings of the agent beside it, which travel with the request from here on.
fn without_redirects(request: Request<SendBody<'_>>) -> Result<Request<SendBody<'_>>, ureq::Error> {
    let Some(config) = request.middleware_config() else {
        let message = "a middleware before this one made a request of its own; let it change the one that it is given";
        return Err(told(Error::config(message)));
    };
    Ok(config.max_redirects(0).build())
}

fn attach(token: &Token, parts: &mut Parts) -> Result<(), ureq::Error> {
    for (name, value) in token.headers() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| ureq::Error::Http(e.into()))?;
        let mut value = HeaderValue::from_str(value).map_err(|e| ureq::Error::Http(e.into()))?;
        value.set_sensitive(true);
        parts.headers.insert(name, value);
    }
    Ok(())
}

fn send(
    parts: Parts,
    body: Option<&[u8]>,
    through: impl FnOnce(Request<SendBody<'_>>) -> Result<Response<Body>, ureq::Error>,
) -> Result<Response<Body>, ureq::Error> {
    match body {
        Some(mut bytes) => through(Request::from_parts(parts, SendBody::from_reader(&mut bytes))),
        None => through(Request::from_parts(parts, SendBody::none())),
    }
}

fn is_rejected(outcome: &Result<Response<Body>, ureq::Error>) -> bool {
    match outcome {
        Ok(response) => response.status() == StatusCode::UNAUTHORIZED,
        Err(ureq::Error::StatusCode(status)) => *status == StatusCode::UNAUTHORIZED,
        Err(_) => false,
    }
}

fn told(error: Error) -> ureq::Error {
    ureq::Error::Other(Box::new(error))
}
