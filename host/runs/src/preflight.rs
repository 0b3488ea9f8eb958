//! Looks at everything that a run needs, before it is needed; changes nothing.
//!
//! Asks as the host, not as a module: the base policy lets the host look, and nothing more.

use std::path::Path;

use cofferdam_cluster::{AccessQuestion, Cluster, TargetState};
use cofferdam_engine::manifest::{Access, Command, DeclaredStdin};
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

/// Empty whenever a machine starts, by the Filesystem Hierarchy Standard: for sockets, locks and
/// shared memory. No server keeps data there.
const RUN_TIME_FOLDERS: [&str; 3] = ["/run", "/var/run", "/dev/shm"];

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
        if let Ok(state) = self.cluster.target(&permit).await {
            findings.extend(ephemeral(&subject, &state, &self.brings()));
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

    /// What a restore brings into the pod.
    fn brings(&self) -> Brings<'_> {
        let role = &self.target.role;
        let manifest = self.of.module.manifest();
        let bound = manifest.paths.keys();
        let paths = bound.filter_map(|name| self.of.binding.path(name));
        Brings {
            // A script may restore as well as an artifact does: RMAN's does.
            to_programs: manifest.commands.values().any(|command| {
                command.target == *role && !matches!(command.stdin, DeclaredStdin::None)
            }),
            to_paths: paths
                .filter(|(declared, _)| declared.target == *role)
                .filter(|(declared, _)| declared.access == Access::Write)
                .map(|(_, place)| place.as_str())
                .collect(),
        }
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

/// What a restore brings into a pod.
struct Brings<'a> {
    /// Whether a program that is fed may, in a folder that is not known here.
    to_programs: bool,
    /// The declared paths that may be written.
    to_paths: Vec<&'a str>,
}

/// A warning of the volumes that end with the pod and that may hold what is restored.
///
/// Told apart only where no doubt is left: a path may lead elsewhere by a link, so a data set that
/// brings anything into the pod is told of all volumes but those for running programs.
fn ephemeral(subject: &str, state: &TargetState, brings: &Brings<'_>) -> Option<Finding> {
    if !brings.to_programs && brings.to_paths.is_empty() {
        return None;
    }
    let is_in = |place: &str, folder: &str| Path::new(place).starts_with(folder);
    let may_hold = |place: &String| {
        let mut paths = brings.to_paths.iter();
        !RUN_TIME_FOLDERS.iter().any(|folder| is_in(place, folder))
            || paths.any(|path| is_in(path, place) || is_in(place, path))
    };
    let volumes: Vec<&str> = state
        .ephemeral_volumes
        .iter()
        .filter(|volume| volume.places.iter().any(may_hold))
        .map(|volume| volume.name.as_str())
        .collect();
    if volumes.is_empty() {
        return None;
    }
    Some(Finding::warning(
        subject,
        format!("its volumes {} end with the pod", volumes.join(", ")),
        "what is restored there is lost with the pod: do not roll it afterwards",
    ))
}

/// The program of a command: its first word, which has no hole.
fn program(command: &Command) -> Option<String> {
    command
        .argv
        .first()
        .map(cofferdam_engine::manifest::Template::text)
}

#[cfg(test)]
mod tests {
    use cofferdam_cluster::EphemeralVolume;
    use cofferdam_policy::name::ObjectName;
    use cofferdam_policy::request::{Workload, WorkloadKind};

    use super::*;

    #[track_caller]
    fn check(volumes: &[(&str, &[&str])], to_programs: bool, to_paths: &[&str], wanted: &str) {
        let ephemeral_volumes = volumes.iter().map(|(name, places)| EphemeralVolume {
            name: (*name).to_owned(),
            places: places.iter().map(|&place| place.to_owned()).collect(),
        });
        let state = TargetState {
            workload: Workload {
                kind: WorkloadKind::Deployment,
                name: ObjectName::parse("server").expect("a name"),
            },
            selector: String::new(),
            containers: Vec::new(),
            container_exists: true,
            replicas: 1,
            generation: 1,
            strategy: String::new(),
            ephemeral_volumes: ephemeral_volumes.collect(),
            owners: Vec::new(),
        };
        let brings = Brings {
            to_programs,
            to_paths: to_paths.to_vec(),
        };
        let told = ephemeral("server", &state, &brings);
        assert_eq!(told.map_or("none".to_owned(), |told| told.message), wanted);
    }

    #[test]
    fn a_volume_that_ends_with_the_pod_is_told_where_it_may_hold_what_is_restored() {
        let data: (&str, &[&str]) = ("data", &["/var/lib/pgsql/data"]);
        let run: (&str, &[&str]) = ("run", &["/run/mysqld"]);
        let only_data = "its volumes data end with the pod";
        check(&[data, run], true, &[], only_data);
        check(&[run, ("shm", &["/dev/shm"])], true, &[], "none");
        check(
            &[("odd", &["/runner"])],
            true,
            &[],
            "its volumes odd end with the pod",
        );
        // A path may lead there by a link.
        check(&[data, run], false, &["/opt/system"], only_data);
        // One container may serve from what another has for its sockets.
        let both: (&str, &[&str]) = ("both", &["/run/mysqld", "/srv"]);
        check(&[both], true, &[], "its volumes both end with the pod");
        for path in ["/run/mysqld/files", "/run"] {
            check(&[run], false, &[path], "its volumes run end with the pod");
        }
        // Nothing is restored into the pod of what is only rolled, or asked; nor where no container is.
        check(&[data, run], false, &[], "none");
        check(&[("nowhere", &[])], true, &[], "none");
    }
}
