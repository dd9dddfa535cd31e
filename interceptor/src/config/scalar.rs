//! Readers of single values: names, numbers, addresses, durations, choices.
//!
//! Topology and settings call them on a [`Cursor`]; each reports what it expected and returns `None` when it finds
//! something else. They look at the text alone, never at the machine.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::cursor::Cursor;
use super::names::is_name;
use super::pod_uid::PodUid;
use super::yaml::Value;

impl<'a> Cursor<'a> {
    /// Text; `null` is none, everything else that is written without list or mapping is.
    pub(super) fn text(&self, expected: &str) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. } if !self.node.is_null() => Some(text),
            _ => {
                let hint = self.node.is_null().then(|| "leave the key out if there is no value".to_owned());
                self.refuse(expected, hint);
                None
            }
        }
    }

    /// Text for which `read` has a value; `hint` may know what is wrong with other text.
    pub(super) fn scalar<T>(
        &self,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
        hint: impl FnOnce(&str) -> Option<String>,
    ) -> Option<T> {
        let text = self.text(expected)?;
        let value = read(text);
        if value.is_none() {
            self.refuse(expected, hint(text));
        }
        value
    }

    /// Text that is no string in YAML's eyes, so that quotes around it are a mistake: a number, `true`.
    fn unquoted<T>(&self, expected: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(expected)?;
        let quotes = matches!(self.node.value, Value::Scalar { plain: false, .. });
        match read(text) {
            Some(_) if quotes => self.refuse(expected, Some("leave out the quotes".to_owned())),
            Some(value) => return Some(value),
            None => self.refuse(expected, None),
        }
        None
    }

    /// A name.
    pub(super) fn name(&self) -> Option<String> {
        let expected = "a name (1 to 253 letters, digits, '-', '_', '.', with a letter or digit at both ends)";
        self.scalar(expected, |text| is_name(text).then(|| text.to_owned()), |_| None)
    }

    /// The UID of a pod.
    pub(super) fn pod_uid(&self) -> Option<PodUid> {
        self.scalar("the UID of a pod (letters, digits and '-', as `metadata.uid` has it)", PodUid::new, |_| None)
    }

    /// Any text but an empty one.
    pub(super) fn non_empty(&self) -> Option<String> {
        self.scalar("text", |text| (!text.is_empty()).then(|| text.to_owned()), |_| None)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        self.unquoted("true or false", |text| text.to_ascii_lowercase().parse().ok())
    }

    /// A decimal number within bounds.
    pub(super) fn number<T>(&self, bounds: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Display + FromStr + PartialOrd,
    {
        self.numeric("a number", bounds)
    }

    /// A TCP port.
    pub(super) fn port(&self) -> Option<u16> {
        self.numeric("a port number", 1..=u16::MAX)
    }

    fn numeric<T>(&self, what: &str, bounds: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Display + FromStr + PartialOrd,
    {
        let expected = format!("{what} from {} to {}", bounds.start(), bounds.end());
        self.unquoted(&expected, |text| decimal(text).filter(|number| bounds.contains(number)))
    }

    /// The address of a pod or a service, v4-mapped ones as IPv4.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let read = |text: &str| text.parse().ok().map(|address: IpAddr| address.to_canonical()).filter(is_unicast);
        self.scalar("the IP address of a pod or service", read, |text| {
            let address = text.split(['/', '%']).next()?;
            match text.parse().ok().map(|address: IpAddr| address.to_canonical()) {
                Some(address) => Some(format!("{} addresses cannot be captured", kind_of(&address))),
                None if address != text && address.parse::<IpAddr>().is_ok() => Some(format!("write {address}")),
                None => None,
            }
        })
    }

    /// The address of a DNS server, which may be on loopback.
    pub(super) fn server(&self) -> Option<IpAddr> {
        let usable = |address: &IpAddr| matches!(kind_of(address), "unicast" | "loopback");
        let read = |text: &str| text.parse().ok().map(|address: IpAddr| address.to_canonical()).filter(usable);
        self.scalar("the IP address of a DNS server, without a port", read, |_| None)
    }

    /// An address to listen on, or `off`.
    pub(super) fn listener(&self) -> Option<Option<SocketAddr>> {
        let expected = "an address and port like 127.0.0.1:15020, or off";
        self.scalar(expected, |text| if text == "off" { Some(None) } else { text.parse().ok().map(Some) }, |_| None)
    }

    /// A duration within bounds: a whole number and `ms`, `s`, `m` or `h`.
    pub(super) fn duration(&self, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        let expected = format!("a duration from {} to {}", written(*bounds.start()), written(*bounds.end()));
        self.scalar(
            &expected,
            |text| duration(text).filter(|found| bounds.contains(found)),
            |text| {
                let hint = || format!("add a unit, like {text}s; there are ms, s, m and h");
                decimal::<u64>(text).map(|_| hint())
            },
        )
    }

    /// A duration within bounds, or `off`.
    pub(super) fn duration_or_off(&self, bounds: RangeInclusive<Duration>) -> Option<Option<Duration>> {
        let expected = format!("a duration from {} to {}, or off", written(*bounds.start()), written(*bounds.end()));
        let read = |text: &str| {
            let found = duration(text).filter(|found| bounds.contains(found)).map(Some);
            if text == "off" { Some(None) } else { found }
        };
        self.scalar(&expected, read, |_| None)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let (last, others) = words.split_last()?;
        let expected = format!("{} or {last}", others.join(", "));
        let find = |text: &str| choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        self.scalar(&expected, find, |_| None)
    }

    /// An absolute path. Relative ones would depend on where the agent was started.
    pub(super) fn absolute_path(&self) -> Option<PathBuf> {
        let read = |text: &str| (text.starts_with('/') && !text.contains('\0')).then(|| PathBuf::from(text));
        self.scalar("an absolute path", read, |_| None)
    }
}

/// Digits only: `+1`, `1_000`, `0x10` mean different things to different YAML versions, and so does `010`.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let ambiguous = text.len() > 1 && text.starts_with('0');
    if ambiguous || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    decimal::<u64>(number)?.checked_mul(milliseconds).map(Duration::from_millis)
}

/// A duration as the file would have it.
fn written(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// Loopback carries the redirection itself, and the others name no single machine.
fn is_unicast(address: &IpAddr) -> bool {
    kind_of(address) == "unicast"
}

fn kind_of(address: &IpAddr) -> &'static str {
    match address {
        address if address.is_unspecified() => "unspecified",
        address if address.is_loopback() => "loopback",
        address if address.is_multicast() => "multicast",
        IpAddr::V4(address) if address.is_broadcast() => "broadcast",
        _ => "unicast",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, ms) in [("500ms", 500), ("2s", 2000), ("1m", 60_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "10", "s", "1.5s", "-1s", "1 s", "1d", "1S", "01s", "99999999999999999999s", "9999999999999999999h"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for text in ["500ms", "2s", "1m", "90s", "1h"] {
            assert_eq!(duration(text).map(written).as_deref(), Some(text));
        }
    }

    #[test]
    fn numbers_that_yaml_versions_disagree_on_are_none() {
        for text in ["", "+1", "-1", "1_000", "0x10", "010", "1.0", "1e3", " 1", "256"] {
            assert_eq!(decimal::<u8>(text), None, "{text}");
        }
        assert_eq!((decimal::<u8>("0"), decimal::<u8>("255")), (Some(0), Some(255)));
    }
}
