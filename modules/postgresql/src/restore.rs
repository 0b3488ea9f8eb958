//! The way back. Whatever can be refused is refused before anything is dropped; every step may be
//! killed, and the whole started again.

use cofferdam_guest_sdk::{Context, Error, Evidence, Host, Result, Target};

use crate::counts::{self, Counts};
use crate::server::{Database, Server};
use crate::writers::Stopped;
use crate::{Scope, dump_format, examine, messages};

pub(crate) fn restore(host: &dyn Host) -> Result<()> {
    let scope = Scope::of_snapshot(host)?;
    let evidence = host.evidence(scope.artifact())?;
    let head = host.open_artifact(scope.artifact())?.read(4096)?;
    dump_format::check_head(scope, &head)?;
    // A dump of a cluster drops first and reads on later: a damaged one must touch nothing.
    host.step("check", || examine(host, scope))?;

    let mut server = Server::find(host)?;
    if scope == Scope::Cluster {
        dump_format::check_client(&head, &server.client)?;
    }
    let stopped = Stopped::all(host)?;
    if scope == Scope::Cluster {
        server.mend_maintenance(host)?;
    }
    server.wait_for_sessions(host, scope)?;
    match scope {
        Scope::Cluster => load_cluster(host, &server)?,
        Scope::Database => load_database(host, &server, &evidence)?,
    }
    server.refresh()?;
    compare(host, &server, scope, &evidence)?;
    if server.lies_in_an_empty_dir(host)? {
        host.warn(&format!(
            "what was just restored lies in an emptyDir of pod `{}`: the next rollout of its workload wipes it, so do not roll it",
            server.pod.name()
        ));
        guard(&*host.target("server")?, host)?;
    }
    stopped.put_back(host)
}

/// Has the host refuse that rollout, as far as it is one of this run. A site whose policy does not let
/// it has the data all the same, and is told.
fn guard(target: &dyn Target, host: &dyn Host) -> Result<()> {
    let name = target.name();
    let reason = format!(
        "what was restored into `{name}` lies in an emptyDir, and a new pod would not have it"
    );
    match target.guard(&reason) {
        Err(error @ Error::Denied(_)) => {
            host.warn(&format!(
                "a later data set of this run that rolls `{name}` is not held back: {error}"
            ));
            Ok(())
        }
        guarded => guarded.context(format!("the pods of `{name}` cannot be kept")),
    }
}

fn load_cluster(host: &dyn Host, server: &Server) -> Result<()> {
    let there: Vec<String> = server.description.databases.iter().map(shown).collect();
    host.warn(&format!(
        "databases that the backup has are dropped and made anew; the server has {}",
        there.join(", ")
    ));
    let half = "the load broke off, so the server is half restored: databases that come later in the dump are missing or as they were; restore again before it is used";
    let passed = host.step("load", || {
        let holes = [("maintenance", server.maintenance)];
        let fed = host
            .feed(
                Scope::Cluster.artifact(),
                &*server.pod,
                "load-cluster",
                &holes,
            )
            .context(half)?;
        let passed = messages::judge(&fed.outcome).context(half)?;
        fed.success().context(half)?;
        Ok(passed)
    })?;
    if let Some(phrase) = passed.phrase() {
        host.info(&format!(
            "{} errors on the list were passed over: {phrase}",
            passed.count()
        ));
    }
    Ok(())
}

fn shown(database: &Database) -> String {
    match database.size {
        Some(size) => format!("`{}` ({size} bytes)", database.name),
        None => format!("`{}`", database.name),
    }
}

fn load_database(host: &dyn Host, server: &Server, evidence: &Evidence) -> Result<()> {
    let name = host.required("database")?;
    let kept = evidence.get("database").unwrap_or(&name);
    let there = server.database(&name);
    let jobs: u32 = host.parsed("jobs")?;
    if (jobs > 1 || there.is_none()) && kept != name {
        return Err(Error::invalid(format!(
            "the backup is of database `{kept}` and would be made under that name: to load it into `{name}`, make an empty database of that name and set parameter `jobs` to 1"
        )));
    }
    if let Some(there) = &there {
        host.warn(&format!(
            "database {} is there: what the backup has too is replaced",
            shown(there)
        ));
    }
    if jobs > 1 {
        return load_parallel(host, server, &name);
    }
    let maintenance = [("maintenance", server.maintenance)];
    let (command, holes, state) = match there {
        Some(_) => (
            "load-database",
            [].as_slice(),
            format!("database `{name}` is as it was: the load is one transaction"),
        ),
        None => (
            "load-new-database",
            maintenance.as_slice(),
            format!(
                "database `{name}` was not there before and is half restored: restore again before it is used"
            ),
        ),
    };
    host.step("load", || {
        host.load(Scope::Database.artifact(), &*server.pod, command, holes)
            .context(state)?;
        Ok(())
    })
}

/// By a file in the pod: only from a file can several sessions load at once.
fn load_parallel(host: &dyn Host, server: &Server, name: &str) -> Result<()> {
    let pod = &*server.pod;
    let loaded = copy_and_load(host, server, name);
    let removed = pod
        .remove("scratch")
        .context("failed to remove the archive from the scratch folder");
    match (loaded, removed) {
        (Ok(()), removed) => removed,
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(left)) => {
            host.warn(&left.to_string());
            Err(error)
        }
    }
}

fn copy_and_load(host: &dyn Host, server: &Server, name: &str) -> Result<()> {
    let pod = &*server.pod;
    host.step("copy", || {
        host.copy_in(Scope::Database.artifact(), pod, "scratch")
            .context(format!(
                "failed to copy the archive to the pod, and database `{name}` was not touched"
            ))?;
        pod.run("list-archive", &[])?
            .success("list-archive")
            .context(format!(
                "the pod's `pg_restore` cannot read the archive, and database `{name}` was not touched"
            ))
    })?;
    host.step("load", || {
        let holes = [("maintenance", server.maintenance)];
        pod.run("load-parallel", &holes)?
            .success("load-parallel")
            .context(format!(
                "the load broke off, so database `{name}` is half restored: restore again before it is used"
            ))?;
        Ok(())
    })
}

/// Holds what is there now against the evidence.
fn compare(host: &dyn Host, server: &Server, scope: Scope, evidence: &Evidence) -> Result<()> {
    let kept = counts::databases(evidence);
    let databases: Vec<Database> = match scope {
        Scope::Cluster => {
            let all = server.description.databases.iter();
            all.filter(|one| kept.contains(&counts::escaped(&one.name)))
                .cloned()
                .collect()
        }
        Scope::Database => server.databases(host, scope)?,
    };
    let counts = Counts::of_all(host, server, &databases)?;
    let (wrong, more) = match evidence.get("database") {
        // Loaded under another name, it is still the same database.
        Some(then) if scope == Scope::Database => {
            let now = host.required("database")?;
            counts.renamed(&now, then).against(evidence)
        }
        _ => counts.against(evidence),
    };
    if !wrong.is_empty() {
        return Err(Error::failed(
            "not-proven",
            format!(
                "it was loaded to the end, but is not what was backed up: {}",
                wrong.join(", ")
            ),
        ));
    }
    if !more.is_empty() {
        host.warn(&format!(
            "what was there before and is not in the backup is kept: {}",
            more.join(", ")
        ));
    }
    if let Some(roles) = evidence.number("roles")
        && server.description.roles < roles
    {
        return Err(Error::failed(
            "not-proven",
            format!(
                "the server has {} roles where the backup has {roles}",
                server.description.roles
            ),
        ));
    }
    host.info(&format!(
        "{} databases are as their evidence says",
        databases.len()
    ));
    Ok(())
}
