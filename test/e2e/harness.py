# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the end-to-end checks share: tools, checkpoints, packages, results."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
TEST = os.path.dirname(HERE)
CONFIGS = os.path.join(TEST, "models", "configs")
NANO = os.path.join(TEST, "models", "nano")
GOLDEN = os.path.join(TEST, "golden")
sys.path.insert(0, os.path.join(TEST, "oracle"))
import make_checkpoint  # noqa: E402
import ref_numpy  # noqa: E402

NAMES = ["window", "hca", "csa", "csa-topk", "mixed", "mixed-fp8"]
NUMERICS = ["f32", "bf16", "published"]


class Skip(Exception):
    """The check cannot run here; the text says why."""


def require(condition, why):
    if not condition:
        raise AssertionError(why)


# What each instruction-set level needs, in the words of /proc/cpuinfo.
LEVELS = {"x86-64-v3": {"avx2", "fma", "f16c", "bmi1", "bmi2", "movbe", "abm"}}
LEVELS["x86-64-v4"] = LEVELS["x86-64-v3"] | {
    "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
LEVELS["x86-64-v4-bf16"] = LEVELS["x86-64-v4"] | {"avx512_bf16", "avx512vbmi"}
LEVELS["x86-64-v4-amx"] = LEVELS["x86-64-v4-bf16"] | {"amx_tile", "amx_bf16"}


def is_intel():
    with open("/proc/cpuinfo") as f:
        return "GenuineIntel" in f.read()


def cpu_flags():
    with open("/proc/cpuinfo") as f:
        return set(next((line.split() for line in f
                         if line.startswith("flags")), []))


def best_level():
    """What the runtime chooses on this machine, or FATHOM_CPU: so all checks
    can be run for each level."""
    asked = os.environ.get("FATHOM_CPU")
    if asked:
        require_level(asked)
        return asked
    runs = [level for level in LEVELS if has_level(level)]
    if runs[-1] == "x86-64-v4-bf16" and is_intel():
        return "x86-64-v4"  # hostRank in runtime/drivers/host
    return runs[-1]


def has_level(level):
    return LEVELS[level] <= cpu_flags()


def only_level(level):
    """Compiles for one instruction-set level, in plain instructions where the
    CPU lacks it; for the best one where none is named."""
    if not level:
        return ()
    return ("--cpu", level, *plainly(level))


def plainly(level):
    return () if not level or has_level(level) else ("--plain-instructions",)


def every_level(level):
    """Options to compile a package that has the level, and to run just that:
    one package of all levels where the CPU has it."""
    if has_level(level):
        return ("--cpu", ",".join(LEVELS)), ("--cpu", level)
    return only_level(level), ()


def with_full(env, level):
    """Plain instructions take their time."""
    if plainly(level) and not env.full:
        raise Skip(f"this CPU has no {level}; in plain instructions with --full")


def how(level):
    """For the report."""
    return f"; {level} in plain instructions" if plainly(level) else ""


def require_level(level):
    missing = LEVELS[level] - cpu_flags()
    if missing:
        raise Skip(f"this CPU has no {level} ({min(missing)} is missing)")


class Env:
    """Paths and tools of one run. Checkpoints are kept between runs by their
    configuration, packages by the bytes of fathomc."""

    def __init__(self, build, full, folder="e2e"):
        self.build = os.path.abspath(build)
        self.full = full
        self.work = os.path.join(self.build, folder)
        self.tmp = os.path.join(self.work, "tmp")
        shutil.rmtree(self.tmp, ignore_errors=True)
        os.makedirs(self.tmp)
        self.counter = 0
        digest = hashlib.blake2b(digest_size=6)
        path = self.binary("fathomc")
        if os.path.exists(path):
            with open(path, "rb") as f:
                for block in iter(lambda: f.read(1 << 20), b""):
                    digest.update(block)
        root = os.path.join(self.work, "packages")
        self.packages = os.path.join(root, digest.hexdigest())
        os.makedirs(self.packages, exist_ok=True)
        for old in os.listdir(root):
            if old != os.path.basename(self.packages):
                shutil.rmtree(os.path.join(root, old), ignore_errors=True)
        self.models = {}
        self.goldens = {}

    def binary(self, name):
        return os.path.join(self.build, "bin", name)

    def need(self, name):
        if not os.access(self.binary(name), os.X_OK):
            raise Skip(f"{name} is not built")
        return self.binary(name)

    def temporary(self, name):
        """A fresh path in this run's folder."""
        self.counter += 1
        return os.path.join(self.tmp, f"{self.counter:04d}-{name}")

    def run(self, tool, *arguments, timeout=120, check=False, **popen):
        command = [self.need(tool), *map(str, arguments)]
        started = time.time()
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=timeout,
                                  stdin=subprocess.DEVNULL, **popen)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{tool} {arguments[0]} ran past {timeout} s")
        done.seconds = time.time() - started
        done.out = done.stdout.decode(errors="replace")
        done.err = done.stderr.decode(errors="replace")
        if check:
            require(done.returncode == 0,
                    f"{tool} {arguments[0]}: exit code {done.returncode}: "
                    f"{done.err.strip()[-600:]}")
        return done

    # Checkpoints.

    def config(self, name):
        return json.load(open(os.path.join(CONFIGS, name + ".json")))

    def checkpoint(self, config, seed=1, shard_mb=2048):
        """The directory of the random checkpoint for a configuration, given by
        name or as a dictionary."""
        name = config if isinstance(config, str) else "custom"
        if isinstance(config, str):
            config = self.config(config)
        key = json.dumps([config, seed, shard_mb], sort_keys=True)
        key = hashlib.blake2b(key.encode(), digest_size=6).hexdigest()
        path = os.path.join(self.work, "checkpoints", f"{name}-{key}")
        if os.path.isdir(path):
            return path
        partial = path + ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        tensors = make_checkpoint.Gen(config, seed).model()
        self.write_checkpoint(partial, config, tensors, shard_mb)
        os.rename(partial, path)
        return path

    @staticmethod
    def write_checkpoint(path, config, tensors, shard_mb=2048):
        os.makedirs(path, exist_ok=True)
        make_checkpoint.write(tensors, path, int(shard_mb * 2**20))
        with open(os.path.join(path, "config.json"), "w") as f:
            json.dump(config, f, indent=2)

    # Packages.

    @staticmethod
    def with_level(more):
        """This machine's best level alone, unless `more` says otherwise: every
        level costs as much time as the first."""
        if "--cpu" in more or "--stop-after" in more:
            return more
        return (*more, "--cpu", best_level())

    # 5 to 10 s of a processor for a level, and much more by the clock where many
    # compile at once.
    def compile(self, checkpoint, output, numerics="bf16", *more, check=True,
                timeout=900, **popen):
        more = self.with_level(more)
        return self.run("fathomc", "compile", checkpoint, "-o", output,
                        "--numerics", numerics, *more, check=check,
                        timeout=timeout, **popen)

    def cache(self):
        """An empty cache for what devices' compilers make; the host's code is
        kept for all of them."""
        folder = self.temporary("cache")
        os.makedirs(folder)
        host = os.path.join(self.work, "kept-for-the-host")
        os.makedirs(host, exist_ok=True)
        os.symlink(host, os.path.join(folder, "cpu"))
        return folder

    def package(self, checkpoint, numerics, *more):
        """The package of a checkpoint, compiled at most once for the same
        options and level."""
        more = self.with_level(more)
        key = json.dumps([os.path.basename(checkpoint), numerics, more])
        key = hashlib.blake2b(key.encode(), digest_size=6).hexdigest()
        path = os.path.join(
            self.packages,
            f"{os.path.basename(checkpoint)}-{numerics}-{key}.fathom")
        if not os.path.isdir(path):
            self.compile(checkpoint, path, numerics, *more)
        return path

    def level_that_runs(self, package, *options):
        """The instruction-set level that the runtime chooses."""
        done = self.run("fathom", "bench", package, "--prompt-tokens", 1,
                        "--new-tokens", 0, "--repeat", 1, "--json", *options,
                        check=True)
        return json.loads(done.out)["machine"]["isa"]

    def logits(self, package, lines, *options, timeout=600, **popen):
        """[all tokens of all lines, vocabulary]"""
        return np.load(self.logits_file(package, lines, *options,
                                        timeout=timeout, **popen))

    def logits_file(self, package, lines, *options, timeout=600, **popen):
        tokens = self.temporary("tokens.txt")
        with open(tokens, "w") as f:
            for line in lines:
                f.write(",".join(str(int(i)) for i in line) + "\n")
        out = self.temporary("logits.npy")
        self.run("fathom", "logits", package, "--tokens-file", tokens, "-o",
                 out, *options, check=True, timeout=timeout, **popen)
        return out

    def golden(self, name):
        if name not in self.goldens:
            path = os.path.join(GOLDEN, name + ".npz")
            self.goldens[name] = dict(np.load(path))
        return self.goldens[name]

    def reference(self, checkpoint, mode):
        """A reset numpy reference."""
        key = (checkpoint, mode)
        if key not in self.models:
            self.models[key] = ref_numpy.Model(checkpoint, mode)
        self.models[key].reset()
        return self.models[key]


def compare_f32(found, wanted, limit=5e-4, gap=2e-3):
    """Rule 1: max |difference|, and argmax wherever the two best are apart."""
    found = np.asarray(found, np.float32)
    wanted = np.asarray(wanted, np.float32)
    require(found.shape == wanted.shape,
            f"shape {found.shape}, expected {wanted.shape}")
    require(np.isfinite(found).all(), "not all logits are finite")
    worst = np.abs(found - wanted).max() if found.size else 0.0
    where = np.unravel_index(np.abs(found - wanted).argmax(), found.shape)
    require(worst <= limit, f"max |difference| {worst:.3g} > {limit:g} at row "
                            f"{where[0]}, column {where[1]}")
    top = np.sort(wanted, -1)[:, -2:]
    clear = top[:, 1] - top[:, 0] > gap
    same = found.argmax(-1) == wanted.argmax(-1)
    require(same[clear].all(), f"argmax differs in {(~same[clear]).sum()} of "
                               f"{clear.sum()} clear rows")
    return f"max {worst:.2g}"


CHECKS = []


def check(name, full=False):
    """Registers a check: a function of Env that returns a short remark."""

    def register(function):
        CHECKS.append((name, full, function))
        return function

    return register
