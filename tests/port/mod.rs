//! Ports that are this process's until it ends.
#![allow(unreachable_pub)] // a part of several test programs

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketType};

/// One of 127.0.0.1 that nobody is given by chance, whether somebody listens on it or not: whoever sets SO_REUSEADDR may,
/// as Redis does on Linux.
pub fn reserve() -> u16 {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC).unwrap();
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let socket = TcpListener::from(socket); // which does not listen
    let port = socket.local_addr().unwrap().port();
    std::mem::forget(socket);
    port
}
