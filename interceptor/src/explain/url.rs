//! The URL that somebody wants explained: what of it matters to a connection.

use hyper::Uri;

/// A URL's parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// The host without brackets.
    pub(super) host: String,
    /// The port, that of the scheme where none is written.
    pub(super) port: u16,
    /// Host and port as written: what a client sends as Host.
    pub(super) authority: String,
    /// Whether it is https.
    pub(super) tls: bool,
}

/// A URL that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL.
    #[error("{url:?} is no URL: {why}")]
    Syntax {
        /// The URL.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Its scheme is not spoken here.
    #[error("the scheme of {0:?} is neither http nor https")]
    Scheme(String),
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        let shown = || text.chars().take(200).collect::<String>();
        let syntax = |why: &str| UrlError::Syntax { url: shown(), why: why.to_owned() };
        // `serviceB/path` is what people type.
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = full.parse().map_err(|error: http::uri::InvalidUri| syntax(&error.to_string()))?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(UrlError::Scheme(shown())),
        };
        let authority = uri.authority().ok_or_else(|| syntax("it has no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(syntax("it has no host"));
        }
        let sent = authority.as_str().rsplit('@').next().unwrap_or_default().to_owned();
        let port = match sent.strip_prefix(authority.host()) {
            None | Some("") => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(_) => authority.port_u16().filter(|port| *port != 0).ok_or_else(|| syntax("its port is none"))?,
        };
        Ok(Self { host: host.to_owned(), port, authority: sent, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (String, u16, String, bool) {
        let url = Url::parse(url).unwrap();
        (url.host, url.port, url.authority, url.tls)
    }

    #[test]
    fn a_url_or_a_host_alone_is_read() {
        let owned = |host: &str, port, authority: &str, tls| (host.to_owned(), port, authority.to_owned(), tls);
        assert_eq!(parts("http://serviceB/a?b"), owned("serviceB", 80, "serviceB", false));
        assert_eq!(parts("serviceB:8080/x"), owned("serviceB", 8080, "serviceB:8080", false));
        assert_eq!(parts("https://u:p@serviceB.default"), owned("serviceB.default", 443, "serviceB.default", true));
        assert_eq!(parts("http://[fd00::1]:81/"), owned("fd00::1", 81, "[fd00::1]:81", false));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in [
            "",
            "http://",
            "ftp://serviceB/",
            "http://a b/",
            "http://serviceB:99999/",
            "http://:80/",
            "http://serviceB:0/",
        ] {
            assert!(Url::parse(url).is_err(), "{url}");
        }
    }
}
