"""Run the three stores in the foreground, and print the settings that lead to them."""

import argparse
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.stores.servers import SERVERS, ServerError, Stores

DATABASE = "inventory"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stores", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which are installed")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the data (not Redis's) here")
    parser.add_argument("--durable", action="store_true", help="MariaDB syncs each commit to disk")
    parser.add_argument("--mysql-port", type=int, metavar="PORT", help="default: a free one")
    parser.add_argument("--redis-port", type=int, metavar="PORT", help="default: a free one")
    parser.add_argument("--mongo-port", type=int, metavar="PORT", help="default: a free one")
    options = parser.parse_args()
    if options.check:
        return check()
    stores = Stores(
        options.data,
        durable=options.durable,
        mysql_port=options.mysql_port,
        redis_port=options.redis_port,
        mongo_port=options.mongo_port,
    )
    # Both are set: a shell starts background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt), stores:
            run(stores)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def check() -> int:
    for server in SERVERS:
        print(f"{server.name}: {'installed' if server.installed() else 'missing'}")
    return 1 if Stores.missing() else 0


def run(stores: Stores) -> None:
    stores.mysql.create_database(DATABASE)
    print(f"export MYSQL_URI={stores.mysql.url}{DATABASE}")
    print(f"export MONGODB_URI={stores.mongo.url}")
    print(f"export REDIS_URL={stores.redis.url}")
    print("# Ctrl-C stops them", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
