# The manual backup of 3scale, one command after another as its documentation has them, with kubectl in
# the place of oc. Arguments: kubectl and its options. Works in the current folder.
set -euo pipefail
words=("$@")
k() { "${words[@]}" "$@"; }
pod() { k get pods --selector "deployment=$1" --output 'jsonpath={.items[0].metadata.name}'; }

k exec deployment/system-mysql --container system-mysql -- bash -c 'export MYSQL_PWD=${MYSQL_ROOT_PASSWORD}; mysqldump --single-transaction -hlocalhost -uroot system' | gzip >system-mysql-backup.gz
rm -rf system
k cp "$(pod system-app):/opt/system/public/system" system --container system-master
k exec deployment/zync-database --container postgresql -- bash -c 'pg_dumpall -U postgres -c --if-exists' | gzip >zync-database-backup.gz
for redis in backend-redis system-redis; do
  k cp "$(pod $redis):/var/lib/redis/data/dump.rdb" ./$redis-dump.rdb
done
# What `--export` left out when kubectl still had it.
for object in $OBJECTS; do
  k get "$object" --output yaml | sed '/^  \(creationTimestamp\|resourceVersion\|uid\):/d' >"${object/\//-}.yaml"
done
