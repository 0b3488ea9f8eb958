//! Services as names: each leads to one ready pod that its selector matches. There is no
//! balancing and no cluster address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Ground, pods};
use crate::document;
use crate::selectors::Selector;

type Entries = Vec<(String, IpAddr)>;

/// The names as they were last told to the runtime.
#[derive(Debug, Default)]
pub(crate) struct Services {
    told: BTreeMap<String, Entries>,
}

impl Services {
    /// Tells the runtime the names of every namespace where they changed.
    pub(crate) fn reconcile(&mut self, ground: &Ground) {
        let mut wanted: BTreeMap<String, Entries> = BTreeMap::new();
        for service in ground.store.list("services", None).1 {
            let (namespace, name) = (document::namespace(&service), document::name(&service));
            let Some(selector) = service.pointer("/spec/selector") else {
                continue;
            };
            let selector = Selector::of_workload(selector);
            if selector.is_empty() {
                continue;
            }
            let (_, pods) = ground.store.list("pods", Some(namespace));
            let candidates = pods
                .iter()
                .filter(|pod| pods::is_active(pod) && selector.matches(pod));
            let address = candidates
                .filter_map(|pod| {
                    let address = document::text(pod, "/status/podIP")
                        .parse::<IpAddr>()
                        .ok()?;
                    Some((!pods::is_ready(pod), address))
                })
                .min();
            let Some((_, address)) = address else {
                continue;
            };
            let entries = wanted.entry(namespace.to_owned()).or_default();
            for suffix in ["", ".svc", ".svc.cluster.local"] {
                let place = if suffix.is_empty() {
                    name.to_owned()
                } else {
                    format!("{name}.{namespace}{suffix}")
                };
                entries.push((place, address));
            }
        }
        for (namespace, entries) in &wanted {
            if self.told.get(namespace) != Some(entries) {
                ground.runtime.set_hosts(namespace, entries.clone());
            }
        }
        for namespace in self
            .told
            .keys()
            .filter(|namespace| !wanted.contains_key(*namespace))
        {
            ground.runtime.set_hosts(namespace, Vec::new());
        }
        self.told = wanted;
    }
}
