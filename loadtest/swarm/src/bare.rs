//! The floor: what a plain write of a frame's bytes to a socket costs the writing thread.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::process::thread_cpu;

/// Writes per socket.
const ROUNDS: u32 = 50;

/// The CPU time of one write of `bytes` to one of `sockets` connections, taken in turns.
///
/// # Errors
/// When a socket fails.
pub(crate) fn write(sockets: usize, bytes: usize) -> anyhow::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no loopback socket")?;
    let mut pairs = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        let near = TcpStream::connect(listener.local_addr()?)?;
        near.set_nodelay(true)?;
        pairs.push((near, listener.accept()?.0));
    }
    let (mut near, mut far): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let frame = vec![b'-'; bytes];
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut buffer = vec![0; bytes];
            for _ in 0..ROUNDS {
                far.iter_mut().try_for_each(|socket| socket.read_exact(&mut buffer))?;
            }
            std::io::Result::Ok(())
        });
        let before = thread_cpu()?;
        for _ in 0..ROUNDS {
            near.iter_mut().try_for_each(|socket| socket.write_all(&frame))?;
        }
        let used = thread_cpu()?.saturating_sub(before);
        reader.join().map_err(|_| anyhow!("the reader panicked"))??;
        Ok(used / (ROUNDS * u32::try_from(sockets)?))
    })
}
