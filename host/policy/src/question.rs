//! A request as the questions that Cedar is asked about it.
//!
//! The whole effect of a request goes into its questions: what is left out here is not gated.

use cedar_policy::{Context, Entity, EntityUid, RestrictedExpression};

use crate::cedar::{self, Kind};
use crate::name::{DataKey, PathName, PodPath};
use crate::quote;
use crate::request::{
    AccessFile, AccessObject, AnyRequest, Change, EnvironmentSource, FileOperation, ObjectKind,
    Principal, ProcessTemplate, RolloutOperation, RunCommand, Scope, Stdin, Target, Value,
    Workload,
};
use crate::subject::{capability, secret, subject};

/// One question to Cedar.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) capability: &'static str,
    pub(crate) subject: String,
    pub(crate) principal: EntityUid,
    pub(crate) resource: EntityUid,
    pub(crate) context: Context,
    pub(crate) entities: Vec<Entity>,
}

/// Why a request cannot be put to Cedar; it is a denial.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unaskable {
    #[error("`{0}` is set twice in its environment")]
    VariableTwice(String),
    #[error("the value of hole `{0}` is larger than a policy can compare")]
    HoleTooLarge(String),
    #[error("it names two different things `{0}`")]
    TwoThings(String),
    #[error("its timeout is longer than a policy can compare")]
    TimeoutTooLong,
    #[error("it cannot be put to the policy: {0}")]
    Cedar(String),
}

impl From<cedar_policy::EntityAttrEvaluationError> for Unaskable {
    fn from(error: cedar_policy::EntityAttrEvaluationError) -> Self {
        Self::Cedar(error.to_string())
    }
}

impl From<cedar_policy::ContextCreationError> for Unaskable {
    fn from(error: cedar_policy::ContextCreationError) -> Self {
        Self::Cedar(error.to_string())
    }
}

/// All questions about `request`; it is allowed only where each of them is answered with yes.
pub(crate) fn questions(
    scope: &Scope,
    request: AnyRequest<'_>,
) -> Result<Vec<Question>, Unaskable> {
    let place = cedar::place_of(scope);
    let mut scene = Scene::new(scope, &place)?;
    let mut pairs = scene.plain_context();
    let mut secrets = Vec::new();
    let resource = match request {
        AnyRequest::ResolveTarget(asked) => scene.target(&asked.target)?,
        AnyRequest::RunCommand(asked) => {
            let command = scene.command(asked)?;
            secrets = scene.secret_questions(asked, &command)?;
            pairs.extend(scene.command_context(asked)?);
            command
        }
        AnyRequest::AccessFile(asked) => {
            pairs.extend(scene.rename_context(asked)?);
            scene.path(&asked.target, &asked.name, &asked.path)?
        }
        AnyRequest::AccessObject(asked) => scene.object(asked)?,
        AnyRequest::ProcessTemplate(asked) => {
            pairs.extend(template_context(asked));
            scene.kubernetes_object(
                asked.namespace.as_str(),
                asked.group.as_str(),
                &ProcessTemplate::kind(),
                &asked.name,
            )?
        }
        AnyRequest::Roll(asked) => {
            pairs.extend(roll_context(asked.operation));
            scene.workload(asked.target.namespace.as_str(), &asked.target.workload)?
        }
        AnyRequest::TakeLease(asked) => {
            pairs.extend(scene.change_context(&asked.change)?);
            scene.changed(&asked.change)?
        }
        AnyRequest::PutBack(asked) => scene.changed(&asked.change)?,
        AnyRequest::UseArtifact(asked) => scene.add(
            cedar::named(Kind::Artifact, &place, asked.artifact.as_str()),
            vec![("name", string(asked.artifact.as_str()))],
            &[],
        )?,
    };
    let mut questions = vec![Question {
        capability: capability(request),
        subject: subject(request),
        principal: scene.principal.clone(),
        resource,
        context: context(pairs)?,
        entities: scene.entities,
    }];
    questions.extend(secrets);
    Ok(questions)
}

type Pairs = Vec<(&'static str, RestrictedExpression)>;

fn context(pairs: Pairs) -> Result<Context, Unaskable> {
    let pairs = pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Ok(Context::from_pairs(pairs)?)
}

fn string(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.into_iter().map(string))
}

