//! A connection as the `redis` crate wants one, in place of its own, whose timeouts end with each part of a reply, and
//! whose replies may be of any size.

use std::io::{self, ErrorKind, Read};
use std::time::Instant;

use redis::{ConnectionLike, Parser, RedisResult, Value};

use super::super::DOCUMENT_MAX;
use crate::transport::Line;

/// No reply is longer: a document and what is around it.
const REPLY_MAX: usize = DOCUMENT_MAX + 1024;

/// Commands and their replies, one after the other. After an error that is not the server's answer it is no good any
/// more: a late reply would pass for that to the next command.
pub(super) struct Connection {
    pub(super) line: Line,
    /// All must have come by then.
    pub(super) until: Instant,
    pub(super) database: u32,
}

/// The bytes of one reply.
struct Incoming<'a> {
    connection: &'a mut Connection,
    amount: usize,
}

impl Read for Incoming<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let amount = self.connection.line.receive(into, self.connection.until)?;
        if self.amount == 0 {
            // Our commands are answered by a status, an error, a number or a text; so nothing can be nested.
            match into[..amount].first() {
                None => return Err(ErrorKind::ConnectionReset.into()),
                Some(0x15) => return Err(odd("a TLS alert; write rediss://")),
                Some(b) if !b"+-:$".contains(b) => return Err(odd("something else")),
                Some(_) => {}
            }
        }
        self.amount = self.amount.saturating_add(amount);
        if self.amount > REPLY_MAX { Err(odd("more than a document is long")) } else { Ok(amount) }
    }
}

fn odd(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

impl ConnectionLike for Connection {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.line.send(command, self.until)?;
        Parser::new().parse_value(Incoming { connection: self, amount: 0 })
    }

    fn req_packed_commands(&mut self, commands: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let _ = (commands, offset, count);
        Err(io::Error::from(ErrorKind::Unsupported).into())
    }

    fn supports_pipelining(&self) -> bool {
        false
    }

    fn get_db(&self) -> i64 {
        self.database.into()
    }

    fn check_connection(&mut self) -> bool {
        redis::cmd("PING").query::<String>(self).is_ok()
    }

    fn is_open(&self) -> bool {
        true
    }
}
