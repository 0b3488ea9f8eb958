//! Redis 6.2, Redis 7 and Valkey 9, restored together under one lease on the ConfigMap that they
//! share; the trap of 6.2; a server behind a password, an access list, TLS and a renamed command.
#![expect(clippy::disallowed_methods, reason = "helpers of tests are test code")]

use std::process::Child;

use e2e::Site;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A server of the demo's kind: its own volume, a configuration file from a ConfigMap.
struct Server {
    name: &'static str,
    /// Where its programs lie, before all others.
    programs: &'static str,
    program: &'static str,
    /// What the container does before the server starts; sets `$file`.
    prepare: &'static str,
    configuration: &'static str,
    /// Words for every call of `redis-cli`.
    client: &'static str,
}

const PLAIN: Server = Server {
    name: "",
    programs: "/usr/bin",
    program: "redis-server",
    prepare: "file=/etc/redis.d/redis.conf",
    configuration: "redis-config",
    client: "",
};

const REDIS_6: Server = Server {
    name: "redis-6",
    programs: "/usr/lib/redis-6.2/bin",
    ..PLAIN
};

const REDIS_7: Server = Server {
    name: "redis-7",
    ..PLAIN
};

const VALKEY_9: Server = Server {
    name: "valkey-9",
    programs: "/usr/lib/valkey-9/bin",
    ..PLAIN
};

impl Server {
    fn yaml(&self) -> String {
        let Self {
            name,
            programs,
            program,
            prepare,
            configuration,
            client,
        } = self;
        format!(
            r#"apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{ name: {name} }}
spec:
  accessModes: ["ReadWriteOnce"]
  resources: {{ requests: {{ storage: 1Gi }} }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name} }}
spec:
  replicas: 1
  strategy: {{ type: Recreate }}
  selector: {{ matchLabels: {{ deployment: {name} }} }}
  template:
    metadata: {{ labels: {{ deployment: {name} }} }}
    spec:
      terminationGracePeriodSeconds: 30
      securityContext: {{ runAsUser: 101 }}
      containers:
        - name: server
          image: "${{COFFERDAM_TEST_IMAGE}}"
          command: ["sh", "-ec", '{prepare}; exec {program} "$file" --daemonize no']
          env:
            - {{ name: PATH, value: "{programs}:/usr/local/bin:/usr/bin:/bin" }}
          readinessProbe:
            exec: {{ command: ["sh", "-c", "redis-cli {client} ping 2>&1 | grep -E 'PONG|NOAUTH'"] }}
            periodSeconds: 1
          volumeMounts:
            - {{ name: data, mountPath: /var/lib/redis/data }}
            - {{ name: configuration, mountPath: /etc/redis.d }}
            - {{ name: tls, mountPath: /etc/redis-tls }}
      volumes:
        - name: data
          persistentVolumeClaim: {{ claimName: {name} }}
        - name: configuration
          configMap: {{ name: {configuration} }}
        - name: tls
          secret: {{ secretName: redis-tls, optional: true }}
"#
        )
    }

    fn data_set(&self, more: &str) -> String {
        let name = self.name;
        let configuration = self.configuration;
        format!(
            "    - name: {name}
      module: {{ name: redis }}
      targets: {{ server: {{ workload: deployment/{name}, container: server }} }}
      parameters: {{ configuration: {configuration}{more} }}
"
        )
    }

    fn run(&self, site: &Site, line: &str) -> String {
        site.in_pod(&format!("deployment/{}", self.name), "server", line)
    }

    fn version(&self, site: &Site) -> String {
        self.run(
            site,
            "redis-cli INFO server | tr -d '\\r' | grep -E '^(redis|valkey)_version'",
        )
    }

    /// Keys of every type in two databases, one of them with a time to live.
    fn fill(&self, site: &Site) {
        self.run(
            site,
            "seq 1 3000 | sed 's/.*/SET service:& \"value &\"/' | redis-cli --pipe >/dev/null
             redis-cli RPUSH queue a b c >/dev/null
             redis-cli HSET usage day 7 week 40 >/dev/null
             redis-cli SADD members 1 2 3 >/dev/null
             redis-cli ZADD ranks 1 one 2.5 two >/dev/null
             redis-cli XADD events 1-1 field value >/dev/null
             redis-cli SET token x EX 100000 >/dev/null
             redis-cli -n 3 SET other 1 >/dev/null",
        );
    }

    fn proof(&self, site: &Site) -> String {
        self.run(
            site,
            "redis-cli DBSIZE; redis-cli -n 3 GET other
             redis-cli --scan | sort | head -300 | while read -r key; do echo \"$key $(redis-cli --no-raw DUMP \"$key\")\"; done | sha256sum
             redis-cli GET service:2718; redis-cli LRANGE queue 0 -1; redis-cli HGET usage week; redis-cli SMEMBERS members | sort
             redis-cli ZRANGE ranks 0 -1 WITHSCORES; redis-cli XRANGE events - +
             test $(redis-cli TTL token) -gt 90000 && echo 'the token expires'",
        )
    }

    fn wipe(&self, site: &Site) {
        self.run(
            site,
            "redis-cli FLUSHALL >/dev/null && redis-cli SET stranger 1 >/dev/null",
        );
    }

    fn generation(&self, site: &Site) -> u64 {
        let name = format!("deployment/{}", self.name);
        let shown = site.kubectl(&["get", &name, "-o", "jsonpath={.metadata.generation}"]);
        shown.trim().parse().expect("a number")
    }
}

