//! 3scale as it is installed: which era, which workloads, by looking at the namespace.
//!
//! Must never tell an era by a label of a pod: `deployment=backend-redis-7` stands on pods of a
//! DeploymentConfig. Workloads are read by kind and name, and what cannot be told is refused.

mod file;
mod quiet;
mod recipe;
mod seen;

use cofferdam_cluster::{Cluster, Error as ClusterError, Refusal, TargetState};
use cofferdam_policy::name::{ApplicationName, ContainerName, Namespace, ObjectName, RoleName};
use cofferdam_policy::request::{
    Principal, ResolveTarget, RunKind, Scope, Target, Workload, WorkloadKind,
};
use cofferdam_policy::{Denied, Policy};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

pub use file::{Draft, Heading, NotCovered, draft};
use seen::OPERATOR;
pub use seen::{Component, Found, Seen, Undecided, find};

/// How the operator installs 3scale; each era is handled in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// 2.10 to 2.14: DeploymentConfigs.
    A,
    /// 2.15: Deployments, with databases among them.
    B,
    /// 2.16 and later: Deployments; system database and both Redis are elsewhere.
    C,
}

impl Era {
    /// The kind of its workloads.
    pub fn kind(self) -> WorkloadKind {
        match self {
            Self::A => WorkloadKind::DeploymentConfig,
            Self::B | Self::C => WorkloadKind::Deployment,
        }
    }
}

impl std::fmt::Display for Era {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::A => "A (2.10 to 2.14: DeploymentConfigs)",
            Self::B => "B (2.15: Deployments, databases inside)",
            Self::C => "C (2.16 and later: Deployments, databases outside)",
        })
    }
}

/// What an application file says of 3scale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Declared {
    /// The era that its workloads are of.
    pub era: Era,
    /// Whether a person said so with `--era`, so that no run looks for another.
    #[serde(default)]
    pub asserted: bool,
}

/// The era of a run, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownEra {
    /// The era.
    pub era: Era,
    /// How it is known.
    pub by: Source,
}

/// How an era is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The workloads were looked at.
    Looking,
    /// Somebody said so.
    Assertion,
    /// By the application file alone: the workloads are not there, or may not be looked at.
    File,
}

impl std::fmt::Display for KnownEra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = match self.by {
            Source::Looking => "found by looking",
            Source::Assertion => "asserted in the application file",
            Source::File => "by the application file alone",
        };
        write!(f, "3scale era {}, {by}", self.era)
    }
}

/// Why the era of a namespace cannot be looked at, or is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum EraError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The policy.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// What was seen does not tell.
    #[error("namespace `{namespace}`: {undecided}")]
    Undecided {
        /// The namespace.
        namespace: Namespace,
        /// Why.
        undecided: Undecided,
    },
    /// The file was written for something else.
    #[error(
        "the application file is for 3scale era {declared}, and namespace `{namespace}` holds era {found}"
    )]
    Another {
        /// The namespace.
        namespace: Namespace,
        /// What the file says.
        declared: Era,
        /// What was found.
        found: Era,
    },
}

impl EraError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint().map(str::to_owned),
            Self::Denied(_) => {
                Some("let the host resolve targets in the policy, or assert the era".into())
            }
            Self::Undecided { undecided, .. } => Some(undecided.hint().into()),
            Self::Another { .. } => Some(
                "write the files anew with `cofferdam init threescale --force`, and read the difference"
                    .into(),
            ),
        }
    }
}

/// Looks for the components of 3scale, each as each of `kinds`.
///
/// # Errors
/// [`EraError`] when the cluster or the policy does not let anything be looked at. A kind that the
/// account may not read is not an error: it is noted in what was seen.
pub async fn look(
    cluster: &Cluster,
    policy: &Policy,
    application: &ApplicationName,
    namespace: &Namespace,
    kinds: &[WorkloadKind],
) -> Result<Seen, EraError> {
    let scope = Scope {
        principal: Principal::Host,
        application: application.clone(),
        namespace: namespace.clone(),
        data_set: None,
        run: RunKind::Backup,
    };
    let mut places: Vec<(Component, WorkloadKind)> = Component::all()
        .flat_map(|component| kinds.iter().map(move |&kind| (component, kind)))
        .collect();
    places.push((OPERATOR, WorkloadKind::Deployment));
    let mut permits = Vec::new();
    for (component, kind) in places {
        let target = Target {
            role: RoleName::parse("looked-at").expect("a role"),
            namespace: namespace.clone(),
            workload: Workload {
                kind,
                name: ObjectName::parse(component.name).expect("the table holds names"),
            },
            container: ContainerName::parse(component.container).expect("the table holds names"),
        };
        permits.push((
            component,
            kind,
            policy.permit(&scope, ResolveTarget { target })?,
        ));
    }
    let looks = permits.iter().map(|(component, kind, permit)| async move {
        match cluster.target(permit).await {
            Ok(state) => Ok((*component, *kind, Look::There(state))),
            Err(ClusterError::NoWorkload { .. }) => Ok((*component, *kind, Look::Absent)),
            Err(ClusterError::Api {
                refusal: Refusal::Forbidden,
                ..
            }) => Ok((*component, *kind, Look::Forbidden)),
            Err(error) => Err(EraError::from(error)),
        }
    });
    // As many at once as a browser would; the API server counts.
    let mut looks = futures::stream::iter(looks).buffered(6);
    let mut seen = Seen::default();
    while let Some((component, kind, looked)) = looks.try_next().await? {
        match looked {
            Look::There(_) if component == OPERATOR => seen.operate(),
            Look::There(state) => {
                seen.own(state.owners);
                seen.add(component, kind, state.containers);
            }
            // Whether the operator is here does not tell the era.
            Look::Forbidden if component == OPERATOR => {}
            Look::Absent => {}
            Look::Forbidden => seen.forbid(kind),
        }
    }
    Ok(seen)
}

