//! `leases`: temporary changes that the host puts back whatever happens.

use std::collections::BTreeMap;

use cofferdam_policy::name::DataKey;
use wasmtime::component::Resource;

use crate::bindings::cofferdam::module::leases;
use crate::capability::object_action;
use crate::fault::{Answer, Fault};
use crate::host::LeaseRequest;
use crate::limits;
use crate::manifest::{ObjectVerb, RolloutVerb};
use crate::state::{CallState, LeaseEntry, TargetEntry};

impl leases::Host for CallState {
    async fn scale_to(
        &mut self,
        what: Resource<TargetEntry>,
        replicas: u32,
    ) -> Answer<Resource<LeaseEntry>> {
        let role = self.rollout(&what, RolloutVerb::Scale)?;
        self.take(LeaseRequest::Scale { role, replicas }).await
    }

    async fn edit_object(
        &mut self,
        group: String,
        name: String,
        changes: Vec<(String, String)>,
    ) -> Answer<Resource<LeaseEntry>> {
        let (group, name) = self.object(&group, &name, ObjectVerb::Lease)?;
        let bytes: usize = changes
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if changes.is_empty() || changes.len() > limits::PAIRS || bytes > limits::OBJECT_BYTES {
            return Err(Fault::invalid(format!(
                "a lease changes 1 to {} keys with {} bytes in all",
                limits::PAIRS,
                limits::OBJECT_BYTES
            )));
        }
        let mut keys = BTreeMap::new();
        for (key, value) in changes {
            let key = DataKey::parse(&key)?;
            if !self.binding.lease_keys(&group).contains(&key) {
                let subject = format!("key `{key}` of `{name}` in group `{group}`");
                let message = format!(
                    "{} declares no lease on key `{key}` in group `{group}`",
                    self.manifest_name()
                );
                return self.refuse(object_action(ObjectVerb::Lease), &subject, message);
            }
            if keys.insert(key.clone(), value).is_some() {
                return Err(Fault::invalid(format!("key `{key}` is given twice")));
            }
        }
        self.take(LeaseRequest::EditObject {
            group,
            name,
            changes: keys,
        })
        .await
    }
}

impl leases::HostLease for CallState {
    async fn release(&mut self, lease: Resource<LeaseEntry>) -> Answer<()> {
        let id = self.table.get(&lease)?.id;
        if !self.book.leases.contains(&id) {
            return Err(Fault::invalid("the lease was released already"));
        }
        let released = self.host.release_lease(id).await;
        self.answered(released)?;
        self.book.leases.retain(|held| *held != id);
        Ok(())
    }

    async fn drop(&mut self, lease: Resource<LeaseEntry>) -> wasmtime::Result<()> {
        self.table.delete(lease)?;
        Ok(())
    }
}

impl CallState {
    async fn take(&mut self, request: LeaseRequest) -> Answer<Resource<LeaseEntry>> {
        let taken = self.host.take_lease(request).await;
        let id = self.answered(taken)?;
        self.book.leases.push(id);
        Ok(self.table.push(LeaseEntry { id })?)
    }
}
