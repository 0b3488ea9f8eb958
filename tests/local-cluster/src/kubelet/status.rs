//! The status of a pod from the states of its containers. Pure: it writes no object.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::document;

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Waiting {
        reason: String,
        message: String,
    },
    Running {
        since: String,
    },
    Terminated {
        code: i32,
        since: String,
        until: String,
    },
}

/// One container as the status tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) state: State,
    pub(crate) last: Option<State>,
    pub(crate) ready: bool,
    pub(crate) restarts: u32,
    /// Whether the container will not be started again.
    pub(crate) final_end: bool,
}

impl Container {
    /// Before its first start.
    pub(crate) fn creating() -> Self {
        Self {
            state: State::Waiting {
                reason: "ContainerCreating".to_owned(),
                message: String::new(),
            },
            last: None,
            ready: false,
            restarts: 0,
            final_end: false,
        }
    }
}

/// What is known of a pod.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) address: Option<String>,
    pub(crate) started: String,
    pub(crate) initialized: bool,
}

/// The `status` object. `previous` gives the times of conditions that did not change.
pub(crate) fn object(pod: &Value, known: &Known, previous: &Value) -> Value {
    let specs = document::items(pod, "/spec/containers");
    let states: Vec<(&Value, Container)> = specs
        .iter()
        .map(|spec| {
            let state = known.containers.get(document::text(spec, "/name")).cloned();
            (spec, state.unwrap_or_else(Container::creating))
        })
        .collect();
    let all_ready = known.initialized && states.iter().all(|(_, state)| state.ready);
    let mut status = json!({
        "phase": phase(known, &states),
        "conditions": [
            condition("PodReadyToStartContainers", known.address.is_some(), previous),
            condition("Initialized", known.initialized, previous),
            condition("Ready", all_ready, previous),
            condition("ContainersReady", all_ready, previous),
            condition("PodScheduled", true, previous),
        ],
        "hostIP": "127.0.0.1",
        "startTime": known.started,
        "containerStatuses":
            states.iter().map(|(spec, state)| container(pod, spec, state)).collect::<Vec<_>>(),
        "qosClass": "BestEffort",
    });
    if let Some(address) = &known.address {
        document::set(&mut status, "/podIP", json!(address));
        document::set(&mut status, "/podIPs", json!([{"ip": address}]));
    }
    status
}

fn phase(known: &Known, states: &[(&Value, Container)]) -> &'static str {
    let code = |state: &Container| match (&state.state, state.final_end) {
        (State::Terminated { code, .. }, true) => Some(*code),
        _ => None,
    };
    let codes: Vec<i32> = states.iter().filter_map(|(_, state)| code(state)).collect();
    let started = states
        .iter()
        .any(|(_, state)| state.restarts > 0 || !matches!(state.state, State::Waiting { .. }));
    if !known.initialized || !started {
        "Pending"
    } else if codes.len() < states.len() {
        "Running"
    } else if codes.iter().all(|code| *code == 0) {
        "Succeeded"
    } else {
        "Failed"
    }
}

fn condition(kind: &str, holds: bool, previous: &Value) -> Value {
    let status = if holds { "True" } else { "False" };
    let before = document::items(previous, "/conditions")
        .iter()
        .find(|condition| document::text(condition, "/type") == kind)
        .filter(|condition| document::text(condition, "/status") == status)
        .map(|condition| document::text(condition, "/lastTransitionTime").to_owned());
    let mut condition = json!({
        "type": kind, "status": status, "lastProbeTime": null,
        "lastTransitionTime": before.unwrap_or_else(document::now),
    });
    if !holds && matches!(kind, "Ready" | "ContainersReady") {
        document::set(&mut condition, "/reason", json!("ContainersNotReady"));
    }
    condition
}

fn container(pod: &Value, spec: &Value, container: &Container) -> Value {
    let id = format!(
        "local://{}/{}",
        document::uid(pod),
        document::text(spec, "/name")
    );
    let mut status = json!({
        "name": document::text(spec, "/name"),
        "state": state(&container.state),
        "lastState": container.last.as_ref().map_or(json!({}), state),
        "ready": container.ready,
        "restartCount": container.restarts,
        "image": document::text(spec, "/image"),
        "imageID": "",
        "started": matches!(container.state, State::Running { .. }),
    });
    if !matches!(container.state, State::Waiting { .. }) {
        document::set(&mut status, "/containerID", json!(id));
    }
    status
}

fn state(state: &State) -> Value {
    match state {
        State::Waiting { reason, message } if message.is_empty() => {
            json!({"waiting": {"reason": reason}})
        }
        State::Waiting { reason, message } => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        State::Running { since } => json!({"running": {"startedAt": since}}),
        State::Terminated { code, since, until } => json!({"terminated": {
            "exitCode": code, "reason": if *code == 0 { "Completed" } else { "Error" },
            "startedAt": since, "finishedAt": until,
        }}),
    }
}
