#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs all tests of a build and adds them up; tools/test calls it.

Suites: lit (IR and shell tests), gtest (unit tests, each test counted), fuzz
(replays of the corpora), e2e (test/e2e/run.py, which prints a line a check),
with --full sanitize (gtest and fuzz of the runtime, gtest of its threads, fuzz
of the compiler's readers, built by the presets of these names). The last line
is `N passed, N failed, N skipped`."""
import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
import one_run  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SUITES = ["lit", "gtest", "fuzz", "sanitize", "e2e"]
# What hangs is a failure, not a wait: a test binary, all of lit. End-to-end
# checks have limits of their own.
BINARY_TIMEOUT_SECONDS = 900
LIT_TIMEOUT_SECONDS = 3600


class Totals:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def fail(self, what):
        print(f"FAIL {what}", flush=True)
        self.failed += 1

    def __str__(self):
        return (f"{self.passed} passed, {self.failed} failed, "
                f"{self.skipped} skipped")


def cache_entry(build, name):
    """The value of a CMake cache entry, or nothing."""
    try:
        with open(os.path.join(build, "CMakeCache.txt")) as cache:
            for line in cache:
                if line.startswith(name + ":"):
                    return line.split("=", 1)[1].strip()
    except OSError:
        pass
    return None


def run_lit(build, totals):
    lit = cache_entry(build, "FATHOM_LIT")
    tests = os.path.join(build, "test")
    if not lit or not os.path.exists(os.path.join(tests, "lit.site.cfg.py")):
        return totals.fail("lit: this build has no lit (was it configured "
                           "with FATHOM_BUILD_TESTS and LLVM's tools?)")
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        try:
            subprocess.run([lit, "-q", "--output", report, tests],
                           timeout=LIT_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return totals.fail(f"lit: no end after {LIT_TIMEOUT_SECONDS} s")
        try:
            with open(report) as f:
                results = json.load(f)["tests"]
        except (OSError, ValueError, KeyError):
            return totals.fail("lit: no report")
    if not results:
        return totals.fail("lit: found no tests")
    for test in results:
        if test["code"] in ("PASS", "XFAIL", "FLAKYPASS"):
            totals.passed += 1
        elif test["code"] in ("UNSUPPORTED", "SKIPPED", "EXCLUDED"):
            print(f"SKIP {test['name']}: {test['code'].lower()}")
            totals.skipped += 1
        else:
            totals.fail(f"{test['name']}: {test['code'].lower()}")
    print(f"lit: {len(results)} tests", flush=True)


def registered_tests(build, totals):
    """(name, command, folder) of everything that CMake's add_test knows."""
    shown = subprocess.run(["ctest", "--test-dir", build,
                            "--show-only=json-v1"],
                           stdout=subprocess.PIPE, text=True)
    try:
        tests = json.loads(shown.stdout)["tests"]
    except (ValueError, KeyError):
        totals.fail("ctest: no list of tests")
        return []
    found = []
    for test in tests:
        folder = build
        for entry in test.get("properties", []):
            if entry["name"] == "WORKING_DIRECTORY":
                folder = entry["value"]
        found.append((test["name"], test.get("command"), folder))
    return found


def run_binary(command, folder):
    """Exit status and output, as one text."""
    try:
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True,
                              errors="replace",
                              timeout=BINARY_TIMEOUT_SECONDS)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        return None, f"no end after {BINARY_TIMEOUT_SECONDS} s"
    except OSError as error:
        return None, str(error)


def count_gtest(name, report, totals):
    """Adds a gtest report; returns how many tests failed in it. A program that
    runs none proves nothing."""
    failed = counted = 0
    for suite in report["testsuites"]:
        for test in suite["testsuite"]:
            label = f"{name}: {suite['name']}.{test['name']}"
            if test.get("failures"):
                totals.fail(label)
                failed += 1
            elif test.get("result") == "SKIPPED":
                print(f"SKIP {label}")
                totals.skipped += 1
            elif test.get("status") == "RUN":
                totals.passed += 1
            else:  # disabled
                continue
            counted += 1
    if not counted:
        totals.fail(f"{name}: ran no test")
        failed = 1
    return failed


def run_gtest(build, totals, names=None, options=()):
    tests = [t for t in registered_tests(build, totals)
             if not t[0].startswith("fuzz-") and (not names or t[0] in names)]
    if not tests:
        totals.fail("gtest: found no unit tests")
    for name, command, folder in tests:
        if not command or not os.path.exists(command[0]):
            totals.fail(f"{name}: not built")
            continue
        started = time.time()
        with tempfile.TemporaryDirectory() as scratch:
            report = os.path.join(scratch, "report.json")
            status, output = run_binary(
                [*command, *options, f"--gtest_output=json:{report}"], folder)
            try:
                with open(report) as f:
                    failed = count_gtest(name, json.load(f), totals)
            except (OSError, ValueError, KeyError):
                totals.fail(f"{name}: no report, exit status {status}")
                failed = 1
        if status != 0 and not failed:
            totals.fail(f"{name}: exit status {status}")
            failed = 1
        if failed:
            print(output[-8000:])
        print(f"{name}: {time.time() - started:.1f} s", flush=True)


