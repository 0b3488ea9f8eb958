//! Opens what the settings name: application file, modules, policy, repository, cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use cofferdam_cluster::{Cluster, Connection};
use cofferdam_engine::{Engine, EngineOptions};
use cofferdam_policy::Policy;
use cofferdam_policy::name::DataSetName;
use cofferdam_policy::request::WorkloadKind;
use cofferdam_repository::{Location, Repository};
use cofferdam_runs::application::{self, Application, ApplicationError};
use cofferdam_runs::modules::Modules;
use cofferdam_runs::plan::{Prepared, Quiescing, prepare};
use cofferdam_runs::run::Runner;
use cofferdam_runs::threescale;
use tokio_util::sync::CancellationToken;

use crate::arguments::{Elsewhere, Pace};
use crate::password;
use crate::report::Usage;
use crate::screen::Screen;
use crate::settings::Settings;

/// A policy longer than this is some other file.
const MAXIMUM_POLICY_BYTES: u64 = 8 * 1024 * 1024;

/// The application file.
pub(crate) fn application(settings: &Settings) -> Result<Application> {
    let path = &settings.file;
    let shown = || format!("`{}`", path.display());
    let size = fs_err::metadata(path)
        .map_err(|error| {
            Usage::hint(
                error.into(),
                "write one with `cofferdam init`, or name it with `--file`",
            )
        })?
        .len();
    if size > application::MAXIMUM_BYTES {
        return Err(ApplicationError::TooLarge { bytes: size }).with_context(shown);
    }
    let text = fs_err::read_to_string(path)?;
    Application::parse(&text).with_context(shown)
}

/// The engine and the folders of modules.
pub(crate) fn modules(settings: &Settings) -> Result<Modules> {
    Ok(Modules::new(engine(settings)?, settings.modules.clone()))
}

/// The engine with its cache of compiled modules.
pub(crate) fn engine(settings: &Settings) -> Result<Engine> {
    Ok(Engine::new(EngineOptions {
        cache: settings.cache.clone(),
        ..EngineOptions::default()
    })?)
}

/// The application bound to its modules, with the era of 3scale looked at where it is one.
pub(crate) async fn prepared(
    settings: &Settings,
    only: &[DataSetName],
    quiescing: Quiescing,
) -> Result<Prepared> {
    let application = application(settings)?;
    let mut prepared = bound_for(settings, application, only, quiescing).await?;
    know_era(settings, &mut prepared).await?;
    Ok(prepared)
}

/// The application bound to its modules; no cluster is asked.
pub(crate) async fn bound(
    settings: &Settings,
    application: Application,
    only: &[DataSetName],
) -> Result<Prepared> {
    bound_for(settings, application, only, Quiescing::AsOthers).await
}

async fn bound_for(
    settings: &Settings,
    application: Application,
    only: &[DataSetName],
    quiescing: Quiescing,
) -> Result<Prepared> {
    let modules = modules(settings)?;
    let only = only.to_vec();
    let bind = move || prepare(application, &modules, &only, quiescing);
    Ok(tokio::task::spawn_blocking(bind).await??)
}

/// Looks at the era of 3scale, where the application file says that it is one.
pub(crate) async fn know_era(settings: &Settings, prepared: &mut Prepared) -> Result<()> {
    let application = &prepared.application;
    let Some(declared) = &application.threescale else {
        return Ok(());
    };
    let (policy, cluster) = (policy(settings)?, cluster(settings).await?);
    let (name, namespace) = (&application.name, &application.namespace);
    let (era, warning) = threescale::verify(&cluster, &policy, name, namespace, declared).await?;
    prepared.era = Some(era);
    prepared.warnings.extend(warning);
    Ok(())
}

/// The application of the file, moved to another namespace where one is named. A 3scale that is of
/// another era there gets its workloads by the kind of that era.
pub(crate) async fn moved(
    settings: &Settings,
    elsewhere: &Elsewhere,
    policy: &Policy,
) -> Result<Application> {
    let application = application(settings)?;
    let Some(namespace) = &elsewhere.to_namespace else {
        return Ok(application);
    };
    let mut application = application.moved(namespace.clone(), &elsewhere.mappings)?;
    if let Some(declared) = application
        .threescale
        .clone()
        .filter(|declared| !declared.asserted)
    {
        let kinds = [WorkloadKind::DeploymentConfig, WorkloadKind::Deployment];
        let cluster = cluster(settings).await?;
        let seen = threescale::look(&cluster, policy, &application.name, namespace, &kinds).await?;
        if let Ok(found) = threescale::find(&seen)
            && found.era.kind() != declared.era.kind()
        {
            application.change_kind(declared.era.kind(), found.era.kind());
            application.threescale = Some(threescale::Declared {
                era: found.era,
                asserted: false,
            });
        }
    }
    Ok(application)
}

