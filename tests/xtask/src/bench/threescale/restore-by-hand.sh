# The manual restore of 3scale, one command after another as its documentation has them, with kubectl in
# the place of oc. Arguments: kubectl and its options. Works in the folder that the backup filled.
#
# Where the documentation's words lose data with today's Redis, this does what they mean: `save ""` for
# commented lines, which leave the defaults in force, and the append-only file rewritten before it counts.
set -euo pipefail
words=("$@")
k() { "${words[@]}" "$@"; }
pod() { k get pods --selector "deployment=$1" --output 'jsonpath={.items[0].metadata.name}'; }
inside() { k exec "deployment/$1" --container "$2" -- bash -c "$3"; }
roll() {
  k rollout restart "deployment/$1"
  k rollout status "deployment/$1"
}

for object in $OBJECTS; do
  k apply --filename "${object/\//-}.yaml"
done

k cp ./system-mysql-backup.gz "$(pod system-mysql):/tmp/system-mysql-backup.gz" --container system-mysql
inside system-mysql system-mysql 'gzip -d /tmp/system-mysql-backup.gz'
inside system-mysql system-mysql 'export MYSQL_PWD=${MYSQL_ROOT_PASSWORD}; mysql -hlocalhost -uroot system </tmp/system-mysql-backup; rm /tmp/system-mysql-backup'

# `rsync --delete`, without rsync.
inside system-app system-master 'find /opt/system/public/system -mindepth 1 -delete'
k cp system/. "$(pod system-app):/opt/system/public/system" --container system-master

k cp ./zync-database-backup.gz "$(pod zync-database):/tmp/zync-database-backup.gz" --container postgresql
inside zync-database postgresql 'gzip -d /tmp/zync-database-backup.gz'
inside zync-database postgresql 'psql -q -U postgres -f /tmp/zync-database-backup; rm /tmp/zync-database-backup'

for redis in backend-redis system-redis; do
  k get configmap redis-config --output yaml >as-it-was.yaml
  sed -e 's/^    save 900 1$/    save ""/' -e '/^    save [0-9]/d' -e 's/^    appendonly yes$/    appendonly no/' as-it-was.yaml | k apply --filename -
  roll $redis
  inside $redis $redis 'cd /var/lib/redis/data; mv dump.rdb dump.rdb-old || true; rm -rf appendonly-old; mv appendonlydir appendonly-old || true'
  k cp ./$redis-dump.rdb "$(pod $redis):/var/lib/redis/data/dump.rdb" --container $redis
  roll $redis
  inside $redis $redis 'redis-cli config set appendonly yes; until redis-cli info persistence | tr -d "\r" | grep -qx aof_rewrite_in_progress:0; do sleep 0.2; done'
  sed '/^  \(creationTimestamp\|resourceVersion\|uid\):/d' as-it-was.yaml | k apply --filename -
  roll $redis
done

roll backend-worker
roll system-app
k exec deployment/system-sidekiq --container system-sidekiq -- bash -c 'bundle exec rake zync:resync:domains'
