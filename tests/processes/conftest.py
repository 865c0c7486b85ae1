"""What only one kind of stores can have is collected with that kind only.

`test_serve.py` is about the embedded stores that a server brings along, `test_workers.py` about
several workers, which need stores that several processes share.
"""

from pathlib import Path

import pytest

_KINDS = {"test_serve.py": "embedded", "test_workers.py": "real"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    kind = _KINDS.get(collection_path.name)
    return True if kind not in (None, config.getoption("--stores")) else None