/// The policy of the site: every `.cedar` file that the settings name, in order of their names.
pub(crate) fn policy(settings: &Settings) -> Result<Policy> {
    let mut texts = Vec::new();
    for path in policy_files(&settings.policy)? {
        let size = fs_err::metadata(&path)?.len();
        anyhow::ensure!(
            size <= MAXIMUM_POLICY_BYTES,
            "the policy `{}` is longer than {MAXIMUM_POLICY_BYTES} bytes",
            path.display()
        );
        let text = fs_err::read_to_string(&path)?;
        texts.push((path.display().to_string(), text));
    }
    Ok(Policy::parse(&texts)?)
}

fn policy_files(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        let metadata = fs_err::metadata(path).map_err(|error| {
            Usage::hint(
                error.into(),
                "write one with `cofferdam policy init`, or name it with `--policy`",
            )
        })?;
        if metadata.is_dir() {
            let mut inside: Vec<PathBuf> = fs_err::read_dir(path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<std::io::Result<_>>()?;
            inside.retain(|file| {
                file.extension()
                    .is_some_and(|extension| extension == "cedar")
            });
            inside.sort();
            files.append(&mut inside);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// Where the repository is.
pub(crate) fn location(settings: &Settings) -> Result<Location> {
    let Some(text) = &settings.repository else {
        return Err(Usage::hint(
            anyhow::anyhow!("no repository was named"),
            "name it with `--repository`, or set `COFFERDAM_REPOSITORY`",
        ));
    };
    Ok(Location::parse(text, &settings.environment)?)
}

/// The repository, opened.
pub(crate) async fn repository(settings: &Settings) -> Result<Repository> {
    let location = location(settings)?;
    let password = password::get(settings)?;
    Ok(Repository::open(&location, &password).await?)
}

/// The cluster. No request is made yet.
pub(crate) async fn cluster(settings: &Settings) -> Result<Cluster> {
    let connection = Connection {
        kubeconfig: settings.kubeconfig.clone(),
        context: settings.context.clone(),
    };
    Ok(Cluster::connect(&connection).await?)
}

/// Everything that a run works with. Ctrl-C and SIGTERM cancel it.
pub(crate) async fn runner(settings: &Settings, pace: &Pace) -> Result<Runner> {
    let policy = policy(settings)?;
    let repository = repository(settings).await?;
    let cluster = cluster(settings).await?;
    let cancel = cancellation();
    Ok(Runner {
        cluster,
        repository,
        policy: Arc::new(policy),
        state: settings.state.clone(),
        observer: Arc::new(Screen::new(settings.verbose)),
        cancel,
        parallel: pace.parallel.into(),
        timeout: pace.timeout,
    })
}

/// What Ctrl-C and SIGTERM cancel.
pub(crate) fn cancellation() -> CancellationToken {
    let cancel = CancellationToken::new();
    tokio::spawn(cancel_on_signal(cancel.clone()));
    cancel
}

async fn cancel_on_signal(cancel: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        tracing::warn!(
            "signals cannot be caught here: an interrupted run is put in order by the next one"
        );
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    // First, as nothing that is said may come between.
    cancel.cancel();
    tracing::error!("cancelling: temporary changes are put back first; once more ends it at once");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::error!("ended at once: what was changed is put back by the next run");
    #[expect(
        clippy::exit,
        reason = "the person has insisted, and the journal knows what is left"
    )]
    std::process::exit(i32::from(crate::report::Exit::World.code()));
}

/// Refuses a file that is there already.
pub(crate) fn is_free(path: &Path) -> Result<()> {
    if path.exists() {
        return Err(Usage::hint(
            anyhow::anyhow!("`{}` is there already", path.display()),
            "replace it with `--force`, or write elsewhere",
        ));
    }
    Ok(())
}

/// Writes a new file, or says how to replace the one that is there.
pub(crate) fn write_new(path: &Path, text: &str, force: bool) -> Result<()> {
    if !force {
        is_free(path)?;
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut beside = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("failed to write in `{}`", folder.display()))?;
    std::io::Write::write_all(&mut beside, text.as_bytes())?;
    // A temporary file is private; these are to be read and committed.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    beside.as_file().set_permissions(mode)?;
    beside
        .persist(path)
        .with_context(|| format!("failed to write `{}`", path.display()))?;
    Ok(())
}
