//! What of a 3scale stands still in a backup with `--quiesce`: in which order, and where the queues of
//! its workers are.
//!
//! First the operator, where it runs beside what it would scale back; then whatever lets requests in;
//! then the workers, each while what its jobs call is still there. A job of system-sidekiq calls
//! backend-listener and zync (porta, `config/examples/core.yml` and `app/workers/zync_worker.rb`): with
//! these stopped before it, its jobs would not drain but fail and wait to be tried again. backend-cron
//! queues failed jobs of backend-worker again (apisonator, `lib/3scale/backend/failed_jobs_scheduler.rb`),
//! so it stops before that. zync-que has its jobs in zync-database.
//!
//! Pure. Knows names of 3scale; must never know what the module does with them.

use cofferdam_policy::request::WorkloadKind;

use super::recipe::{Body, Bound, Parameter, Place, Step, essential, step};
use super::seen::{Found, OPERATOR};

/// The module that stops a workload.
const MODULE: &str = "quiesce";

/// The stage of what has no place in the order of a restore: it changes nothing there.
const NO_STAGE: u32 = 0;

/// Where the jobs of a worker wait.
struct Jobs {
    /// The workload of the Redis.
    redis: &'static str,
    /// The database, where the operator's default URL is in force.
    database: i64,
    /// What stands before each key.
    prefix: &'static str,
}

/// Sidekiq of system: database 1 of system-redis (3scale-operator, `DefaultSystemRedisURL`:
/// `redis://system-redis:6379/1`), without a namespace (porta, `config/docker/redis.yml`). Up to 2.14 the
/// key `NAMESPACE` of Secret system-redis could set one.
const SIDEKIQ: Jobs = Jobs {
    redis: "system-redis",
    database: 1,
    prefix: "",
};

/// Resque of backend: database 1 of backend-redis (3scale-operator, `DefaultBackendRedisQueuesURL`:
/// `redis://backend-redis:6379/1`), with lists such as `resque:queue:priority` (apisonator,
/// `lib/3scale/backend/job_fetcher.rb`).
const RESQUE: Jobs = Jobs {
    redis: "backend-redis",
    database: 1,
    prefix: "resque:",
};

const STOPS: [(&str, Option<Jobs>); 9] = [
    ("apicast-production", None),
    ("apicast-staging", None),
    ("system-app", None),
    ("system-sidekiq", Some(SIDEKIQ)),
    ("zync", None),
    ("zync-que", None),
    ("backend-listener", None),
    ("backend-cron", None),
    ("backend-worker", Some(RESQUE)),
];

/// A step for each workload that is there, in the order in which they stop.
pub(super) fn stops(found: &Found) -> Vec<Step> {
    let operator = found.operator.then(|| {
        let place = Place {
            kind: WorkloadKind::Deployment,
            name: OPERATOR.name,
            workload: format!("deployment/{}", OPERATOR.name),
            container: OPERATOR.container.to_owned(),
        };
        let comment = "Or it would scale the others back. Where it runs in another namespace and does so, the run says it.";
        stop("operator", vec![("workload", place)], Vec::new(), &[comment])
    });
    let workloads = STOPS.iter().filter_map(|(name, jobs)| {
        let mut targets = vec![("workload", found.place(name)?)];
        let Some(jobs) = jobs else {
            return Some(stop(name, targets, Vec::new(), &[]));
        };
        let Some(redis) = found.place(jobs.redis) else {
            let comment = format!(
                "Its {} is elsewhere: its job queues are not looked at.",
                jobs.redis
            );
            return Some(stop(name, targets, Vec::new(), &[&comment]));
        };
        targets.push(("queues", redis));
        let parameters = vec![
            essential("database", jobs.database),
            essential("prefix", jobs.prefix),
        ];
        let comment = format!(
            "Stopped when its job queues are empty. `database` is the one of the URL in Secret {}.",
            jobs.redis
        );
        Some(stop(name, targets, parameters, &[&comment]))
    });
    operator.into_iter().chain(workloads).collect()
}

fn stop(
    name: &str,
    targets: Vec<(&'static str, Place)>,
    parameters: Vec<Parameter>,
    comments: &[&str],
) -> Step {
    let bound = Bound {
        module: MODULE,
        targets,
        parameters,
    };
    let name = format!("quiesce-{name}");
    step(NO_STAGE, &name, comments, Body::Bound(bound))
}
