"""`python -P -m batchq.local.launch FD ARGUMENTS…`: Celery, with the installed workers, ending with who started it.

`celery -A workers` puts the working folder in front of the module path, and a foreign ./workers there would be
run in place of ours. Here the working folder comes last: operations of the user's own are still found in it.

FD is the reading end of a pipe whose other end the starter holds, or "-". When the starter is gone, however it
died, the pipe ends, and Celery is asked to end as by SIGTERM: calls under way finish, the rest goes back.
"""

from __future__ import annotations

import _thread
import os
import runpy
import signal
import sys

LAST_WORD_S = 30  # after the starter's death, for calls under way; then the process group is killed


def main() -> None:
    fd, arguments = sys.argv[1], sys.argv[2:]
    if fd != "-":
        # begun before gevent patches anything, so that it is a thread of the system and its read may block
        _thread.start_new_thread(_end_with_starter, (int(fd), os.read, _sleep()))
    here = os.getcwd()  # noqa: PTH109  # the very text that Celery looks for in the module path
    if here not in sys.path:
        sys.path.append(here)
    sys.argv = ["celery", *arguments]
    runpy.run_module("celery", run_name="__main__", alter_sys=True)


def _sleep() -> object:
    import time

    return time.sleep


def _end_with_starter(fd: int, read: object, sleep: object) -> None:
    while read(fd, 1):  # type: ignore[operator]
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(LAST_WORD_S)  # type: ignore[operator]
    if os.getpgrp() == os.getpid():  # a group of our own: children of the prefork pool too
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
