#!/usr/bin/env bash
# A cluster on this machine, on loopback: Valkey (or Redis), one Cassandra node, `roost migrate`, gateways, fanouts, and
# HAProxy before them. Runs until SIGINT or SIGTERM, then ends everything in order and with exit code 0: gateways are
# drained, nothing is left. When a part ends by itself it says which, ends the others, and ends with exit code 1.
#
#   cluster.sh [OPTION...]
#
# Options: --port PORT (where clients connect, default 4000; 0: a free one), --gateways N (default 2), --fanouts N
# (default 2), --dir DIR (data, keys, configuration and logs; is kept, and the next start with it goes on there; default:
# a temporary folder, removed at the end unless something has failed). All ports but the first are free ones.
# $ROOST_BIN is the server, else what deploy/dev/binary.sh names. Other ROOST_ variables configure every part of it.
#
# The parts run in process groups of their own, so that a Ctrl-C reaches this script alone. They are ended by their ids.
set -euo pipefail
set -m

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
PATH=$("$here/tools.sh" cache)/bin:$PATH
start_seconds=180 # for each part
stop_seconds=60   # a gateway may take gateway.drain_timeout and some

say() { printf 'cluster: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

usage() {
  sed -n '2,/^set -/{/^set -/d; s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

# ---- options -----------------------------------------------------------------------------------------------

port=4000 gateways=2 fanouts=2 dir='' is_temporary=''
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case $1 in
    --port) port=$2 ;;
    --gateways) gateways=$2 ;;
    --fanouts) fanouts=$2 ;;
    --dir) dir=$2 ;;
    *) usage ;;
  esac
  shift 2
done
for number in "$port" "$gateways" "$fanouts"; do [[ $number =~ ^[0-9]{1,5}$ ]] || usage; done
[ "$gateways" -gt 0 ] && [ "$fanouts" -gt 0 ] || usage

# ---- ports -------------------------------------------------------------------------------------------------

is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below those that systems give to outgoing connections. Nobody listens there now; Cassandra wants the next one, too.
free_port() {
  local candidate
  while :; do
    candidate=$((20000 + RANDOM % 6000 * 2))
    is_open "$candidate" || is_open $((candidate + 1)) || break
  done
  echo "$candidate"
}

# says_ready PORT: /readyz answers 200.
says_ready() {
  local status
  status=$({
    exec 3<>"/dev/tcp/127.0.0.1/$1" &&
      printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3 &&
      read -r -t 5 line <&3 && echo "$line"
  } 2>/dev/null)
  [[ $status == *' 200 '* ]]
}

# ---- parts -------------------------------------------------------------------------------------------------

declare -A ids=() # of each part that runs
names=()          # in the order of their start

# A process that has ended and is not waited for yet is none.
is_process() { [[ $(ps -o stat= -p "$1" 2>/dev/null) == [!Z]* ]]; }

add() { # NAME ID
  ids[$1]=$2
  names+=("$1")
}

launch() { # NAME COMMAND...
  local name=$1
  shift
  "$@" >"$dir/$name.log" 2>&1 </dev/null &
  add "$name" $!
}

# has_ended NAME: says so, with what is known about why.
has_ended() {
  local name=$1 status=0
  wait "${ids[$name]}" 2>/dev/null || status=$?
  unset "ids[$name]"
  tail -n 10 "$(log_of "$name")" >&2 || true
  if [ "$name" = cassandra ]; then status='?'; fi # not a child of this script
  say "$name has ended by itself (exit code $status), see $(log_of "$name")"
}

log_of() { if [ "$1" = cassandra ]; then echo "$dir/cassandra/1/log"; else echo "$dir/$1.log"; fi; }

# Any part that ends is the end of all.
check_parts() {
  local name
  for name in "${names[@]}"; do
    if [ -n "${ids[$name]:-}" ] && ! is_process "${ids[$name]}"; then
      has_ended "$name"
      exit 1
    fi
  done
}

# A signal interrupts `wait`, but not a foreground command.
pause() {
  sleep "$1" &
  sleeper=$!
  wait "$sleeper" || true
  sleeper=''
}

# until_true WHAT COMMAND...
until_true() {
  local what=$1 deadline=$((SECONDS + start_seconds))
  shift
  until "$@"; do
    check_parts
    [ $SECONDS -lt $deadline ] || die "$what: not within $start_seconds s, see $dir"
    pause 0.1
  done
}

