#!/usr/bin/env bash
# Apache Cassandra 5 on loopback: stands in for ScyllaDB on development machines and in tests.
#
#   cassandra.sh run     DIR [OPTION...]   start, say "ready", stop when the input ends; DIR is removed then
#   cassandra.sh start   DIR [OPTION...]   start and return when all nodes answer and see each other
#   cassandra.sh stop    DIR               stop all nodes
#   cassandra.sh kill    DIR NODE          kill -9 one
#   cassandra.sh restart DIR NODE          start one again, and return when it answers
#   cassandra.sh java                      print the JDK 17 that is used
#   cassandra.sh archive                   make the class archive that shortens each start; deploy/dev/tools.sh does
#
# Options: --nodes N (1 to 9, default 1), --network A.B.C (nodes are A.B.C.1 to A.B.C.N, default 127.0.0), --port PORT
# (9042), --storage-port PORT (7000), --sync periodic|batch (batch: what was answered survives a kill; default periodic),
# --password (user and password "cassandra"), --tls FOLDER (with server.pem: PKCS#8 key and certificate, and ca.pem).
#
# Node N has its data, log and process id in DIR/N. Processes are ended by those ids.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
jars=${ROOST_CASSANDRA_JARS:-$("$here/tools.sh" cache)/cassandra}
wait_seconds=180

die() { printf 'cassandra: %s\n' "$*" >&2; exit 1; }

java17() {
  local java
  for java in "${JAVA_HOME:-/nonexistent}/bin/java" /usr/lib/jvm/*17*/bin/java "$(command -v java || true)"; do
    if [ -x "$java" ] && [[ $("$java" -version 2>&1) == *'version "17.'* ]]; then
      echo "$java"
      return
    fi
  done
  die "there is no JDK 17, which Cassandra 5 needs: install it (Debian: openjdk-17-jre-headless) or set JAVA_HOME"
}

# In a fixed order: the class archive demands it.
classpath() { printf '%s:' *.jar; }

# ---- one node ----------------------------------------------------------------------------------------------

# A process that has ended and is not waited for yet is none.
is_process() { [[ $(ps -o stat= -p "$1" 2>/dev/null) == [!Z]* ]]; }

# is_alive NODE: its process is there, and is not another one with the same id.
is_alive() {
  local id
  id=$(cat "$dir/$1/pid" 2>/dev/null) && [ -n "$id" ] && is_process "$id" &&
    [[ $(ps -o args= -p "$id") == *"$dir/$1/cassandra.yaml"* ]]
}

set_up() {
  local node=$1 folder=$dir/$1 seeds=$network.1 period='' authentication='' encryption='' n step token
  mkdir -p "$folder"
  for ((n = 2; n <= nodes; n++)); do seeds+=,$network.$n; done # all, since they start together
  step=$((9223372036854775807 / nodes))
  token=$((-9223372036854775807 + (node - 1) * 2 * step))
  [ "$sync" = batch ] || period='commitlog_sync_period: 10s'
  if [ -n "$password" ]; then
    authentication='authenticator: {class_name: PasswordAuthenticator}\n'
    authentication+='authorizer: {class_name: CassandraAuthorizer}\nrole_manager: {class_name: CassandraRoleManager}'
  fi
  if [ -n "$tls" ]; then
    encryption="client_encryption_options: {enabled: true, optional: false, require_client_auth: false, "
    encryption+="ssl_context_factory: {class_name: org.apache.cassandra.security.PEMBasedSslContextFactory}, "
    encryption+="keystore: \"$tls/server.pem\", truststore: \"$tls/ca.pem\"}"
  fi
  sed -e "s|@TOKEN@|$token|; s|@ADDRESS@|$network.$node|; s|@SEEDS@|$seeds|; s|@DIR@|$folder|" \
    -e "s|@PORT@|$port|; s|@STORAGE_PORT@|$storage_port|; s|@SSL_STORAGE_PORT@|$((storage_port + 1))|" \
    -e "s|@SYNC@|$sync|; s|@SYNC_PERIOD@|$period|; s|@AUTHENTICATION@|$authentication|; s|@TLS@|$encryption|" \
    "$here/cassandra/cassandra.yaml" >"$folder/cassandra.yaml"
}

