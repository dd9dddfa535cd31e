//! What every condition lets through, and what is refused as a filter.

use super::super::samples;
use super::*;

/// Whether a filter shows the sample connection (opaque, redis.default) and the sample request (serviceB.default, 200).
fn shows(query: &str) -> (bool, bool) {
    let filter = Filter::from_query(query).unwrap();
    (filter.matches(&samples::connection(1)), filter.matches(&samples::request(1)))
}

#[test]
fn every_condition_lets_through_what_it_names_and_nothing_else() {
    for (query, expected) in [
        ("", (true, true)),
        ("workload=serviceA-azureuser", (true, true)),
        ("workload=serviceA", (false, false)),
        ("space=azureuser", (false, true)),
        ("space=default", (true, false)),
        ("service=serviceB", (false, true)),
        ("service=serviceB.default", (false, true)),
        ("service=serviceB.azureuser", (false, false)),
        ("service=redis.default", (true, false)),
        ("service=redis.", (false, false)),
        ("verdict=forwarded", (true, true)),
        ("verdict=redirected", (false, false)),
        ("status=200", (false, true)),
        ("status=2xx", (false, true)),
        ("status=201", (false, false)),
        ("status=5xx", (false, false)),
        ("protocol=opaque", (true, false)),
        ("protocol=http1", (false, true)),
        ("kind=connection", (true, false)),
        ("kind=request", (false, true)),
        ("kind=request&verdict=error", (false, false)),
        ("workload=&kind=request", (false, true)),
    ] {
        assert_eq!(shows(query), expected, "{query}");
    }
}

#[test]
fn a_request_that_went_elsewhere_is_found_by_both_services() {
    let mut record = samples::request_record(1);
    record.target.as_mut().unwrap().service = Some(samples::service("serviceB", "azureuser"));
    let record = Record::Request(record);
    for query in ["service=serviceB.default", "service=serviceB.azureuser"] {
        assert!(Filter::from_query(query).unwrap().matches(&record), "{query}");
    }
}

#[test]
fn a_filter_survives_its_query_string() {
    let query =
        "workload=a%20b&space=azureuser&service=serviceB.default&verdict=error&status=5xx&protocol=http1&kind=request";
    assert_eq!(Filter::from_query(query).unwrap().to_query(), query);
    assert_eq!(Filter::default().to_query(), "");
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_there_is() {
    for (query, message) in [
        ("status=abc", "\"abc\" is no status; use a status (503) or a class (5xx)"),
        ("status=42", "\"42\" is no status; use a status (503) or a class (5xx)"),
        ("verdict=ok", "\"ok\" is no verdict; use forwarded, redirected, refused or error"),
        (
            "colour=red",
            "there is no filter \"colour\"; there are workload, space, service, verdict, status, protocol, kind",
        ),
        ("kind=%zz", "the query string is not valid: \"%zz\" is not percent-encoded UTF-8"),
    ] {
        assert_eq!(Filter::from_query(query).unwrap_err().to_string(), message, "{query}");
    }
}
