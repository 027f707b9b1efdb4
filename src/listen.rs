//! Listening sockets: one for each core and address, in groups that the kernel spreads connections
//! over.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::LISTEN_BACKLOG;

/// Listens at each address on each of `cores`. Returns the addresses (where the port was 0: the one
/// picked), and for each core its sockets.
pub fn listen(
    addresses: &[SocketAddr],
    cores: usize,
) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), ListenError> {
    let mut bound = Vec::with_capacity(addresses.len());
    let mut of_cores: Vec<Vec<TcpListener>> = (0..cores).map(|_| Vec::new()).collect();
    for &address in addresses {
        let fault = |error| ListenError { address, error };
        probe(address).map_err(fault)?;
        let mut group = address;
        for sockets in &mut of_cores {
            let socket = join(group).map_err(fault)?;
            group = socket.local_addr().map_err(fault)?;
            sockets.push(socket);
        }
        bound.push(group);
    }
    Ok((bound, of_cores))
}

/// Fails where another server listens: sockets that share a port would hide it.
fn probe(address: SocketAddr) -> io::Result<()> {
    socket_for(address)?.bind(&address.into())
}

fn join(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_for(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

fn socket_for(address: SocketAddr) -> io::Result<Socket> {
    // Close-on-exec is set by the library.
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections linger is free all the same.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// An address that cannot be listened at.
#[derive(Debug)]
pub struct ListenError {
    /// The address, as it was given.
    pub address: SocketAddr,
    /// Why not.
    pub error: io::Error,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => write!(f, "{} is in use by another server", self.address),
            _ => write!(f, "cannot listen at {}: {}", self.address, self.error),
        }
    }
}

impl std::error::Error for ListenError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().expect("it is an address")
    }

    #[test]
    fn cores_share_a_port_that_the_first_picked() {
        let (bound, cores) = listen(&[any_port(), any_port()], 3).expect("ports are free");
        assert_ne!(bound[0].port(), bound[1].port());
        for sockets in &cores {
            let addresses = sockets.iter().map(|socket| socket.local_addr().expect("it is bound"));
            assert_eq!(addresses.collect::<Vec<_>>(), bound);
        }
        TcpStream::connect(bound[0]).expect("someone listens");
    }

    #[test]
    fn another_server_on_the_port_is_an_error() {
        let (bound, _held) = listen(&[any_port()], 2).expect("a port is free");
        let refused = listen(&bound, 2).expect_err("the port is taken");
        assert_eq!(refused.to_string(), format!("{} is in use by another server", bound[0]));
    }
}
