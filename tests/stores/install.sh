#!/usr/bin/env bash
# Installs what `python -m tests.stores` starts: MariaDB, Redis, and a server of MongoDB's protocol
# (Java) in .stores/ under the project's root. Run again, it does only what is missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
stores=$(cd "$here/../.." && pwd)/.stores
# Debian keeps servers where an ordinary user's PATH does not look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    local policy=/usr/sbin/policy-rc.d made_policy=
    # Forbids the packages to start their services: we start our own, and their ports stay free.
    if [[ ! -e $policy ]]; then
        made_policy=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod +x "$policy"
    fi
    local status=0
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" ||
        status=$?
    if [[ $made_policy ]]; then as_root rm -f "$policy"; fi
    return "$status"
}

keep_from_starting_at_boot() {
    # Not every machine has systemd, and only a running one has services to start at boot.
    if [[ -d /run/systemd/system ]]; then as_root systemctl disable --now --quiet "$@"; fi
}

packages=()
services=()
if ! command -v mariadbd >/dev/null; then packages+=(mariadb-server) services+=(mariadb); fi
if ! command -v redis-server >/dev/null; then packages+=(redis-server) services+=(redis-server); fi
if ! command -v javac >/dev/null; then packages+=(default-jdk-headless); fi
if ! command -v mvn >/dev/null; then packages+=(maven); fi
if ((${#packages[@]})); then install_packages "${packages[@]}"; fi
if ((${#services[@]})); then keep_from_starting_at_boot "${services[@]}"; fi

# The sums, written last, say which sources the jars and classes were made from.
cd "$here/mongo"
if ! sha256sum --check --status "$stores/sums" 2>/dev/null; then
    rm -rf "$stores/lib" "$stores/classes" "$stores/sums"
    mkdir -p "$stores"
    mvn --quiet --batch-mode dependency:copy-dependencies -DoutputDirectory="$stores/lib"
    javac -cp "$stores/lib/*" -d "$stores/classes" MongoServer.java
    sha256sum pom.xml MongoServer.java >"$stores/sums"
fi