/// The entities of one question while they come together.
struct Scene<'a> {
    scope: &'a Scope,
    place: &'a str,
    principal: EntityUid,
    /// What each resource lies in directly: the data set, or else the application.
    parent: EntityUid,
    entities: Vec<Entity>,
}

impl<'a> Scene<'a> {
    fn new(scope: &'a Scope, place: &'a str) -> Result<Self, Unaskable> {
        let application = Kind::Application.uid(scope.application.as_str());
        let parent = match &scope.data_set {
            Some(_) => Kind::DataSet.uid(place),
            None => application.clone(),
        };
        let (principal, attributes) = principal(&scope.principal);
        let mut scene = Self {
            scope,
            place,
            principal: principal.clone(),
            parent: parent.clone(),
            entities: Vec::with_capacity(8),
        };
        scene.put(principal, attributes, Vec::new(), Vec::new())?;
        let namespace = ("namespace", string(scope.namespace.as_str()));
        scene.put(application.clone(), vec![namespace], Vec::new(), Vec::new())?;
        if scope.data_set.is_some() {
            scene.put(parent, Vec::new(), vec![application], Vec::new())?;
        }
        Ok(scene)
    }

    fn put(
        &mut self,
        uid: EntityUid,
        attributes: Pairs,
        parents: Vec<EntityUid>,
        tags: Vec<(String, RestrictedExpression)>,
    ) -> Result<(), Unaskable> {
        let attributes = attributes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        let entity = Entity::new_with_tags(uid, attributes, parents, tags)?;
        let same_name = |known: &&Entity| known.uid() == entity.uid();
        match self.entities.iter().find(same_name) {
            Some(known) if known.deep_eq(&entity) => {}
            Some(known) => return Err(Unaskable::TwoThings(known.uid().to_string())),
            None => self.entities.push(entity),
        }
        Ok(())
    }

    /// A resource, in the data set and in `parents`.
    fn add(
        &mut self,
        uid: EntityUid,
        attributes: Pairs,
        parents: &[EntityUid],
    ) -> Result<EntityUid, Unaskable> {
        let mut parents = parents.to_vec();
        parents.push(self.parent.clone());
        self.put(uid.clone(), attributes, parents, Vec::new())?;
        Ok(uid)
    }

    /// An entity that only carries tags.
    fn tagged(
        &mut self,
        kind: Kind,
        tags: Vec<(String, RestrictedExpression)>,
    ) -> Result<RestrictedExpression, Unaskable> {
        let uid = kind.uid(self.place);
        self.put(uid.clone(), Vec::new(), Vec::new(), tags)?;
        Ok(RestrictedExpression::new_entity_uid(uid))
    }

    fn target(&mut self, target: &Target) -> Result<EntityUid, Unaskable> {
        let uid = cedar::named(Kind::Target, self.place, target.role.as_str());
        self.add(uid, target_attributes(target), &[])
    }

    fn command(&mut self, asked: &RunCommand) -> Result<EntityUid, Unaskable> {
        let target = self.target(&asked.target)?;
        let name = asked.command.as_str();
        let mut attributes = target_attributes(&asked.target);
        attributes.push(("name", string(name)));
        self.add(
            cedar::named(Kind::Command, self.place, name),
            attributes,
            &[target],
        )
    }

    fn path(
        &mut self,
        target: &Target,
        name: &PathName,
        path: &PodPath,
    ) -> Result<EntityUid, Unaskable> {
        let parent = self.target(target)?;
        let mut attributes = target_attributes(target);
        attributes.push(("name", string(name.as_str())));
        attributes.push(("path", string(path.as_str())));
        let uid = cedar::named(Kind::Path, self.place, name.as_str());
        self.add(uid, attributes, &[parent])
    }

    fn object(&mut self, asked: &AccessObject) -> Result<EntityUid, Unaskable> {
        self.kubernetes_object(
            asked.namespace.as_str(),
            asked.group.as_str(),
            &asked.kind,
            &asked.name,
        )
    }

    fn kubernetes_object(
        &mut self,
        namespace: &str,
        group: &str,
        kind: &ObjectKind,
        name: &crate::name::ObjectName,
    ) -> Result<EntityUid, Unaskable> {
        let attributes = vec![
            ("name", string(name.as_str())),
            ("group", string(group)),
            ("apiVersion", string(&kind.api_version)),
            ("kind", string(&kind.kind)),
            ("namespace", string(namespace)),
            ("secret", RestrictedExpression::new_bool(kind.is_secret())),
        ];
        let uid = cedar::object(self.place, &kind.kind, name);
        self.add(uid, attributes, &[])
    }

