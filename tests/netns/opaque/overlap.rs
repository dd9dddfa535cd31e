//! Segments that overlap, as retransmissions over a lossy network do, sent by hand: no byte may come twice.

use std::net::Ipv4Addr;

use interceptor_tests::tun::Tun;

use super::{bytes, each_backend};
use crate::wire::{LIMIT, TCP, until_end};

/// The server's pod on the device's net, and the host that is played.
const DEVICE: &str = "10.9.0.1/24";
const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// What is sent in order before: more than a direction copies.
const BEFORE: usize = 100_000;
const SEGMENT: usize = 1000;

/// A TCP client whose segments the test chooses.
struct Client {
    tun: Tun,
    port: u16,
    to: (Ipv4Addr, u16),
    /// The next byte of the server's.
    ack: u32,
}

/// The client's initial sequence number: near the end, so that it wraps on the way.
const START: u32 = u32::MAX - 50_000;

impl Client {
    fn connect(tun: Tun, port: u16, to: (Ipv4Addr, u16)) -> Client {
        let mut client = Client { tun, port, to, ack: 0 };
        client.segment(START, SYN, &[]);
        loop {
            let packet = client.tun.receive(LIMIT).unwrap();
            let header = usize::from(packet[0] & 15) * 4;
            let tcp = &packet[header..];
            if tcp[2..4] == port.to_be_bytes() && tcp[13] & SYN != 0 {
                client.ack = u32::from_be_bytes(tcp[4..8].try_into().unwrap()).wrapping_add(1);
                break;
            }
        }
        client.segment(START.wrapping_add(1), ACK, &[]);
        client
    }

    /// Sends the bytes that begin at `at` of the stream.
    fn send(&mut self, at: usize, data: &[u8]) {
        self.segment(sequence(at), ACK | PSH, data);
    }

    fn segment(&mut self, seq: u32, flags: u8, data: &[u8]) {
        let length = u16::try_from(20 + data.len()).unwrap();
        let mut tcp = [self.port.to_be_bytes(), self.to.1.to_be_bytes()].concat();
        tcp.extend([seq.to_be_bytes(), self.ack.to_be_bytes()].concat());
        // Header length, flags, window; checksum and urgent pointer 0.
        tcp.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(data);
        let pseudo = [&HOST.octets()[..], &self.to.0.octets(), &[0, 6], &length.to_be_bytes()].concat();
        let sum = checksum(&[&pseudo[..], &tcp].concat());
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut ip = vec![0x45, 0];
        ip.extend((20 + length).to_be_bytes());
        ip.extend([0, 1, 0x40, 0, 64, 6, 0, 0]);
        ip.extend([HOST.octets(), self.to.0.octets()].concat());
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        self.tun.send(&[ip, tcp].concat()).unwrap();
    }
}

fn sequence(at: usize) -> u32 {
    START.wrapping_add(1).wrapping_add(u32::try_from(at).unwrap())
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}

#[test]
fn bytes_that_come_twice_are_passed_on_once() {
    each_backend("overlap", |wire| {
        let server = wire.listen(TCP);
        let tun = wire.server.tun("tun0", DEVICE).unwrap();
        let mut client = Client::connect(tun, 40_000, (wire.server.v4, TCP.1));
        let peer = server.accept();
        let data = bytes(BEFORE + 10 * SEGMENT, 17);
        for (index, part) in data[..BEFORE].chunks(SEGMENT).enumerate() {
            client.send(index * SEGMENT, part);
            expect_bytes(&peer, part);
        }
        let mut send = |from: usize, to: usize| client.send(BEFORE + from, &data[BEFORE + from..BEFORE + to]);
        // Half of it old; one new byte at the end; all of it old.
        send(0, 1000);
        send(500, 1500);
        send(0, 1401);
        send(101, 1501);
        send(0, 1000);
        // Out of order, over each other and over what was there.
        send(2000, 2600);
        send(2500, 3000);
        send(1400, 2050);
        send(2900, 4000);
        client.segment(sequence(BEFORE + 4000), ACK | FIN, &[]);
        let got = until_end(&peer);
        assert_eq!(got.len(), 4000);
        assert!(got == data[BEFORE..BEFORE + 4000]);
        // The other direction is as it was.
        drop(peer);
        if wire.splice_status()["backend"] == "kernel" {
            assert!(wire.splice_status()["events"]["handed"].as_u64().unwrap() > 0, "{}", wire.splice_status());
        }
    });
}

/// As [`expect`], for bytes that are no text.
fn expect_bytes(from: &std::net::TcpStream, wanted: &[u8]) {
    use std::io::Read as _;
    let mut got = vec![0; wanted.len()];
    let mut from = from;
    from.read_exact(&mut got).unwrap();
    assert!(got == wanted);
}
