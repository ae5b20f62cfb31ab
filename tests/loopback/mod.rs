// Two servers on loopback for the examples in the documentation, which take no other help.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

/// Answers each request by its head, on a connection of its own. The address begins with http.
pub fn serve(mut answer: impl FnMut(&str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head, mut length) = (BufReader::new(stream.unwrap()), String::new(), 0);
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|read| read > 0) {
                let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
                length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
            }
            stream.by_ref().take(length).read_to_end(&mut Vec::new()).unwrap();
            let (status, body) = answer(&head);
            let length = body.len();
            let head = format!("HTTP/1.1 {status} \r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
        }
    });
    address
}

/// A token endpoint: tokens of an hour, token-1 and so on.
#[allow(dead_code)] // each example takes what it needs
pub fn token_endpoint() -> String {
    let mut count = 0;
    serve(move |_| {
        count += 1;
        (200, format!(r#"{{"access_token": "token-{count}", "token_type": "Bearer", "expires_in": 3600}}"#))
    })
}

/// A token endpoint that refuses the client.
#[allow(dead_code)]
pub fn refusing_token_endpoint() -> String {
    serve(|_| (401, r#"{"error": "invalid_client"}"#.to_owned()))
}

/// A client of a token endpoint of its own.
#[allow(dead_code)]
pub fn client() -> tokauth::Client {
    client_of(token_endpoint())
}

#[allow(dead_code)]
pub fn client_of(token_url: String) -> tokauth::Client {
    let builder = tokauth::Client::builder().provider("oauth2").token_url(token_url);
    builder.client_id("my-id").client_secret("canary-secret-of-an-example").build().unwrap()
}

/// An API that takes any token.
#[allow(dead_code)]
pub fn api() -> String {
    serve(|head| (if head.contains("\r\nauthorization: Bearer ") { 200 } else { 401 }, String::new()))
}

/// An API that has forgotten the token that it sees first.
#[allow(dead_code)]
pub fn api_that_rejects_the_first_token() -> String {
    let mut seen = HashSet::new();
    serve(move |head| {
        seen.extend(head.lines().find(|line| line.starts_with("authorization: ")).map(str::to_owned));
        (if seen.len() > 1 { 200 } else { 401 }, String::new())
    })
}