# ---- the end -----------------------------------------------------------------------------------------------

signal() { [ -z "${ids[$2]:-}" ] || kill "-$1" "${ids[$2]}" 2>/dev/null || true; }

# end NAME...: asks all of them at once to end, and waits until they have; what does not is killed.
end() {
  local name id status deadline=$((SECONDS + stop_seconds))
  for name in "$@"; do
    if [ "$name" = haproxy ]; then signal USR1 haproxy; else signal TERM "$name"; fi # it exits with 0 on this one
  done
  for name in "$@"; do
    id=${ids[$name]:-}
    [ -n "$id" ] || continue
    while is_process "$id"; do
      if [ $SECONDS -ge $deadline ]; then
        say "$name does not end, killing it"
        kill -9 "$id" 2>/dev/null || true
        code=1
      fi
      sleep 0.1
    done
    status=0
    wait "$id" 2>/dev/null || status=$?
    unset "ids[$name]"
    case $name:$status:$started in
      *:0:* | cassandra:*) ;; # no child of this script
      *:143: | haproxy:138:) ;; # what has just begun may not know the signal yet
      *)
        say "$name ended with exit code $status, see $(log_of "$name")"
        code=1
        ;;
    esac
  done
}

kill_all() {
  local name
  trap '' INT TERM HUP
  say "killing everything"
  for name in "${names[@]}"; do signal KILL "$name"; done
  exit 1
}

of_kind() { printf '%s\n' "${names[@]}" | grep "^$1" || true; }

# Cassandra is started by its script, and is known by the file that it leaves.
adopt_cassandra() {
  local id
  id=$(cat "$dir/cassandra/1/pid" 2>/dev/null) || return 0
  if is_process "$id"; then add cassandra "$id"; fi
}

