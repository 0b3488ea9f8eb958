//! What comes out of the gate: a permit or a denial.
//!
//! Nothing here may offer another way to make a [`Permit`] than [`Policy::permit`].

use crate::policy::Policy;
use crate::request::{Request, Scope};

/// A request the policy has allowed.
///
/// The fields are private and [`Policy::permit`] alone can fill them, so a function that takes a
/// `Permit` cannot be called for a request nobody checked:
///
/// ```compile_fail,E0451
/// use cofferdam_policy::{Decision, Permit};
/// use cofferdam_policy::request::{ArtifactOperation, UseArtifact};
///
/// let request = UseArtifact { artifact: "dump.sql".parse()?, operation: ArtifactOperation::Open };
/// let forged = Permit { request, decision: Decision { rules: vec![] } };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// nor with the bare request:
///
/// ```compile_fail,E0308
/// use cofferdam_policy::Permit;
/// use cofferdam_policy::request::{ArtifactOperation, UseArtifact};
///
/// fn open(_permit: &Permit<UseArtifact>) {}
///
/// let request = UseArtifact { artifact: "dump.sql".parse()?, operation: ArtifactOperation::Open };
/// open(&request);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The way in is the gate:
///
/// ```
/// use cofferdam_policy::request::{
///     ArtifactOperation, ModuleIdentity, Principal, RunKind, Scope, UseArtifact,
/// };
/// use cofferdam_policy::{Permit, Policy};
///
/// fn open(_permit: &Permit<UseArtifact>) {}
///
/// let rule = r#"
///     @id("own artifacts")
///     permit (
///       principal == Module::"mysql",
///       action == Action::"open-artifact",
///       resource in DataSet::"threescale/system-database"
///     );"#;
/// let policy = Policy::parse(&[("site.cedar".to_owned(), rule.to_owned())])?;
/// let scope = Scope {
///     principal: Principal::Module(ModuleIdentity {
///         name: "mysql".parse()?,
///         version: "0.1.0".to_owned(),
///         digest: format!("sha256:{}", "0".repeat(64)),
///         signer: None,
///     }),
///     application: "threescale".parse()?,
///     namespace: "3scale".parse()?,
///     data_set: Some("system-database".parse()?),
///     run: RunKind::Restore,
/// };
/// let request = UseArtifact { artifact: "dump.sql".parse()?, operation: ArtifactOperation::Open };
/// let permit = policy.permit(&scope, request)?;
/// assert_eq!(permit.decision().rules, ["own artifacts"]);
/// open(&permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a permit does nothing until it is handed to the cluster or the repository"]
pub struct Permit<R> {
    request: R,
    decision: Decision,
}

impl<R: Request> Permit<R> {
    /// The request that was allowed.
    pub fn request(&self) -> &R {
        &self.request
    }

    /// Which rules allowed it.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }
}

/// Which rules of which policy decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The ids of the policies that decided, sorted; `@id` annotations where a policy has one, else
    /// the file and the policy's place in it, such as `site.cedar:2`.
    pub rules: Vec<String>,
}

/// A request the policy has not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy does not allow `{capability}` on {subject}: {rule}")]
pub struct Denied {
    /// The action, such as `run-command`.
    pub capability: String,
    /// What it was asked for, as people name it, such as
    /// ``command `dump` in deployment/system-mysql (container system-mysql)``.
    pub subject: String,
    /// The `forbid` that matched, or `no rule permits it`, or the evaluation error.
    pub rule: String,
}

impl Policy {
    /// Decides on `request`, asked in `scope`.
    ///
    /// A command with secrets in its environment is allowed only where `run-command` *and*
    /// `use-secret` for each of them are.
    ///
    /// # Errors
    /// [`Denied`] when no rule permits it, a rule forbids it, or a rule cannot be evaluated.
    pub fn permit<R: Request>(&self, scope: &Scope, request: R) -> Result<Permit<R>, Denied> {
        self.decide(scope, request.any())
            .map(|decision| Permit { request, decision })
    }
}
