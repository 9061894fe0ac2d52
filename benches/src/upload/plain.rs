//! What P8 is measured against: one thread writes to a TLS stream, another copies what it reads from there to a file and syncs it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use veilsum_common::limits::PIECE_BYTES;

pub struct Plain {
    path: PathBuf,
    server: StreamOwned<ServerConnection, TcpStream>,
    client: StreamOwned<ClientConnection, TcpStream>,
}

impl Plain {
    /// Two ends that have shaken hands.
    pub fn new(dir: &Path, server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let connecting = std::thread::spawn(move || {
            let tcp = TcpStream::connect(address).expect("the listener is there");
            tcp.set_nodelay(true).expect("it is a TCP socket");
            let name = ServerName::try_from("127.0.0.1").expect("an address is a name");
            let session = ClientConnection::new(client, name).expect("the configuration is ours");
            let mut stream = StreamOwned::new(session, tcp);
            stream.write_all(&[0]).expect("the server is there");
            stream
        });
        let (tcp, _) = listener.accept().expect("the client connects");
        tcp.set_nodelay(true).expect("it is a TCP socket");
        let session = ServerConnection::new(server).expect("the configuration is ours");
        let mut server = StreamOwned::new(session, tcp);
        server.read_exact(&mut [0]).expect("both trust each other");
        Self {
            path: dir.join("plain"),
            server,
            client: connecting.join().expect("it has connected"),
        }
    }

    /// From the first byte to the answer that the last is durable.
    pub fn seconds(&mut self, bytes: &[u8]) -> f64 {
        drop(std::fs::remove_file(&self.path));
        let file = File::create(&self.path).expect("the directory is ours");
        let (server, client) = (&mut self.server, &mut self.client);
        std::thread::scope(|threads| {
            threads.spawn(|| copy(server, file, bytes.len()));
            let start = Instant::now();
            for piece in bytes.chunks(PIECE_BYTES) {
                client.write_all(piece).expect("the server reads");
            }
            client.read_exact(&mut [0]).expect("the server answers");
            start.elapsed().as_secs_f64()
        })
    }
}

fn copy(from: &mut StreamOwned<ServerConnection, TcpStream>, mut to: File, len: usize) {
    let (mut buffer, mut left) = (vec![0; PIECE_BYTES], len);
    while left > 0 {
        let some = from.read(&mut buffer).expect("the client writes");
        to.write_all(&buffer[..some]).expect("288 MiB fit");
        left -= some;
    }
    to.sync_all().expect("the disk works");
    from.write_all(&[0]).expect("the client waits");
}