    fn workload(&mut self, namespace: &str, workload: &Workload) -> Result<EntityUid, Unaskable> {
        let attributes = vec![
            ("namespace", string(namespace)),
            ("workload", string(&workload.to_string())),
        ];
        self.add(cedar::workload(self.place, workload), attributes, &[])
    }

    fn changed(&mut self, change: &Change) -> Result<EntityUid, Unaskable> {
        match change {
            Change::Scale {
                namespace,
                workload,
                ..
            } => self.workload(namespace.as_str(), workload),
            Change::EditObject {
                namespace,
                group,
                kind,
                name,
                ..
            } => self.kubernetes_object(namespace.as_str(), group.as_str(), kind, name),
        }
    }

    fn plain_context(&self) -> Pairs {
        vec![
            ("run", string(self.scope.run.as_str())),
            ("namespace", string(self.scope.namespace.as_str())),
        ]
    }

    fn command_context(&mut self, asked: &RunCommand) -> Result<Pairs, Unaskable> {
        let timeout =
            i64::try_from(asked.timeout.as_secs()).map_err(|_| Unaskable::TimeoutTooLong)?;
        let holes = asked
            .holes
            .iter()
            .map(|(name, value)| Ok((name.clone(), hole(name, value)?)))
            .collect::<Result<Vec<_>, Unaskable>>()?;
        let words = (0_i64..)
            .zip(&asked.argv)
            .map(|(at, word)| (at.to_string(), string(word)))
            .collect::<Vec<_>>();
        let count = i64::try_from(words.len()).unwrap_or(i64::MAX);
        let environment = environment(asked)?;
        let mut pairs = vec![
            ("commandLine", string(&quote::command_line(&asked.argv))),
            ("words", self.tagged(Kind::Words, words)?),
            ("wordCount", RestrictedExpression::new_long(count)),
            ("holes", self.tagged(Kind::Holes, holes)?),
            ("holeNames", strings(asked.holes.keys().map(String::as_str))),
            (
                "environment",
                strings(environment.iter().map(String::as_str)),
            ),
            ("stdin", string(asked.stdin.as_str())),
            ("timeoutSeconds", RestrictedExpression::new_long(timeout)),
        ];
        match &asked.stdin {
            Stdin::Template { text } => pairs.push(("script", string(text))),
            Stdin::None | Stdin::Artifact | Stdin::Free => {}
        }
        Ok(pairs)
    }

    /// One question for each secret in the environment of a command.
    fn secret_questions(
        &mut self,
        asked: &RunCommand,
        command: &EntityUid,
    ) -> Result<Vec<Question>, Unaskable> {
        let mut questions = Vec::new();
        for (variable, source) in &asked.environment {
            let EnvironmentSource::Secret {
                handle,
                object,
                key,
            } = source
            else {
                continue;
            };
            let resource = cedar::named(Kind::Secret, self.place, handle.as_str());
            let attributes = vec![
                ("handle", string(handle.as_str())),
                ("object", string(object.as_str())),
                ("key", string(key.as_str())),
                ("namespace", string(asked.target.namespace.as_str())),
            ];
            let mut scene = Scene {
                scope: self.scope,
                place: self.place,
                principal: self.principal.clone(),
                parent: self.parent.clone(),
                entities: self.entities.clone(),
            };
            let resource = scene.add(resource, attributes, &[])?;
            let mut pairs = scene.plain_context();
            pairs.push((
                "command",
                RestrictedExpression::new_entity_uid(command.clone()),
            ));
            pairs.push(("variable", string(variable.as_str())));
            questions.push(Question {
                capability: "use-secret",
                subject: secret(asked, source).unwrap_or_default(),
                principal: scene.principal,
                resource,
                context: context(pairs)?,
                entities: scene.entities,
            });
        }
        Ok(questions)
    }

