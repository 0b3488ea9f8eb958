//! Looks at everything that a run needs, before it is needed; changes nothing.
//!
//! Asks as the host, not as a module: the base policy lets the host look, and nothing more.

use cofferdam_cluster::{AccessQuestion, Cluster};
use cofferdam_engine::manifest::Command;
use cofferdam_policy::Policy;
use cofferdam_policy::name::{PathName, PodPath};
use cofferdam_policy::request::{
    AccessFile, FileOperation, Principal, ResolveTarget, RunKind, Scope, Target,
};
use serde::Serialize;

use crate::access::{Right, rights};
use crate::plan::{Prepared, PreparedDataSet};

/// Where programs are looked for. A container's own `PATH` is not known without running something.
const PROGRAM_FOLDERS: [&str; 6] = [
    "/usr/bin",
    "/usr/local/bin",
    "/bin",
    "/usr/sbin",
    "/opt/rh/rh-redis32/root/usr/bin",
    "/usr/lib/postgresql/15/bin",
];

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// What was found.
    pub state: State,
    /// In one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// A run may fail for it.
    Warning,
    /// A run will fail for it.
    Failed,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            state: State::Ok,
            message: message.into(),
            hint: None,
        }
    }

    /// Something that a run will fail for.
    pub fn failed(
        subject: impl Into<String>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        Self {
            subject: subject.into(),
            state: State::Failed,
            message: message.into(),
            hint,
        }
    }

    /// Something that a run may fail for, or that a person should know.
    pub fn warning(subject: impl Into<String>, message: impl Into<String>, hint: &str) -> Self {
        Self {
            subject: subject.into(),
            state: State::Warning,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

/// Looks at the cluster for every prepared data set.
pub async fn look(prepared: &Prepared, cluster: &Cluster, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    match cluster.version().await {
        Ok(version) => findings.push(Finding::ok(
            "cluster",
            format!("{} answers, version {version}", cluster.url()),
        )),
        Err(error) => {
            findings.push(Finding::failed(
                "cluster",
                error.to_string(),
                error.hint().map(str::to_owned),
            ));
            return findings;
        }
    }
    findings.extend(look_at_rights(prepared, cluster).await);
    findings.extend(look_at_policy(prepared, policy));
    for of in &prepared.data_sets {
        for target in of.data_set.targets.values() {
            findings.extend(
                Looker {
                    prepared,
                    of,
                    cluster,
                    policy,
                    target,
                }
                .all()
                .await,
            );
        }
    }
    findings
}

async fn look_at_rights(prepared: &Prepared, cluster: &Cluster) -> Vec<Finding> {
    let namespace = prepared.application.namespace.to_string();
    let mut missing: Vec<Right> = Vec::new();
    let wanted = rights(&prepared.grants());
    for right in &wanted {
        let question = AccessQuestion {
            namespace: Some(namespace.clone()),
            verb: right.verb.to_owned(),
            group: right.group.clone(),
            resource: right.resource.clone(),
            subresource: right.subresource.clone(),
            name: right.name.clone(),
        };
        match cluster.can_i(&question).await {
            Ok(true) => {}
            Ok(false) => missing.push(right.clone()),
            Err(error) => {
                return vec![Finding::failed(
                    "rights",
                    error.to_string(),
                    error.hint().map(str::to_owned),
                )];
            }
        }
    }
    if missing.is_empty() {
        return vec![Finding::ok(
            "rights",
            format!(
                "all {} that the modules need in namespace `{namespace}`",
                wanted.len()
            ),
        )];
    }
    let hint = "bind a Role with these rights to the account of the kubeconfig";
    missing
        .iter()
        .map(|right| {
            Finding::failed(
                "rights",
                format!("may not `{right}` in namespace `{namespace}`"),
                Some(hint.into()),
            )
        })
        .collect()
}

fn look_at_policy(prepared: &Prepared, policy: &Policy) -> Vec<Finding> {
    let inspection = policy.inspect(&prepared.grants());
    if inspection.denied.is_empty() {
        return vec![Finding::ok(
            "policy",
            format!(
                "allows all {} requests that the manifests declare",
                inspection.allowed
            ),
        )];
    }
    let hint = "a module that asks for it will be refused; that may be what the site wants";
    let mut texts: Vec<String> = inspection.denied.iter().map(ToString::to_string).collect();
    texts.dedup();
    texts
        .into_iter()
        .map(|text| Finding::warning("policy", text, hint))
        .collect()
}

struct Looker<'a> {
    prepared: &'a Prepared,
    of: &'a PreparedDataSet,
    cluster: &'a Cluster,
    policy: &'a Policy,
    target: &'a Target,
}

impl Looker<'_> {
    async fn all(&self) -> Vec<Finding> {
        let subject = format!("{} `{}`", self.of.data_set.name, self.target.role);
        let request = ResolveTarget {
            target: self.target.clone(),
        };
        let permit = match self.policy.permit(&self.scope(), request) {
            Ok(permit) => permit,
            Err(denied) => return vec![Finding::failed(subject, denied.to_string(), None)],
        };
        let pod = match self.cluster.ready_pod(&permit).await {
            Ok(pod) => pod,
            Err(error) => {
                return vec![Finding::failed(
                    subject,
                    error.to_string(),
                    error.hint().map(str::to_owned),
                )];
            }
        };
        let place = format!(
            "{} has the ready pod `{}` with container `{}`",
            self.target.workload,
            pod.name(),
            self.target.container
        );
        let mut findings = vec![Finding::ok(subject.clone(), place)];
        if let Ok(state) = self.cluster.target(&permit).await
            && !state.ephemeral_volumes.is_empty()
        {
            let volumes = state.ephemeral_volumes.join(", ");
            let hint = "what is restored there is lost with the pod: do not roll it afterwards";
            findings.push(Finding::warning(
                subject.clone(),
                format!("its volumes {volumes} end with the pod"),
                hint,
            ));
        }
        let commands = self.of.module.manifest().commands.values();
        let mut programs: Vec<String> = commands
            .filter(|command| command.target == self.target.role)
            .filter_map(program)
            .collect();
        programs.sort();
        programs.dedup();
        for program in programs {
            findings.push(self.look_at_program(&subject, &pod, &program).await);
        }
        findings
    }

    async fn look_at_program(
        &self,
        subject: &str,
        pod: &cofferdam_cluster::Pod,
        program: &str,
    ) -> Finding {
        let places: Vec<String> = if program.starts_with('/') {
            vec![program.to_owned()]
        } else {
            PROGRAM_FOLDERS
                .iter()
                .map(|folder| format!("{folder}/{program}"))
                .collect()
        };
        for place in places {
            match self.stat(pod, &place).await {
                Ok(true) => {
                    return Finding::ok(subject, format!("`{program}` is there as `{place}`"));
                }
                Ok(false) => {}
                Err(reason) => return Finding::failed(subject, reason, None),
            }
        }
        Finding::warning(
            subject,
            format!("`{program}` is in none of {}", PROGRAM_FOLDERS.join(", ")),
            "the container's PATH may still have it; else choose a container that has the program",
        )
    }

    async fn stat(&self, pod: &cofferdam_cluster::Pod, place: &str) -> Result<bool, String> {
        let path = PodPath::parse(place).map_err(|invalid| invalid.to_string())?;
        let name = PathName::parse("program").map_err(|invalid| invalid.to_string())?;
        let request = AccessFile {
            target: self.target.clone(),
            name,
            path,
            operation: FileOperation::Stat,
        };
        let permit = self
            .policy
            .permit(&self.scope(), request)
            .map_err(|denied| denied.to_string())?;
        self.cluster
            .stat(&permit, pod)
            .await
            .map(|found| found.is_some())
            .map_err(|error| error.to_string())
    }

    fn scope(&self) -> Scope {
        Scope {
            principal: Principal::Host,
            application: self.prepared.application.name.clone(),
            namespace: self.prepared.application.namespace.clone(),
            data_set: Some(self.of.data_set.name.clone()),
            run: RunKind::Backup,
        }
    }
}

/// The program of a command: its first word, which has no hole.
fn program(command: &Command) -> Option<String> {
    command
        .argv
        .first()
        .map(cofferdam_engine::manifest::Template::text)
}