enum Look {
    There(TargetState),
    Absent,
    Forbidden,
}

/// The era of a run: looked for and held against what the application file declares. A sentence
/// comes with it where a person should look.
///
/// # Errors
/// [`EraError`] when an upgrade is under way, or the file was written for workloads of another kind.
pub async fn verify(
    cluster: &Cluster,
    policy: &Policy,
    application: &ApplicationName,
    namespace: &Namespace,
    declared: &Declared,
) -> Result<(KnownEra, Option<String>), EraError> {
    if declared.asserted {
        let known = KnownEra {
            era: declared.era,
            by: Source::Assertion,
        };
        return Ok((known, None));
    }
    let kinds = [WorkloadKind::DeploymentConfig, WorkloadKind::Deployment];
    let seen = look(cluster, policy, application, namespace, &kinds).await?;
    compare(namespace, declared, &seen)
}

/// Holds what was seen against what is declared.
fn compare(
    namespace: &Namespace,
    declared: &Declared,
    seen: &Seen,
) -> Result<(KnownEra, Option<String>), EraError> {
    let by_file = KnownEra {
        era: declared.era,
        by: Source::File,
    };
    match find(seen) {
        Ok(found) if found.era == declared.era => {
            let by = Source::Looking;
            Ok((KnownEra { by, ..by_file }, None))
        }
        Ok(found) if found.era.kind() == declared.era.kind() => {
            // Not a contradiction by itself: during a restore the databases may not be there yet.
            let warning = format!(
                "the application file is for 3scale era {}, and namespace `{namespace}` looks like era {}: run `cofferdam init threescale` again if databases have moved",
                declared.era, found.era
            );
            Ok((by_file, Some(warning)))
        }
        Ok(found) => Err(EraError::Another {
            namespace: namespace.clone(),
            declared: declared.era,
            found: found.era,
        }),
        Err(undecided @ (Undecided::Nothing | Undecided::Forbidden { .. })) => {
            let warning = format!("the era of 3scale was not looked at: {undecided}");
            Ok((by_file, Some(warning)))
        }
        Err(undecided) => Err(EraError::Undecided {
            namespace: namespace.clone(),
            undecided,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(workloads: &[(&str, WorkloadKind)]) -> Seen {
        let mut seen = Seen::default();
        for (name, kind) in workloads {
            let component = Component::named(name).expect("a component");
            seen.add(component, *kind, vec![component.container.to_owned()]);
        }
        seen
    }

    #[track_caller]
    fn check(declared: Era, workloads: &[(&str, WorkloadKind)], wanted: &str) {
        let namespace = Namespace::parse("3scale").expect("a name");
        let declared = Declared {
            era: declared,
            asserted: false,
        };
        let told = match compare(&namespace, &declared, &seen(workloads)) {
            Ok((known, warning)) => format!("{known}; {}", warning.unwrap_or_default()),
            Err(error) => format!("refused: {error}"),
        };
        assert!(told.contains(wanted), "{told}\n does not contain\n{wanted}");
    }

    const CONFIG: WorkloadKind = WorkloadKind::DeploymentConfig;
    const DEPLOYMENT: WorkloadKind = WorkloadKind::Deployment;

    #[test]
    fn the_era_that_is_found_is_the_one_of_the_file() {
        check(
            Era::A,
            &[("system-mysql", CONFIG), ("system-app", CONFIG)],
            "3scale era A (2.10 to 2.14: DeploymentConfigs), found by looking; ",
        );
    }

    #[test]
    fn a_file_of_another_era_is_refused() {
        check(
            Era::A,
            &[("system-mysql", DEPLOYMENT)],
            "refused: the application file is for 3scale era A (2.10 to 2.14: DeploymentConfigs), and namespace `3scale` holds era B",
        );
    }

    #[test]
    fn an_upgrade_under_way_is_refused_in_a_run_too() {
        check(
            Era::B,
            &[("system-mysql", CONFIG), ("system-mysql", DEPLOYMENT)],
            "refused: namespace `3scale`: there both as a DeploymentConfig and as a Deployment: `system-mysql`",
        );
    }

    #[test]
    fn a_restore_into_an_empty_namespace_goes_by_the_file() {
        check(
            Era::B,
            &[],
            "by the application file alone; the era of 3scale was not looked at",
        );
    }

    #[test]
    fn databases_that_have_moved_out_are_said() {
        check(Era::B, &[("system-app", DEPLOYMENT)], "looks like era C");
    }
}
