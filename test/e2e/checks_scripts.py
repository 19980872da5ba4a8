# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What runs the tests: nothing that went wrong is lost in the sums."""
import fcntl
import json
import os
import shutil
import subprocess
import sys

from harness import TEST, check, require


def tree(env):
    """A copy of what adds up, whose tests are written by the check, and a build
    folder."""
    root = env.temporary("tree")
    build = os.path.join(root, "build")
    os.makedirs(os.path.join(root, "test", "e2e"))
    os.makedirs(build)
    for name in ("run_all.py", "one_run.py"):
        shutil.copy(os.path.join(TEST, name), os.path.join(root, "test", name))
    return root, build


def run_all(root, suite, **more):
    return subprocess.run(
        [sys.executable, os.path.join(root, "test", "run_all.py"), "--no-setup",
         "--only", suite], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True, timeout=60,
        env={**{n: v for n, v in os.environ.items()
                if n != "FATHOM_TEST_FOLDERS"}, **more})


@check("scripts/no-check-is-lost")
def no_check_is_lost(env):
    root, _ = tree(env)
    script = os.path.join(root, "test", "e2e", "run.py")
    begin = "echo PASS one\n"
    end = "echo 1 passed, 0 failed, 0 skipped in 0 s\n"
    for body, code, last in (
            (begin + end, 0, "2 passed, 0 failed, 0 skipped"),
            # Bytes that are no UTF-8.
            ("printf 'FAIL two: \\377\\n'\n" + end + "exit 1\n", 1,
             "0 passed, 2 failed, 0 skipped"),
            # Ended in the middle, after a failure or with exit code 0.
            (begin + "echo FAIL two: no\nkill -9 $$\n", 1,
             "2 passed, 4 failed, 0 skipped"),
            (begin, 1, "2 passed, 2 failed, 0 skipped"),
            (begin + end + "exit 3\n", 1, "2 passed, 2 failed, 0 skipped"),
            (end, 1, "0 passed, 2 failed, 0 skipped")):
        with open(script, "w") as f:
            f.write("import subprocess, sys\nsys.exit(abs(subprocess.call("
                    f"['sh', '-c', {body!r}])))\n")
        done = run_all(root, "e2e")
        require(done.returncode == code and
                done.stdout.splitlines()[-1] == last,
                f"{body!r}: {done.returncode}: {done.stdout}{done.stderr}")


def report(*tests):
    return json.dumps({"testsuites": [{"name": "S", "testsuite": [
        {"name": name, "status": status, "result": result}
        for name, status, result in tests]}]})


@check("scripts/a-program-runs-tests")
def program_runs_tests(env):
    """A report without tests is a failure, and nobody's filter gets through."""
    root, build = tree(env)
    program = os.path.join(build, "unit")
    with open(os.path.join(build, "CTestTestfile.cmake"), "w") as f:
        f.write(f'add_test(unit "{program}")\n')
    for text, code, last in (
            (report(("a", "RUN", "COMPLETED"), ("b", "RUN", "SKIPPED")), 0,
             "1 passed, 0 failed, 1 skipped"),
            (report(("a", "NOTRUN", "SUPPRESSED")), 1,
             "0 passed, 1 failed, 0 skipped"),
            (report(), 1, "0 passed, 1 failed, 0 skipped")):
        with open(program, "w") as f:
            f.write("#!/bin/sh\n[ -z \"$GTEST_FILTER\" ] || exit 0\n"
                    "cat >\"${1#--gtest_output=json:}\" <<'EOF'\n"
                    f"{text}\nEOF\n")
        os.chmod(program, 0o755)
        done = run_all(root, "gtest", GTEST_FILTER="Some.*")
        require(done.returncode == code and
                done.stdout.splitlines()[-1] == last,
                f"{text}: {done.returncode}: {done.stdout}{done.stderr}")


@check("scripts/one-run-at-a-time")
def one_run_at_a_time(env):
    root, build = tree(env)
    with open(os.path.join(build, "fathom.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_all(root, "gtest")
        require(done.returncode == 4 and build in done.stderr and
                "help: wait" in done.stderr and not done.stdout,
                f"{done.returncode}: {done.stdout}{done.stderr}")
        # What a run has itself is no hindrance to what it starts.
        for held, code in (("/elsewhere", 4), (f"/elsewhere:{build}", 1)):
            done = run_all(root, "gtest", FATHOM_TEST_FOLDERS=held)
            require(done.returncode == code, f"{held}: {done.returncode}: "
                    f"{done.stdout}{done.stderr}")


@check("scripts/setup-waits")
def setup_waits(env):
    root, build = tree(env)
    setup = os.path.join(root, "tools", "setup")
    os.makedirs(os.path.dirname(setup))
    shutil.copy(os.path.join(os.path.dirname(TEST), "tools", "setup"), setup)
    with open(os.path.join(build, "fathom.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([setup, "--no-install", "--no-build"],
                                   stderr=subprocess.PIPE, text=True)
        require("waiting" in process.stderr.readline(), "it does not wait")
        require(process.poll() is None, "it does not wait")
    require(process.wait(timeout=60) == 0, process.stderr.read())
    process.stderr.close()


@check("scripts/a-check-that-hangs")
def check_that_hangs(env):
    """Is a failure, and the checks after it run."""
    _, build = tree(env)
    program = (
        "import sys, time\n"
        f"sys.path[:0] = [{os.path.join(TEST, 'e2e')!r}]\n"
        "import run, harness\n"
        "harness.CHECKS[:] = [('a', False, lambda env: time.sleep(50)),\n"
        "                     ('b', False, lambda env: 'good')]\n"
        f"sys.argv = ['run.py', {build!r}]\n"
        "sys.exit(run.main())\n")
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=120,
        env=dict(os.environ, FATHOM_E2E_LIMIT="1"))
    require(done.returncode == 1 and "FAIL a: it did not end" in done.stdout and
            "PASS b (good" in done.stdout, done.stdout + done.stderr)
