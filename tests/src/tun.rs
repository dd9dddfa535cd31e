//! A TUN device: a host behind it whose every packet a test writes and reads itself.
//!
//! For what no kernel sends of its own accord, such as segments that overlap. [`Place::tun`] makes one; the device goes
//! when it is dropped, the place's namespace at the latest.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::place::Place;
use crate::{sys, wait};

/// Our end of the device.
#[derive(Debug)]
pub struct Tun(File);

impl Place {
    /// Makes the device `name` here; the place has `address` (`10.9.0.1/24`), everybody else on that net is the test.
    pub fn tun(&self, name: &str, address: &str) -> Result<Tun> {
        let device = self.netns().run(|| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK);
            let file = options.open("/dev/net/tun").context("opening /dev/net/tun")?;
            sys::attach_tun(&file, name).with_context(|| format!("making the device {name}"))?;
            Ok(file)
        })?;
        self.ip(&format!("addr add {address} dev {name}\nlink set {name} up\n"))?;
        Ok(Tun(device))
    }
}

impl Tun {
    /// Sends an IP packet to the place.
    pub fn send(&mut self, packet: &[u8]) -> Result<()> {
        self.0.write_all(packet).context("writing a packet")
    }

    /// The next IPv4 packet from the place.
    pub fn receive(&mut self, limit: Duration) -> Result<Vec<u8>> {
        wait::until(limit, "a packet", || self.waiting()?.context("nothing yet"))
    }

    /// The next IPv4 packet from the place, if there is one already.
    pub fn waiting(&mut self) -> Result<Option<Vec<u8>>> {
        let mut packet = vec![0; 65_536];
        loop {
            match self.0.read(&mut packet) {
                Ok(count) if packet.first().is_some_and(|byte| byte >> 4 == 4) => {
                    packet.truncate(count);
                    return Ok(Some(packet));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("reading a packet"),
            }
        }
    }
}
