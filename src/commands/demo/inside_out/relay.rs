//! The one way out of the compute side: what connects to GitHub's address there comes out here, at the simulated GitHub,
//! through a Unix socket, which a namespace of networks does not separate. Connections are opened from inside only.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// The way in numbers: the same address on both sides, so that every URL holds on both, and the socket between them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Way {
    pub(super) address: SocketAddr,
    pub(super) socket: PathBuf,
}

/// One end of the way, until this is dropped.
pub(super) struct End(JoinHandle<()>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Way {
    /// The end on the compute side, where GitHub seems to be.
    pub(super) async fn begin(self) -> std::io::Result<End> {
        let listener = TcpListener::bind(self.address).await?;
        Ok(End(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, self.socket.clone()));
            }
        })))
    }

    /// The end beside GitHub.
    pub(super) fn arrive(&self) -> std::io::Result<End> {
        let (listener, address) = (UnixListener::bind(&self.socket)?, self.address);
        Ok(End(tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut github = TcpStream::connect(address).await?;
                    copy_bidirectional(&mut stream, &mut github).await
                });
            }
        })))
    }
}

/// A connection that fails ends: whoever opened it sees that.
async fn pass(mut stream: TcpStream, socket: impl AsRef<Path>) {
    if let Ok(mut way) = UnixStream::connect(socket).await {
        let _ = copy_bidirectional(&mut stream, &mut way).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_goes_in_at_one_end_comes_out_at_the_other_and_so_does_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let github = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = Way { address: github.local_addr().unwrap(), socket: folder.path().join("way") };
        let _outside = here.arrive().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let _inside = Way { address: free, ..here }.begin().await.unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = github.accept().await.unwrap();
            let mut asked = String::new();
            stream.read_to_string(&mut asked).await.unwrap();
            stream.write_all(asked.to_uppercase().as_bytes()).await.unwrap();
        });
        let mut stream = TcpStream::connect(free).await.unwrap();
        stream.write_all(b"who is there?").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "WHO IS THERE?");
    }
}
