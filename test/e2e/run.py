#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""End-to-end tests: checkpoints are compiled and run, and what comes out is
compared with the published code's logits and with the numpy reference.

usage: run.py BUILD_DIR [--full] [--only TEXT] [--half HALF] [--list]

Prints a line for each check, `PASS name (remark)`, `FAIL name: why` or
`SKIP name: why`; the exit code is 1 if any failed. Without --full it takes
some minutes on two cores. Files go to BUILD_DIR/e2e, those of the half for
devices to BUILD_DIR/e2e-devices, so that both can run side by side.
FATHOM_E2E_LIMIT is how many seconds a check may take (3600; four times as many
with --full)."""
import argparse
import os
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(sys.path[0]))
import one_run  # noqa: E402
import harness  # noqa: E402
import checks_ascend  # noqa: E402,F401
import checks_assembler  # noqa: E402,F401
import checks_cuda  # noqa: E402,F401
import checks_files  # noqa: E402,F401
import checks_devices  # noqa: E402,F401
import checks_embedding  # noqa: E402,F401
import checks_fusion  # noqa: E402,F401
import checks_interpreter  # noqa: E402,F401
import checks_large  # noqa: E402,F401
import checks_plan  # noqa: E402,F401
import checks_verify  # noqa: E402,F401
import checks_model  # noqa: E402,F401
import checks_product  # noqa: E402,F401
import checks_scripts  # noqa: E402,F401
import checks_shapes  # noqa: E402,F401
import checks_text  # noqa: E402,F401
import checks_drivers  # noqa: E402,F401


# Checks that mostly wait for compilers of devices; the others for one process.
DEVICE_GROUPS = {"ascend", "cuda"}


def is_of(half, name):
    return not half or (name.split("/")[0] in DEVICE_GROUPS) == (half == "devices")


# A check that hangs is a failure, not a wait; slow ones measure for long.
LIMIT_SECONDS = int(os.environ.get("FATHOM_E2E_LIMIT", 3600))
SLOW_LIMIT_SECONDS = 4 * LIMIT_SECONDS


def too_long(*_):
    raise AssertionError("it did not end")


def run_one(env, name, function):
    started = time.time()
    try:
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(SLOW_LIMIT_SECONDS if env.full else LIMIT_SECONDS)
        remark = function(env)
        remark = f"{remark}, " if remark else ""
        print(f"PASS {name} ({remark}{time.time() - started:.1f} s)")
        return "PASS"
    except harness.Skip as why:
        print(f"SKIP {name}: {why}")
        return "SKIP"
    except AssertionError as why:
        text = " ".join(str(why).split())
        print(f"FAIL {name}: {text}")
    except Exception as error:  # a broken check is a failed one
        if os.environ.get("FATHOM_E2E_TRACE"):
            traceback.print_exc()
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"FAIL {name}: {text[:600]}")
    finally:
        signal.alarm(0)
    return "FAIL"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", help="build directory with bin/fathomc")
    parser.add_argument("--full", action="store_true", help="the slow ones, too")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="checks whose name contains TEXT")
    parser.add_argument("--half", choices=["host", "devices"],
                        help="those of devices' back ends only, or the others")
    parser.add_argument("--list", action="store_true", help="names only")
    options = parser.parse_args()
    chosen = [(name, function) for name, full, function in harness.CHECKS
              if (options.full or not full) and is_of(options.half, name)
              and (not options.only or any(t in name for t in options.only))]
    if options.list:
        print("\n".join(name for name, _ in chosen))
        return 0
    one_run.claim(options.build)
    started = time.time()
    env = harness.Env(options.build, options.full,
                      "e2e-devices" if options.half == "devices" else "e2e")
    count = {"PASS": 0, "FAIL": 0, "SKIP": 0}
    for name, function in chosen:
        count[run_one(env, name, function)] += 1
        sys.stdout.flush()
    print(f"{count['PASS']} passed, {count['FAIL']} failed, {count['SKIP']} "
          f"skipped in {time.time() - started:.0f} s")
    return 1 if count["FAIL"] or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