fn site(servers: &[Server]) -> Site {
    let site = Site::with_objects_only();
    start(&site, servers);
    site
}

fn start(site: &Site, servers: &[Server]) {
    for server in servers {
        site.apply(&server.yaml());
    }
    site.wait_available();
}

fn configuration(site: &Site) -> String {
    site.kubectl(&[
        "get",
        "configmap/redis-config",
        "-o",
        "jsonpath={.data.redis\\.conf}",
    ])
}

/// The real kubectl as a witness of every state of the ConfigMap.
struct Witness<'a> {
    site: &'a Site,
    kubectl: Child,
}

impl<'a> Witness<'a> {
    fn watch(site: &'a Site) -> Self {
        let words = [
            "get",
            "configmap/redis-config",
            "--watch",
            "-o",
            "jsonpath={.metadata.resourceVersion} {.metadata.annotations.end}{\"\\n\"}",
        ];
        let kubectl = site.begin_kubectl(&words, "states");
        let witness = Self { site, kubectl };
        site.wait_until("the witness", || (!witness.seen().is_empty()).then_some(()));
        witness
    }

    fn seen(&self) -> String {
        std::fs::read_to_string(self.site.path("states")).expect("read")
    }

    /// Demands that it has seen exactly so many states since it began, the one at the beginning too.
    #[track_caller]
    fn saw(mut self, states: usize) {
        self.site
            .kubectl(&["annotate", "configmap/redis-config", "end=yes"]);
        self.site
            .wait_until("the end", || self.seen().ends_with(" yes\n").then_some(()));
        self.kubectl.kill().expect("ended");
        self.kubectl.wait().expect("reaped");
        let seen = self.seen();
        assert_eq!(seen.lines().count(), states + 1, "{seen}");
        let line = ["annotate", "configmap/redis-config", "end-"];
        self.site.kubectl(&line);
    }
}

#[test]
fn three_servers_are_restored_under_one_lease_and_restarted_no_more_than_each_needs() {
    let servers = [REDIS_6, REDIS_7, VALKEY_9];
    let site = site(&servers);
    let data_sets: String = servers.iter().map(|one| one.data_set("")).collect();
    site.prepare(&data_sets);
    let versions: Vec<String> = servers.iter().map(|one| one.version(&site)).collect();
    assert!(versions[0].contains("redis_version:6.2."), "{versions:?}");
    assert!(versions[1].contains("redis_version:7."), "{versions:?}");
    assert!(versions[2].contains("valkey_version:9."), "{versions:?}");
    for server in &servers {
        server.fill(&site);
    }
    let before: Vec<String> = servers.iter().map(|one| one.proof(&site)).collect();
    let original = configuration(&site);
    let _backup = site.report(&["backup"]).exits(0);
    let _verified = site.report(&["verify", "latest"]).exits(0);
    for server in &servers {
        server.wipe(&site);
    }
    let generations: Vec<u64> = servers.iter().map(|one| one.generation(&site)).collect();

    let witness = Witness::watch(&site);
    let restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    let restored = restored.says("as another data set has done already");
    // As it was, off, as it was: once for all three.
    witness.saw(3);
    for (server, generation) in servers.iter().zip(generations) {
        let restarts = server.generation(&site) - generation;
        assert_eq!(restarts, 3, "restarts of {}\n{restored}", server.name);
    }
    assert_eq!(configuration(&site), original);
    for (server, before) in servers.iter().zip(before) {
        assert_eq!(server.proof(&site), before, "{}", server.name);
        let settings = server.run(
            &site,
            "redis-cli CONFIG GET save; redis-cli CONFIG GET appendonly; redis-cli INFO persistence | grep aof_enabled",
        );
        assert!(
            settings.contains("900 1") && settings.contains("aof_enabled:1"),
            "{}: {settings}",
            server.name
        );
        let files = server.run(&site, "ls /var/lib/redis/data");
        let append_only = if server.name == "redis-6" {
            "appendonly.aof"
        } else {
            "appendonlydir"
        };
        let files: Vec<&str> = files.lines().collect();
        assert_eq!(files, [append_only, "dump.rdb"], "{}", server.name);
        // What was restored survives a restart by anybody.
        let name = format!("deployment/{}", server.name);
        site.kubectl(&["rollout", "restart", &name]);
        site.kubectl(&["rollout", "status", &name]);
        let keys = server.run(&site, "redis-cli DBSIZE");
        assert_eq!(keys.trim(), "3006", "{}", server.name);
    }
}

