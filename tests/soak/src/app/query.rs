//! What a client asks of a copy, in the query of its target.

/// The wishes of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// The request's id.
    pub(crate) id: u64,
    /// Bytes of the response.
    pub(crate) size: usize,
    /// Whether it is to come in chunks.
    pub(crate) chunked: bool,
    /// Milliseconds that it is to take.
    pub(crate) slow: u64,
}

impl Query {
    /// Reads `/PATH?id=…&size=…`; what is not there is nothing.
    pub(crate) fn of(target: &str) -> Query {
        let mut all = Query::default();
        let pairs = target.split_once('?').map_or("", |(_, pairs)| pairs);
        for (key, value) in pairs.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "id" => all.id = value.parse().unwrap_or_default(),
                "size" => all.size = value.parse().unwrap_or_default(),
                "chunked" => all.chunked = value == "true",
                "slow" => all.slow = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        all
    }

    /// The other way round.
    pub(crate) fn target(&self, path: &str) -> String {
        format!("{path}?id={}&size={}&chunked={}&slow={}", self.id, self.size, self.chunked, self.slow)
    }

    /// The bytes of the response.
    pub(crate) fn body(&self) -> Vec<u8> {
        // Not those that a request with the same id has.
        crate::random::bytes(!self.id, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn a_query_is_read_as_it_was_written() {
        let query = Query { id: 7, size: 12, chunked: true, slow: 5 };
        assert_eq!(Query::of(&query.target("/echo")), query);
        assert_eq!(Query::of("/echo"), Query::default());
    }
}
