"""Background tasks."""

import asyncio
from typing import Any


async def end(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and return once it has ended, whatever with."""
    while task is not None and not task.done():
        # More than once if need be: on Python 3.11 `wait_for`, which redis-py and others call, can
        # lose a cancellation that comes as it is done.
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