#[test]
fn killed_while_two_share_a_lease_the_next_run_puts_the_configuration_back_once() {
    let other = Server {
        name: "other-7",
        ..PLAIN
    };
    let servers = [REDIS_7, other];
    let site = site(&servers);
    let data_sets: String = servers.iter().map(|one| one.data_set("")).collect();
    site.prepare(&data_sets);
    for server in &servers {
        server.fill(&site);
    }
    let before: Vec<String> = servers.iter().map(|one| one.proof(&site)).collect();
    let original = configuration(&site);
    let _backup = site.report(&["backup"]).exits(0);
    let mut run = site.begin(&["restore", "latest", "--yes"]);
    site.wait_until("the second to share", || {
        journal(&site).contains("lease-shared").then_some(())
    });
    run.kill().expect("killed");
    run.wait().expect("reaped");
    assert_ne!(configuration(&site), original, "the kill came too late");

    let witness = Witness::watch(&site);
    let words = ["verify", "latest", "--only", "redis-7"];
    let _next = site.report(&words).exits(0).says("restored");
    // Off, as it was: nobody put it back a second time.
    witness.saw(2);
    assert_eq!(configuration(&site), original);
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    for (server, before) in servers.iter().zip(before) {
        assert_eq!(server.proof(&site), before, "{}", server.name);
    }
}

fn journal(site: &Site) -> String {
    let runs = site.path("state/threescale/runs");
    let mut journals: Vec<_> = std::fs::read_dir(runs)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("journal.jsonl"))
        .collect();
    journals.sort();
    let last = journals.last();
    last.and_then(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default()
}

/// What run-books do, and what an image does that knows better than its ConfigMap: the `save` lines
/// are commented out.
const COMMENTED: &str =
    "file=/tmp/redis.conf; sed \"s/^save/#save/\" /etc/redis.d/redis.conf >$file";

#[test]
fn on_6_2_commented_save_lines_are_a_trap_that_is_found_before_anything_is_copied() {
    let trapped = Server {
        prepare: COMMENTED,
        ..REDIS_6
    };
    let site = site(&[trapped]);
    let trapped = Server {
        prepare: COMMENTED,
        ..REDIS_6
    };
    let version = trapped.version(&site);
    assert!(version.contains("redis_version:6.2."), "{version}");
    // The trap is real on this server: a dump that was put in its place is overwritten at shutdown.
    trapped.run(
        &site,
        "redis-cli CONFIG SET appendonly no && redis-cli SET old 1 && redis-cli SAVE && cp /var/lib/redis/data/dump.rdb /var/lib/redis/data/copied && redis-cli SET newer 2 && cp /var/lib/redis/data/copied /var/lib/redis/data/dump.rdb",
    );
    let copied = "cd /var/lib/redis/data && cmp copied dump.rdb && echo same || echo overwritten";
    assert_eq!(trapped.run(&site, copied).trim(), "same");
    site.kubectl(&["rollout", "restart", "deployment/redis-6"]);
    site.kubectl(&["rollout", "status", "deployment/redis-6"]);
    let after = trapped.run(&site, copied);
    assert!(after.ends_with("overwritten\n"), "{after}");
    trapped.run(&site, "rm /var/lib/redis/data/copied");

    trapped.fill(&site);
    site.prepare(&trapped.data_set(""));
    let _backup = site.report(&["backup"]).exits(0);
    trapped.run(&site, "redis-cli FLUSHALL && redis-cli SET stranger 1");
    let original = configuration(&site);
    let _refused = site
        .report(&["restore", "latest", "--yes"])
        .exits(1)
        .says("still has save points `3600 1 300 100 60 10000`")
        .says("nothing was copied")
        .says("the old data are back");
    assert_eq!(configuration(&site), original);
    assert_eq!(trapped.run(&site, "redis-cli GET stranger").trim(), "1");
    assert_eq!(trapped.run(&site, "redis-cli DBSIZE").trim(), "1");
}

