//! What an API server fills into a new object, as far as the agent or a person would miss it.

use serde_json::{Value, json};

use super::resource::Resource;

/// Fills the gaps of a new object; `number` makes addresses that no other object of this server has.
pub(crate) fn fill(resource: &Resource, object: &mut Value, number: u64) {
    match resource.plural {
        "namespaces" => {
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = object["metadata"]["name"].clone();
            missing(object, "spec", json!({"finalizers": ["kubernetes"]}));
            missing(object, "status", json!({"phase": "Active"}));
        }
        "services" => service(object, number),
        "pods" => missing(object, "status", json!({"phase": "Pending"})),
        _ => {}
    }
}

fn missing(object: &mut Value, key: &str, value: Value) {
    if object[key].is_null() {
        object[key] = value;
    }
}

fn service(object: &mut Value, number: u64) {
    missing(object, "status", json!({"loadBalancer": {}}));
    let spec = &mut object["spec"];
    missing(spec, "type", json!("ClusterIP"));
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        missing(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        missing(port, "targetPort", number);
    }
    if spec["type"] == "ExternalName" {
        return;
    }
    if spec["clusterIP"].is_null() {
        let own = json!(format!("10.97.{}.{}", number / 250 % 256, number % 250 + 1));
        let address = spec["clusterIPs"].get(0).cloned().unwrap_or(own);
        spec["clusterIP"] = address;
    }
    if spec["clusterIPs"].is_null() {
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
    }
}
