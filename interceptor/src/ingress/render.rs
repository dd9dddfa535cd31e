//! From a wanted Ingress to the API object that is applied, and the judgement whether that is in force already.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::labels;
use super::plan::{Plan, Wanted};
use crate::config;

/// The objects of a plan, in order.
pub fn objects(plan: &Plan, settings: &config::Ingress) -> Vec<Ingress> {
    plan.wanted.iter().map(|((namespace, name), wanted)| object(namespace, name, wanted, settings)).collect()
}

/// One object with all that the manager owns of it.
pub fn object(namespace: &str, name: &str, wanted: &Wanted, settings: &config::Ingress) -> Ingress {
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: wanted.service.clone(),
            port: Some(ServiceBackendPort { name: None, number: Some(wanted.port) }),
        }),
        resource: None,
    };
    let path = HTTPIngressPath { path: Some("/".to_owned()), path_type: "Prefix".to_owned(), backend };
    let rule = |host: &String| IngressRule {
        host: Some(host.clone()),
        http: Some(HTTPIngressRuleValue { paths: vec![path.clone()] }),
    };
    let tls = settings.tls_secret.as_ref().map(|secret| {
        let secret = secret.replace("{service}", &wanted.service);
        vec![IngressTLS { hosts: Some(wanted.hosts.iter().cloned().collect()), secret_name: Some(secret) }]
    });
    let spec = IngressSpec {
        ingress_class_name: settings.class.clone(),
        rules: Some(wanted.hosts.iter().map(rule).collect()),
        tls,
        default_backend: None,
    };
    let labels =
        [(labels::MANAGED_BY, labels::MANAGER), (labels::SERVICE, &wanted.service), (labels::ROOT, &wanted.root)];
    let mut annotations = settings.annotations.clone();
    annotations.insert(labels::APPLIED.to_owned(), digest(&spec, &settings.annotations));
    Ingress {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// Whether `found` has everything of `wanted`. The digest tells of annotations that are wanted no more; the rest is
/// compared because others may have changed it since.
pub fn is_in_force(found: &Ingress, wanted: &Ingress) -> bool {
    let has = |found: &Option<BTreeMap<String, String>>, wanted: &Option<BTreeMap<String, String>>| {
        let empty = BTreeMap::new();
        let found = found.as_ref().unwrap_or(&empty);
        wanted.iter().flatten().all(|(key, value)| found.get(key) == Some(value))
    };
    let spec = match (&found.spec, &wanted.spec) {
        (Some(found), Some(wanted)) => {
            let class = wanted.ingress_class_name.is_none() || found.ingress_class_name == wanted.ingress_class_name;
            class && found.rules == wanted.rules && found.tls == wanted.tls
        }
        _ => false,
    };
    spec && has(&found.metadata.labels, &wanted.metadata.labels)
        && has(&found.metadata.annotations, &wanted.metadata.annotations)
}

/// FNV-1a over what is applied: it must stay the same across releases of the compiler, and nobody attacks it.
fn digest(spec: &IngressSpec, annotations: &BTreeMap<String, String>) -> String {
    let text = serde_json::json!([spec, annotations]).to_string();
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        let hosts = ["*.s.dev.servicea.x.io", "dev.servicea.x.io"].map(str::to_owned);
        Wanted { service: "servicea".into(), port: 80, root: "dev".into(), hosts: hosts.into() }
    }

    fn settings() -> config::Ingress {
        config::Ingress {
            class: Some("nginx".into()),
            tls_secret: Some("{service}-tls".into()),
            annotations: [("a/b".to_owned(), "c".to_owned())].into(),
        }
    }

    #[test]
    fn an_object_carries_everything_that_was_asked_for() {
        let object = serde_json::to_value(object("dev", "azds-servicea", &wanted(), &settings())).unwrap();
        assert_eq!(object["apiVersion"], "networking.k8s.io/v1");
        assert_eq!(object["spec"]["ingressClassName"], "nginx");
        assert_eq!(object["spec"]["tls"][0]["secretName"], "servicea-tls");
        assert_eq!(object["spec"]["tls"][0]["hosts"][0], "*.s.dev.servicea.x.io");
        let rule = &object["spec"]["rules"][1];
        assert_eq!((&rule["host"], &rule["http"]["paths"][0]["path"]), (&"dev.servicea.x.io".into(), &"/".into()));
        let backend = serde_json::json!({"service": {"name": "servicea", "port": {"number": 80}}});
        assert_eq!(rule["http"]["paths"][0]["backend"], backend);
        assert_eq!(object["metadata"]["labels"][labels::MANAGED_BY], labels::MANAGER);
        assert_eq!(object["metadata"]["annotations"]["a/b"], "c");
        let bare = super::object("dev", "x", &wanted(), &config::Ingress::default());
        let spec = bare.spec.unwrap();
        assert!(spec.ingress_class_name.is_none() && spec.tls.is_none());
    }

    #[test]
    fn what_is_in_force_is_told_from_what_is_not() {
        let wanted_object = object("dev", "azds-servicea", &wanted(), &settings());
        assert!(is_in_force(&wanted_object, &wanted_object));
        let mut found = wanted_object.clone();
        found.metadata.annotations.get_or_insert_default().insert("others".into(), "x".into());
        found.metadata.resource_version = Some("7".into());
        assert!(is_in_force(&found, &wanted_object), "what others add is theirs");

        let fewer = config::Ingress { annotations: BTreeMap::new(), ..settings() };
        assert!(!is_in_force(&found, &object("dev", "azds-servicea", &wanted(), &fewer)), "one is wanted no more");
        let port = Wanted { port: 81, ..wanted() };
        assert!(!is_in_force(&found, &object("dev", "azds-servicea", &port, &settings())));
        let mut changed = found.clone();
        changed.spec.as_mut().unwrap().rules = None;
        assert!(!is_in_force(&changed, &wanted_object), "somebody removed the rules");
        found.metadata.labels = None;
        assert!(!is_in_force(&found, &wanted_object));
        // The class that the API server gave where none was asked for.
        let unclassed = config::Ingress { class: None, ..settings() };
        let asked = object("dev", "azds-servicea", &wanted(), &unclassed);
        let mut given = asked.clone();
        given.spec.as_mut().unwrap().ingress_class_name = Some("default".into());
        assert!(is_in_force(&given, &asked));
    }
}