    fn rename_context(&mut self, asked: &AccessFile) -> Result<Pairs, Unaskable> {
        match &asked.operation {
            FileOperation::Rename { to, to_path } => {
                let to = self.path(&asked.target, to, to_path)?;
                Ok(vec![("to", RestrictedExpression::new_entity_uid(to))])
            }
            FileOperation::Stat
            | FileOperation::Read
            | FileOperation::Write
            | FileOperation::Remove
            | FileOperation::SaveTree
            | FileOperation::LoadTree => Ok(Vec::new()),
        }
    }

    fn change_context(&mut self, change: &Change) -> Result<Pairs, Unaskable> {
        match change {
            Change::Scale { replicas, .. } => Ok(vec![(
                "replicas",
                RestrictedExpression::new_long(i64::from(*replicas)),
            )]),
            Change::EditObject { changes, .. } => {
                let tags = changes
                    .iter()
                    .map(|(key, value)| (key.as_str().to_owned(), string(value)))
                    .collect();
                Ok(vec![
                    ("keys", strings(changes.keys().map(DataKey::as_str))),
                    ("changes", self.tagged(Kind::Changes, tags)?),
                ])
            }
        }
    }
}

fn template_context(asked: &ProcessTemplate) -> Pairs {
    let (sources, kinds) = (asked.sources(), asked.kind_words());
    vec![
        ("template", string(asked.template.as_str())),
        ("sources", strings(sources.iter().map(String::as_str))),
        ("kinds", strings(kinds.iter().map(String::as_str))),
    ]
}

fn roll_context(operation: RolloutOperation) -> Pairs {
    match operation {
        RolloutOperation::SetReplicas { replicas } => {
            let replicas = RestrictedExpression::new_long(i64::from(replicas));
            vec![("replicas", replicas)]
        }
        RolloutOperation::Restart
        | RolloutOperation::Wait
        | RolloutOperation::Replicas
        | RolloutOperation::Guard => Vec::new(),
    }
}

fn principal(principal: &Principal) -> (EntityUid, Pairs) {
    match principal {
        Principal::Host => (cedar::host(), Vec::new()),
        Principal::Module(module) => {
            let mut attributes = vec![
                ("name", string(module.name.as_str())),
                ("version", string(&module.version)),
                ("digest", string(&module.digest)),
            ];
            if let Some(signer) = &module.signer {
                attributes.push(("signer", string(signer)));
            }
            (Kind::Module.uid(module.name.as_str()), attributes)
        }
    }
}

fn target_attributes(target: &Target) -> Pairs {
    vec![
        ("role", string(target.role.as_str())),
        ("namespace", string(target.namespace.as_str())),
        ("workload", string(&target.workload.to_string())),
        ("container", string(target.container.as_str())),
    ]
}

fn hole(name: &str, value: &Value) -> Result<RestrictedExpression, Unaskable> {
    let too_large = || Unaskable::HoleTooLarge(quote::comment(name));
    let number = match value {
        Value::Integer(number) => Some(*number),
        Value::Bytes(number) => Some(i64::try_from(*number).map_err(|_| too_large())?),
        Value::Duration(time) => Some(i64::try_from(time.as_millis()).map_err(|_| too_large())?),
        Value::Identifier(_) | Value::Choice(_) | Value::Path(_) | Value::Text(_) => None,
    };
    let mut fields = vec![
        ("kind".to_owned(), string(value.kind().as_str())),
        ("text".to_owned(), string(&value.to_string())),
    ];
    if let Some(number) = number {
        fields.push(("number".to_owned(), RestrictedExpression::new_long(number)));
    }
    RestrictedExpression::new_record(fields).map_err(|_| too_large())
}

/// `NAME=pod:VARIABLE` and `NAME=secret:HANDLE`; refused where a name comes twice, because a set
/// could not say which one wins.
pub(crate) fn environment(asked: &RunCommand) -> Result<Vec<String>, Unaskable> {
    let mut seen = std::collections::BTreeSet::new();
    for (variable, _) in &asked.environment {
        if !seen.insert(variable) {
            return Err(Unaskable::VariableTwice(variable.to_string()));
        }
    }
    Ok(environment_words(asked))
}

/// The environment as the schema writes it.
pub(crate) fn environment_words(asked: &RunCommand) -> Vec<String> {
    asked
        .environment
        .iter()
        .map(|(variable, source)| match source {
            EnvironmentSource::Pod { variable: from } => format!("{variable}=pod:{from}"),
            EnvironmentSource::Secret { handle, .. } => format!("{variable}=secret:{handle}"),
        })
        .collect()
}
