"""Becomes the given command, which then dies with the supervisor even when that is killed with -9.

Run as `python -I -S trampoline.py SIGNAL PARENT_PID COMMAND…`; standard library only. It is a program
of its own, because a hook between fork and exec is unsafe in a process with threads, and because
entering a user namespace clears the setting, so that it must be made inside.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    number, parent, *command = arguments
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != int(parent):
            sys.exit("the supervisor is already gone")
    os.execvp(command[0], command)  # noqa: S606  becoming another program is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