def run_fuzz(build, totals, names=None):
    tests = [t for t in registered_tests(build, totals)
             if t[0].startswith("fuzz-") and (not names or t[0] in names)]
    if not tests:
        totals.fail("fuzz: found no corpus replays")
    for name, command, folder in tests:
        status, output = (run_binary(command, folder) if command
                          else (None, "not built"))
        if status == 0:
            print(f"PASS {name}", flush=True)
            totals.passed += 1
        else:
            totals.fail(f"{name}: exit status {status}")
            print(output[-4000:])


def built_by(preset, totals):
    """The folder that a preset builds, or nothing after a failure."""
    build = os.path.join(ROOT, "build-" + preset)
    os.makedirs(build, exist_ok=True)
    one_run.claim(build)
    for command in (["cmake", "--preset", preset],
                    ["cmake", "--build", "--preset", preset]):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True,
                              errors="replace")
        if done.returncode:
            print(done.stdout[-4000:])
            totals.fail("sanitize: " + " ".join(command))
            return None
    return build


def run_sanitized(totals):
    """Under AddressSanitizer and UBSan the runtime, and of the compiler what
    reads files of others; under ThreadSanitizer what has threads."""
    build = built_by("sanitize", totals)
    if build:
        run_gtest(build, totals)
        run_fuzz(build, totals)
    build = built_by("sanitize-threads", totals)
    if build:
        run_gtest(build, totals, {"runtime-tests"}, [
            "--gtest_filter=ThreadPool*:*EngineTest*:*Emulated*:*Placement*"])
    build = built_by("sanitize-readers", totals)
    if build:
        run_fuzz(build, totals, {"fuzz-FuzzConfig", "fuzz-FuzzIndex",
                                 "fuzz-FuzzSafetensors"})


def run_checks(command, totals, lock):
    """Runs end-to-end checks and adds them up as their lines come."""
    print("+ " + " ".join(map(shlex.quote, command)), flush=True)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                               errors="replace")
    failed = ran = 0
    whole = False
    for line in process.stdout:
        word = line.split(" ", 1)[0].strip()
        with lock:
            print(line, end="", flush=True)
            totals.passed += word == "PASS"
            totals.failed += word == "FAIL"
            totals.skipped += word == "SKIP"
        failed += word == "FAIL"
        ran += word in ("PASS", "FAIL", "SKIP")
        whole = re.match(r"\d+ passed, \d+ failed, ", line) is not None
    status = process.wait()
    with lock:
        if not whole:
            totals.fail(f"e2e: ended in the middle, exit status {status}")
        elif status != 0 and not failed:
            totals.fail(f"e2e: exit status {status}")
        elif not ran:
            totals.fail("e2e: no check ran")


def count_checks(command, totals, lock):
    """An exception in a thread would be lost, and its checks with it."""
    try:
        run_checks(command, totals, lock)
    except Exception as error:
        with lock:
            totals.fail(f"e2e: {type(error).__name__}: {error}")


def run_e2e(build, totals, full):
    """Half of the checks keep one core busy, the others wait for compilers:
    side by side, but for --full, which measures speed."""
    script = os.path.join(ROOT, "test", "e2e", "run.py")
    command = [sys.executable, script, build]
    parts = [["--full"]] if full else [["--half", "devices"], ["--half", "host"]]
    lock = threading.Lock()
    threads = [threading.Thread(target=count_checks,
                                args=(command + part, totals, lock))
               for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true",
                        help="the slow end-to-end checks, too")
    parser.add_argument("--no-setup", action="store_true",
                        help="do not install or build (read by tools/test)")
    parser.add_argument("--check-options", action="store_true",
                        help="do nothing if the options are good (likewise)")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"),
                        metavar="DIR", help="the build folder")
    parser.add_argument("--only", metavar="SUITES",
                        help="of " + ",".join(SUITES)
                        + "; by default all, sanitize with --full")
    options = parser.parse_args()
    suites = ([s for s in SUITES if options.full or s != "sanitize"]
              if options.only is None else options.only.split(","))
    unknown = [s for s in suites if s not in SUITES]
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; there are "
                     + ", ".join(SUITES))
    build = os.path.abspath(options.build)
    built = os.path.join(ROOT, "build")
    same = os.path.realpath(build) == os.path.realpath(built)
    if not options.no_setup and not same:
        parser.error(f"what is set up and built is {built}; to test another "
                     "folder, build it first (cmake --build DIR) and say "
                     "--no-setup, too")
    if options.check_options:
        return 0
    one_run.claim(build)
    # A filter or a shard of somebody's would leave out tests.
    for name in [n for n in os.environ if n.startswith("GTEST_")]:
        del os.environ[name]
    totals = Totals()
    for suite in suites:
        print(f"== {suite}", flush=True)
        if suite == "lit":
            run_lit(build, totals)
        elif suite == "gtest":
            run_gtest(build, totals)
        elif suite == "fuzz":
            run_fuzz(build, totals)
        elif suite == "sanitize":
            run_sanitized(totals)
        else:
            run_e2e(build, totals, options.full)
    print(totals)
    return 1 if totals.failed or not totals.passed else 0


if __name__ == "__main__":
    sys.exit(main())
