"""Work that kills its process, in a module that is quickly imported by it."""

import os
import signal
from pathlib import Path

from presage.codec.archive.work import Done, Job, Task
from presage.codec.cli.files import Item


def fatal(item: Item) -> dict[str, str]:
    """The name of an input, but for one called `kill`."""
    if item.path.name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"name": item.path.name}


def fatal_task(job: Job, task: Task) -> Done:
    """The path of a task, but for one called `kill`, and for `once` when it is first met."""
    if task.entry.path == "kill" or (task.entry.path == "once" and not os.path.exists(job.partial)):
        Path(job.partial).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Done(task.entry, message=task.entry.path)
