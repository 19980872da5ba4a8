# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One run of tests in a build folder at a time: two would empty each other's
temporary folders. tools/setup waits for the same lock."""
import fcntl
import os
import sys

LOCK = "fathom.lock"
# Tells who is started by a run which folders that has.
HELD = "FATHOM_TEST_FOLDERS"
kept = []  # open until this process ends, and the locks with it


def claim(build):
    """Ends this process with exit code 4 where another run has the folder."""
    build = os.path.realpath(build)
    held = [h for h in os.environ.get(HELD, "").split(os.pathsep) if h]
    if build in held or not os.path.isdir(build):
        return
    file = open(os.path.join(build, LOCK), "a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"error: tests or tools/setup are running in {build}, and two "
              "runs there would break each other\nhelp: wait for the other "
              "one, or build into another folder and name that",
              file=sys.stderr)
        sys.exit(4)
    kept.append(file)
    os.environ[HELD] = os.pathsep.join([*held, build])