launch() { # NODE [JVM OPTION...]
  local folder=$dir/$1 java
  shift
  java=$(java17)
  if [ $# -eq 0 ] && [ -e "$jars/classes.jsa" ]; then set -- -XX:SharedArchiveFile="$jars/classes.jsa"; fi
  echo "=== start" >>"$folder/log"
  (
    cd "$jars"
    MALLOC_ARENA_MAX=2 exec nohup "$java" @"$here/cassandra/jvm.options" "$@" \
      -Dcassandra.config="file://$folder/cassandra.yaml" -Dcassandra.storagedir="$folder" \
      -Dlogback.configurationFile="$here/cassandra/logback.xml" \
      -cp "$(classpath)" org.apache.cassandra.service.CassandraDaemon
  ) >>"$folder/log" 2>&1 </dev/null &
  echo $! >"$folder/pid"
  disown $! # its end is no news
}

# end NODE SIGNAL: returns when the process is gone.
end() {
  local id deadline=$((SECONDS + 30))
  is_alive "$1" || return 0
  id=$(cat "$dir/$1/pid")
  kill "-$2" "$id"
  while is_process "$id"; do
    [ $SECONDS -lt $deadline ] || kill -9 "$id"
    sleep 0.05
  done
}

# ---- waiting -----------------------------------------------------------------------------------------------

# says NODE PATTERN: the log of its last start has it.
says() { awk -v pattern="$2" '/^=== start/ { found = 0 } $0 ~ pattern { found = 1 } END { exit !found }' "$dir/$1/log"; }

# sees NODE OTHER: OTHER is part of the ring in the eyes of NODE, and up.
sees() {
  awk -v other="/$network.$2:" '
    /^=== start/ { up = normal = 0 }
    !index($0, other) { next }
    /state (NORMAL, token|jump to NORMAL)/ { normal = 1 }
    /is now UP/ { up = 1 }
    /is now DOWN|removing from gossip/ { up = 0 }
    END { exit !(up && normal) }' "$dir/$1/log"
}

# Whichever node came first makes the user.
has_user() {
  local node
  for ((node = 1; node <= nodes; node++)); do says "$node" 'Created default superuser role' && return 0; done
  return 1
}

# until_true NODE WHAT COMMAND...: fails when the node dies or time is up.
until_true() {
  local node=$1 what=$2
  shift 2
  until "$@"; do
    # Not is_alive: what was launched just now may not be Java yet.
    if ! is_process "$(cat "$dir/$node/pid")"; then
      tail -n 30 "$dir/$node/log" >&2
      die "node $node has ended, see $dir/$node/log"
    fi
    [ $SECONDS -lt $wait_seconds ] || die "node $node $what in $wait_seconds s, see $dir/$node/log"
    sleep 0.1
  done
}

wait_for() { # NODE
  local other
  until_true "$1" "does not listen" says "$1" 'Starting listening for CQL clients'
  for ((other = 1; other <= nodes; other++)); do
    if [ "$other" != "$1" ] && is_alive "$other"; then
      until_true "$1" "does not see node $other" sees "$1" "$other"
      until_true "$other" "does not see node $1" sees "$other" "$1"
    fi
  done
}

# ---- commands ----------------------------------------------------------------------------------------------

start() {
  local node
  for ((node = 1; node <= nodes; node++)); do
    ! is_alive "$node" || die "node $node runs already"
    set_up "$node"
  done
  for ((node = 1; node <= nodes; node++)); do launch "$node"; done
  for ((node = 1; node <= nodes; node++)); do wait_for "$node"; done
  [ -z "$password" ] || until_true 1 "made no user" has_user
}

end_all() { # SIGNAL
  local node
  for ((node = 1; node <= nodes; node++)); do end "$node" "$1"; done
}

usage() {
  sed -n '2,/^set -/{s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

command=${1:-}
dir=${2:-}
if [ "$command" = java ]; then
  java17
  exit
fi
[ "$command" = archive ] || [ -n "$dir" ] || usage
shift $(($# < 2 ? $# : 2))

nodes=1 network=127.0.0 port=9042 storage_port=7000 sync=periodic password='' tls='' node=''
# What a running cluster was started with comes first.
[ ! -e "$dir/options" ] || mapfile -t saved <"$dir/options"
if [ "$command" = kill ] || [ "$command" = restart ]; then
  node=${1:?which node?}
  shift
fi
set -- ${saved[@]+"${saved[@]}"} "$@"
given=("$@")
while [ $# -gt 0 ]; do
  case $1 in
    --nodes) nodes=$2 ;;
    --network) network=$2 ;;
    --port) port=$2 ;;
    --storage-port) storage_port=$2 ;;
    --sync) sync=$2 ;;
    --tls) tls=$(cd "$2" && pwd -P) ;;
    --password)
      password=yes
      shift
      continue
      ;;
    *) usage ;;
  esac
  shift 2
done

[ -e "$jars/complete" ] || [ "$command" = archive ] ||
  die "Cassandra is not in the cache: run \`make tools\`"
if [ "$command" = run ] || [ "$command" = start ]; then
  mkdir -p "$dir"
  printf '%s\n' ${given[@]+"${given[@]}"} | sed '/^$/d' >"$dir/options"
fi
[ -z "$dir" ] || dir=$(cd "$dir" && pwd -P)

case $command in
  start) start ;;
  stop) end_all TERM ;;
  kill) end "$node" KILL ;;
  restart)
    launch "$node"
    wait_for "$node"
    ;;
  run)
    trap 'end_all KILL; rm -rf "$dir"' EXIT
    start
    echo ready
    cat >/dev/null
    ;;
  archive)
    dir=$(mktemp -d)
    network=127.$((RANDOM % 200 + 50)).$((RANDOM % 200 + 50))
    trap 'end_all KILL; rm -rf "$dir"' EXIT
    set_up 1
    launch 1 -XX:ArchiveClassesAtExit="$jars/classes.jsa"
    wait_for 1
    end 1 TERM
    [ -s "$jars/classes.jsa" ] || die "no class archive was written"
    ;;
  *) usage ;;
esac
