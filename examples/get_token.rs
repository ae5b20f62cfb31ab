//! Asks for a token twice and shows that one request was enough.
//!
//! TOKAUTH_PROVIDER=oauth2 TOKAUTH_TOKEN_URL=... TOKAUTH_CLIENT_ID=... TOKAUTH_CLIENT_SECRET_FILE=... get_token

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use tokauth::{Client, Counter, Error};

fn get_token() -> Result<(), Error> {
    let client = Client::builder().load_env(None)?.build()?;
    let token = client.token()?;
    client.token()?; // the same token, and no request

    for (name, value) in token.headers() {
        println!("{name}: {:.7}... ({} characters)", value, value.len());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    println!("expires in {} s", token.expires_at() - now);
    println!("requests sent: {}", client.counter(Counter::Requests));
    Ok(())
}

fn main() -> ExitCode {
    match get_token() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("get_token: {error}");
            ExitCode::FAILURE
        }
    }
}