# Clients first, then what still carries their messages, then what these are stored in.
# shellcheck disable=SC2317 # called by the trap
finish() {
  code=$?
  trap - EXIT
  trap kill_all INT TERM HUP
  [ -z "$sleeper" ] || { disown "$sleeper" && kill "$sleeper"; } 2>/dev/null || true
  if [ -n "${ids[starting-cassandra]:-}" ]; then
    end starting-cassandra
    adopt_cassandra
  fi
  if [ ${#names[@]} -gt 0 ]; then
    say "ending: gateways are drained first"
    local kind
    for kind in gateway haproxy fanout migrate redis cassandra; do
      # shellcheck disable=SC2046 # a word each
      end $(of_kind "$kind")
    done
  fi
  if [ -n "$is_temporary" ] && [ "$code" = 0 ]; then
    rm -rf "$dir"
  else
    say "data and logs are in $dir"
  fi
  [ "$code" != 0 ] || say "ended"
  exit "$code"
}

# ---- what they are started with ----------------------------------------------------------------------------

secret() { # FILE: made once
  [ -s "$1" ] || (umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$1")
}

write_configuration() {
  secret "$dir/token.key"
  secret "$dir/api.key"
  sed -e "s|@DIR@|$dir|; s|@REDIS_PORT@|$redis_port|; s|@CASSANDRA_PORT@|$cassandra_port|" \
    "$here/cluster/roost.toml" >"$dir/roost.toml"
}

write_haproxy_configuration() {
  local number
  sed -e "s|@PORT@|$port|" "$here/cluster/haproxy.cfg" >"$dir/haproxy.cfg"
  for ((number = 1; number <= gateways; number++)); do
    echo "  server gateway-$number ${address[gateway-$number]} port ${api[gateway-$number]##*:}"
  done >>"$dir/haproxy.cfg"
}

# ---- the start ---------------------------------------------------------------------------------------------

start_redis() {
  local server
  server=$(command -v valkey-server || command -v redis-server) ||
    die "there is neither valkey-server nor redis-server: run \`deploy/dev/tools.sh valkey\`"
  redis_port=$(free_port)
  mkdir -p "$dir/redis"
  launch redis "$server" --bind 127.0.0.1 --port "$redis_port" --dir "$dir/redis" --save '' --appendonly yes \
    --appendfsync always --maxmemory-policy noeviction
}

start_cassandra() {
  local status=0
  cassandra_port=$(free_port)
  rm -f "$dir/cassandra/1/pid" # of another day: the lock says that nothing of it runs
  launch starting-cassandra "$here/cassandra.sh" start "$dir/cassandra" --port "$cassandra_port" \
    --storage-port "$(free_port)" --sync batch
  wait "${ids[starting-cassandra]}" || status=$?
  unset "ids[starting-cassandra]"
  adopt_cassandra
  if [ $status != 0 ]; then
    cat "$dir/starting-cassandra.log" >&2
    die "cassandra did not start"
  fi
}

migrate() {
  local status=0
  launch migrate "$roost" migrate --config "$dir/roost.toml"
  wait "${ids[migrate]}" || status=$?
  unset "ids[migrate]"
  if [ $status != 0 ]; then
    cat "$dir/migrate.log" >&2
    die "roost migrate failed with exit code $status"
  fi
}

declare -A api=() address=()

printed() { sed -n "s|^  $2 on http://\([0-9.:]*\).*|\1|p" "$dir/$1.log"; }
has_printed() { [ -n "$(printed "$1" "$2")" ]; }

start_roost() {
  local number name
  for ((number = 1; number <= fanouts; number++)); do
    launch "fanout-$number" "$roost" fanout --config "$dir/roost.toml" --api-listen 127.0.0.1:0
  done
  for ((number = 1; number <= gateways; number++)); do
    launch "gateway-$number" "$roost" gateway --config "$dir/roost.toml" --listen 127.0.0.1:0 --api-listen 127.0.0.1:0
  done
  for name in $(of_kind fanout) $(of_kind gateway); do
    until_true "$name does not say where it listens" has_printed "$name" "internal API"
    api[$name]=$(printed "$name" "internal API")
    until_true "$name is not ready" says_ready "${api[$name]##*:}"
  done
  for name in $(of_kind gateway); do
    until_true "$name does not say where it listens" has_printed "$name" listening
    address[$name]=$(printed "$name" listening)
  done
}

start_haproxy() {
  write_haproxy_configuration
  launch haproxy haproxy -db -f "$dir/haproxy.cfg"
  until_true "haproxy does not listen" is_open "$port"
}

introduce() {
  local name
  echo "A Roost cluster on loopback"
  echo
  echo "  clients      ws://127.0.0.1:$port/socket (HAProxy)"
  for name in $(of_kind gateway); do echo "  $name    internal API on http://${api[$name]}, clients at ${address[$name]}"; done
  for name in $(of_kind fanout); do echo "  $name     probes and metrics on http://${api[$name]}"; done
  echo "  redis        redis://127.0.0.1:$redis_port"
  echo "  cassandra    127.0.0.1:$cassandra_port, keyspace roost"
  echo "  API key      $dir/api.key"
  echo "  settings     $dir/roost.toml"
  echo "  logs         $dir/*.log, $dir/cassandra/1/log"
  printf '  processes   '
  for name in "${names[@]}"; do [ -z "${ids[$name]:-}" ] || printf ' %s=%s' "$name" "${ids[$name]}"; done
  echo
  echo
  echo "  a token for alice: $("$roost" token --config "$dir/roost.toml" --user alice --ttl 24h)"
  echo "  more of them: $roost token --config $dir/roost.toml --user bob --ttl 24h"
  echo "  Ctrl-C ends it."
}

roost=${ROOST_BIN:-$("$here/binary.sh")}
[ -x "$roost" ] || die "there is no server at $roost: run \`make cluster\`, which builds it"
command -v haproxy >/dev/null || die "haproxy is not on PATH: install it, or run \`deploy/dev/tools.sh haproxy\`"
if [ "$port" = 0 ]; then port=$(free_port); fi
! is_open "$port" || die "something listens on port $port already: name another one with --port"

started='' sleeper='' redis_port='' cassandra_port='' code=0
trap finish EXIT
trap 'exit 0' INT TERM HUP
if [ -z "$dir" ]; then
  is_temporary=yes
  dir=$(mktemp -d "${TMPDIR:-/tmp}/roost-cluster-XXXXXX")
fi
mkdir -p "$dir"
dir=$(cd "$dir" && pwd -P)

# Whatever is started inherits it, so it also tells of what a killed run has left.
exec 8>"$dir/lock"
if ! flock -n 8; then
  trap - EXIT
  die "another cluster, or what is left of one, uses $dir"
fi

say "starting; logs are in $dir"
start_redis
start_cassandra
write_configuration
migrate
start_roost
start_haproxy
started=yes
introduce
while :; do
  check_parts
  pause 0.5
done
