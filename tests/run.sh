#!/usr/bin/env bash
# The whole suite: on the embedded stores, then on the real ones where they are installed.
# With CI set, missing real stores are a failure and not a reason to leave them out.
set -euo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
kinds=(embedded)
if missing=$($python -m tests.stores --check 2>&1); then
  kinds+=(real)
  echo "Stores: embedded (SQLite, nx-27017, Valkey), then real (MariaDB, mongo-java-server, Redis)."
elif [ -n "${CI:-}" ]; then
  echo "Stores: the real ones are missing, which CI does not pass over:" >&2
  echo "$missing" >&2
  exit 1
else
  echo "Stores: embedded alone (SQLite, nx-27017, Valkey). For the real ones: tests/stores/install.sh"
fi

for kind in "${kinds[@]}"; do
  $python -m pytest --stores="$kind" -n 2 --dist loadfile -m "not faults and not process" "$@"
  # These kill and time whole processes, so they have the machine to themselves.
  $python -m pytest --stores="$kind" -m "faults or process" "$@"
done
