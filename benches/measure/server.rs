//! A token endpoint that answers every request alike, at once or late. It ends with the process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub struct Server {
    pub url: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(reply: String, delay: Duration) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let requests = Arc::<AtomicUsize>::default();
        let (reply, count) = (Arc::new(reply), requests.clone());
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (reply, count) = (reply.clone(), count.clone());
                std::thread::spawn(move || serve(&tcp, &reply, delay, &count));
            }
        });
        Server { url, requests }
    }

    /// Answers with a token of this many bytes that lives so many seconds.
    pub fn of_tokens(bytes: usize, life: u32, delay: Duration) -> Server {
        Server::start(reply(200, "", &success(bytes, life)), delay)
    }

    /// How many came.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

pub fn success(bytes: usize, life: u32) -> String {
    let token = format!("canary-token-{}", "x".repeat(bytes - "canary-token-".len()));
    format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{life}}}"#)
}

pub fn reply(status: u16, header: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} -\r\n{header}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Until one side ends the connection.
fn serve(tcp: &TcpStream, reply: &str, delay: Duration, requests: &AtomicUsize) -> Option<()> {
    tcp.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(tcp);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            (stream.read_line(&mut line).ok()? > 0).then_some(())?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        stream.read_exact(&mut vec![0; length]).ok()?;
        requests.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(delay);
        stream.get_mut().write_all(reply.as_bytes()).ok()?;
    }
}