const PASSWORD: &str = "made-up-password-of-backup";

const GUARDED_CONFIGURATION: &str = "apiVersion: v1
kind: ConfigMap
metadata: { name: guarded-config }
data:
  redis.conf: |
    port 0
    tls-port 6379
    tls-ca-cert-file /etc/redis-tls/ca.crt
    tls-cert-file /etc/redis-tls/tls.crt
    tls-key-file /etc/redis-tls/tls.key
    tls-auth-clients yes
    dir /var/lib/redis/data
    save 900 1
    appendonly yes
    aclfile /etc/redis-tls/users.acl
    rename-command CONFIG 5e8a-not-to-be-guessed
";

/// Beside the certificates in their Secret: a ConfigMap is no place for passwords.
const USERS: &str = "user default on >made-up-password-of-default ~* +@all
user backup on >made-up-password-of-backup +info +config|get +config|set +bgsave
";

#[test]
fn a_server_behind_password_access_list_tls_and_a_renamed_command_is_kept_and_restored() {
    let guarded = Server {
        name: "guarded",
        configuration: "guarded-config",
        client: "--tls --cacert /etc/redis-tls/ca.crt --cert /etc/redis-tls/tls.crt --key /etc/redis-tls/tls.key",
        ..PLAIN
    };
    let site = Site::with_objects_only();
    let secrets = certificates();
    site.apply(&secrets);
    site.apply(GUARDED_CONFIGURATION);
    start(&site, std::slice::from_ref(&guarded));
    let client = format!(
        "export REDISCLI_AUTH=made-up-password-of-default; redis-cli {}",
        guarded.client
    );
    let ask = |line: &str| guarded.run(&site, &format!("{client} {line}"));
    guarded.run(
        &site,
        &format!("seq 1 500 | sed 's/.*/SET key:& &/' | (export REDISCLI_AUTH=made-up-password-of-default; redis-cli {} --pipe)", guarded.client),
    );

    let bound = |more: &str, secret: &str| {
        let words = format!(
            ", encryption: mutual-tls, login: named-user, user: backup, config-command: 5e8a-not-to-be-guessed{more}"
        );
        format!("{}{secret}", guarded.data_set(&words))
    };
    let secret = "      secrets: { password: { secret: guarded-redis, key: password } }\n";

    site.prepare(&bound("", ""));
    let _no_password = site
        .report(&["backup"])
        .exits(1)
        .says("bind the secret `password`");
    site.prepare(&bound("", &secret.replace("key: password", "key: wrong")));
    let _wrong = site
        .report(&["backup"])
        .exits(1)
        .says("takes neither this user nor this password");
    let plain = bound(", load-deadline: 2s", secret).replace("encryption: mutual-tls, ", "");
    site.prepare(&plain);
    let _plain = site
        .report(&["backup"])
        .exits(1)
        .says("waited 2 s for the server to load its data");
    site.prepare(&bound("", secret).replace(", config-command: 5e8a-not-to-be-guessed", ""));
    let _unknown = site.report(&["backup"]).exits(1).says("`config-command`");
    assert!(site.runs().is_empty(), "{:?}", site.runs());

    site.prepare(&bound("", secret));
    let _backup = site.report(&["backup"]).exits(0);
    assert_eq!(ask("FLUSHALL").trim(), "OK");
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(ask("DBSIZE").trim(), "500");
    assert_eq!(ask("GET key:271").trim(), "271");

    // The password is in no line that anybody keeps, least of all in a command line.
    let audit = site.report(&["show", "latest", "--audit"]).exits(0);
    let _audit = audit.never_says(PASSWORD);
    assert!(!journal(&site).contains(PASSWORD));
}

/// An authority, and a certificate by it for server and client, as a Secret; and the passwords.
fn certificates() -> String {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key"));
    let issuer = issuer.expect("a certificate");
    let mut both_ends = CertificateParams::new(["guarded".to_owned()]).expect("parameters");
    both_ends
        .distinguished_name
        .push(DnType::CommonName, "guarded");
    let key = KeyPair::generate().expect("a key");
    let certificate = both_ends.signed_by(&key, &issuer).expect("a certificate");
    let quoted = |text: &str| serde_json::to_string(text).expect("text");
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{ name: redis-tls }}
stringData: {{ ca.crt: {}, tls.crt: {}, tls.key: {}, users.acl: {} }}
---
apiVersion: v1
kind: Secret
metadata: {{ name: guarded-redis }}
stringData: {{ password: {PASSWORD}, wrong: not-the-password }}
",
        quoted(&issuer.pem()),
        quoted(&certificate.pem()),
        quoted(&key.serialize_pem()),
        quoted(USERS)
    )
}
