# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The emulated driver: a device with memory of its own, graphs and streams,
for which the CPU stands in. What is checked of the host's driver elsewhere is
checked of it again, with the same checks; what it adds is checked here."""
import argparse
import importlib.machinery
import importlib.util
import itertools
import json
import os
import subprocess
import sys

import numpy as np

import checks_devices
import checks_model  # noqa: F401  (registers what is repeated here)
import checks_product  # noqa: F401
import checks_verify  # noqa: F401
import harness
from harness import NAMES, check, require

sys.path.insert(0, os.path.join(harness.TEST, "..", "tools", "gpucheck"))
import published  # noqa: E402
from work import Work  # noqa: E402


def emulated(function):
    """The check with --driver emulated for everything that it runs."""

    def run(env):
        before = os.environ.get("FATHOM_DRIVER")
        os.environ["FATHOM_DRIVER"] = "emulated"
        try:
            return function(env)
        finally:
            if before is None:
                del os.environ["FATHOM_DRIVER"]
            else:
                os.environ["FATHOM_DRIVER"] = before

    return run


_WANTED = ([f"golden/f32/{name}/{how}" for name in NAMES
            for how in ("chunk-0", "batch")]
           + ["golden/f32/mixed/chunk-7", "golden/f32/mixed/mtp-chunk-7"]
           + [f"golden/published/{name}" for name in ("mixed", "csa-topk")]
           + ["bits/bf16/mixed", "bits/published/mixed", "bits/bf16/mtp",
              "nano/answers/published", "verify/by-layer"])
_WANTED_FULL = [f"golden/published/{name}" for name in NAMES
                if f"golden/published/{name}" not in _WANTED]
_KNOWN = {name: function for name, _, function in harness.CHECKS}
for _name in _WANTED + _WANTED_FULL:
    check("emulated/" + _name,
          full=_name in _WANTED_FULL)(emulated(_KNOWN[_name]))


class ForDevices:
    """An Env whose packages are compiled for CUDA: what the emulated driver
    runs of them has a device's tile shapes and its launch records."""

    def __init__(self, env):
        self.env = env

    def package(self, checkpoint, numerics, *more):
        return checks_devices.compiled(self.env, checkpoint, numerics, *more)

    def __getattr__(self, name):
        return getattr(self.env, name)


def for_devices(function):
    return emulated(lambda env: function(ForDevices(env)))


# Rules 1 to 5 of the oracle and the bitwise promise.
_CUDA_QUICK = ([f"golden/f32/{name}/chunk-0" for name in NAMES]
               + ["golden/f32/mixed/mtp-chunk-7", "golden/published/mixed",
                  "golden/published/csa-topk", "layer/published/mixed/2",
                  "layer/bf16/mixed/2", "golden/bf16/mixed/nearer-to-f32",
                  "bits/published/mixed", "bits/bf16/mixed",
                  "nano/answers/published"])
_CUDA_FULL = ([name for name in _KNOWN if name.startswith("golden/f32/")]
              + [f"golden/published/{name}" for name in NAMES]
              + [f"golden/bf16/{name}/nearer-to-f32" for name in NAMES]
              + [name for name in _KNOWN
                 if name.startswith(("layer/published/", "layer/bf16/"))]
              + ["bits/bf16/mixed", "bits/bf16/mtp"])
for _name in _CUDA_QUICK + [n for n in _CUDA_FULL if n not in _CUDA_QUICK]:
    check("emulated-cuda/" + _name,
          full=_name not in _CUDA_QUICK)(for_devices(_KNOWN[_name]))


def run_tokens(env, package, prompt, driver, *more):
    done = env.run("fathom", "run", package, "--tokens",
                   ",".join(map(str, prompt)), "--json", "--driver", driver,
                   *more, check=True)
    return json.loads(done.out)


@check("emulated/chosen-by-the-device")
def chosen(env):
    """Greedy tokens of a device's own steps: those of the host's sampler, and
    of the logits of the whole sequence."""
    count = 0
    for numerics in ("bf16", "published"):
        package = env.package(env.checkpoint("mixed"), numerics)
        for seed in range(3):
            ids = np.random.default_rng(seed).integers(
                0, env.config("mixed")["vocab_size"], 5 + 20 * seed).tolist()
            host, device = (
                run_tokens(env, package, ids, driver, "--max-new-tokens", 45)
                for driver in ("host", "emulated"))
            require(host == device, f"{numerics}, seed {seed}: "
                                    f"{host['tokens']} {device['tokens']}")
            tokens = device["tokens"]
            logits = env.logits(package, [ids + tokens[:-1]],
                                "--driver", "emulated")
            require((logits[len(ids) - 1:].argmax(-1) == tokens).all(),
                    f"{numerics}, seed {seed}: not the largest logits")
            count += len(tokens)
    return f"{count} tokens"


@check("emulated/logits-of-the-host-bit-for-bit")
def same_bits(env):
    package = env.package(env.checkpoint("mixed"), "bf16")
    lines = [list(range(1, 90)), [3, 4, 5], list(range(7, 40))]
    host = env.logits(package, lines, "--driver", "host")
    device = env.logits(package, lines, "--driver", "emulated", "--chunk", 7)
    require((host.view(np.uint32) == device.view(np.uint32)).all(),
            "other bits")
    return f"{host.shape[0]} rows"


def gpu_check(env, *arguments, variables=None):
    """tools/gpu-check, on checkpoints that are kept for this fathomc."""
    work = os.path.join(env.packages, "gpu-check")
    report = env.temporary("report")
    done = subprocess.run(
        [sys.executable, os.path.join(harness.TEST, "..", "tools", "gpu-check"),
         "--build", env.build, "--quick", "--work", work, "-o", report,
         *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True, timeout=600,
        env=dict(os.environ, **(variables or {})))
    return done, report


@check("emulated/gpu-check")
def script(env):
    done, report = gpu_check(env, "--driver", "emulated")
    require(done.returncode == 0, done.stdout + done.stderr)
    with open(report + ".md") as f:
        text = f.read()
    require(text.startswith("# GPU check: NO DEVICE\n\nNOT RUN ON A DEVICE"),
            text[:300])
    sections = [part.split("\n")[2] for part in text.split("\n## ")[1:]]
    require(len(sections) == 8
            and all("not on a device" in line for line in sections), sections)
    with open(report + ".json") as f:
        found = json.load(f)
    require(found["card"] is None and found["failures"] == 0, found)
    require(all(c["passed"] for c in found["checks"].values())
            and len(found["checks"]) == 5, found["checks"])
    kernels = found["kernels"]["window"][0]["kernels"]
    require(any(k["kernel"].startswith("greedy_") for k in kernels), kernels)
    # Products of all formats, attention of all kinds and the indexer, for one
    # sequence and for two.
    runs = found["kernels"]["Flash shapes, made tiny"]
    require(len(runs) == 2, runs)
    for run in runs:
        formats = {k["format"] for k in run["kernels"]
                   if k["flops_per_second"] > 0}
        require(formats >= {"FP4", "FP8", "BF16"}, formats)
        groups = {(g["group"], g["ratio"]) for g in run["groups"]
                  if g["flops_per_second"] > 0
                  and g["row_bytes_per_second"] > 0}
        require(groups == {("attention", 0), ("attention", 4),
                           ("attention", 128), ("index", 4)}, groups)

    # Wrong logits are noticed, and the report says which.
    golden = dict(env.golden("window"))
    golden["f32"] = golden["f32"].copy()
    golden["f32"][5, 2] += 0.01
    wrong = env.temporary("wrong")
    os.makedirs(wrong)
    np.savez(os.path.join(wrong, "window.npz"), **golden)
    done, report = gpu_check(env, "--driver", "emulated", "--golden", wrong)
    require(done.returncode == 1 and "- FAIL golden/window" in done.stdout,
            done.stdout + done.stderr)

    # Without a GPU there is no report that looks like one of a GPU.
    done, report = gpu_check(env, variables={"FATHOM_LIBCUDA": "/nowhere"})
    require(done.returncode == 3 and "no NVIDIA driver" in done.stderr
            and not os.path.exists(report + ".md"), done.stderr)
    return f"{len(kernels)} kernels"


def gpu_check_script():
    """tools/gpu-check as a module."""
    path = os.path.join(harness.TEST, "..", "tools", "gpu-check")
    loader = importlib.machinery.SourceFileLoader("gpu_check_script", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    script = importlib.util.module_from_spec(spec)
    loader.exec_module(script)
    return script


@check("gpu-check/names-the-device-that-it-runs-on")
def names_the_device(env):
    """CUDA's own device of this number, and not nvidia-smi's, which may be
    another one."""
    folder = env.temporary("smi")
    os.makedirs(folder)
    smi = os.path.join(folder, "nvidia-smi")
    with open(smi, "w") as f:
        f.write("#!/bin/sh\ncase \"$*\" in *name*) echo 'Other, 12.0, 580.1, "
                "1 MiB' ;; *) echo 580.1 ;; esac\n")
    os.chmod(smi, 0o755)
    variables = {"PATH": folder + os.pathsep + os.environ["PATH"],
                 "FATHOM_LIBCUDA": os.path.join(
                     env.build, "bin", "tests", "inputs", "FathomMockCuda.so")}
    check_script, before = gpu_check_script(), dict(os.environ)
    os.environ.update(variables)
    try:
        run = check_script.Check(argparse.Namespace(
            work=env.temporary("work"), driver="cuda", device=0, target=None))
        run.find_device()
    finally:
        os.environ.clear()
        os.environ.update(before)
    found = run.report.results
    require((found["card"], run.capability, run.target,
             found["nvidia_driver"]) ==
            ("Mock GPU", "9.0", "cuda:sm_90", "580.1"),
            f"{found}, {run.capability}, {run.target}")
    require(found["memory"].endswith(" MiB") and found["memory"] != "1 MiB",
            found["memory"])
    done, _ = gpu_check(env, "--device", "1", variables=variables)
    require(done.returncode == 3 and "no NVIDIA GPU 1 here, of 1" in
            done.stderr, done.stderr)


@check("gpu-check/build-comes-first")
def build_first(env):
    """Nothing is made before it is clear what with; numpy is where tools/setup
    puts it, whatever python3 is on the path."""
    nowhere, work = env.temporary("nowhere"), env.temporary("work")
    script = os.path.join(harness.TEST, "..", "tools", "gpu-check")
    path = env.temporary("bin")
    os.makedirs(path)
    os.symlink("/bin/false", os.path.join(path, "python3"))
    done = subprocess.run([script, "--driver", "emulated", "--build", nowhere,
                           "--work", work],
                          env={**os.environ, "PATH": path},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True)
    require(done.returncode == 2 and nowhere in done.stderr
            and "tools/setup" in done.stderr, f"{done.returncode}: "
            f"{done.stderr}")
    require(not os.path.exists(work), "checkpoints were begun")


@check("gpu-check/its-own-packages")
def own_packages(env):
    """Each model has a package of this run, whatever its folder is called and
    whatever an earlier run left."""
    script = gpu_check_script()
    options = argparse.Namespace(work=env.temporary("work"), driver="emulated")
    compiled = []
    for _ in range(2):
        run = script.Check(options)
        run.run = lambda tool, command, model, o, path, *more: (
            compiled.append((model, path)), os.makedirs(path, exist_ok=True))
        for model in ("/a/model/", "/b/model/", "/a/model"):
            run.package(model, "bf16")
    models, paths = zip(*compiled)
    require(models == ("/a/model/", "/b/model/") * 2, compiled)
    require(len(set(paths)) == 2, compiled)
    config = env.config("window")
    one = run.make(config, "window")
    require(run.make(dict(config, rms_norm_eps=1e-5), "window") != one
            and run.make(config, "window") == one, one)


@check("gpu-check/narrow-sums")
def narrow_sums(env):
    """How cards with narrow sums of FP8 products are judged in `published`."""
    random = np.random.default_rng(1)
    x, w = (random.integers(-8, 9, (n, 300)).astype(np.float32)
            for n in (21, 5))
    require((published.narrow_product(x, w, 128, 40) == x @ w.T).all(),
            "wide sums are not exact")
    # 1 beside what is a half of the last bit that is kept: cut off within a group
    # of 32 and in the next one, kept by the sum in f32 of another block.
    one = np.zeros((1, 160), np.float32)
    one[0, 0], one[0, [1, 40]], one[0, 130] = 1, 2.0 ** -14, 2.0 ** -14
    found = published.narrow_product(one, np.ones_like(one), 128, 13)
    require(found[0, 0] == 1 + 2.0 ** -14, found)

    checkpoint, golden = env.checkpoint("window"), env.golden("window")
    native = golden["native"].astype(np.float32)
    narrow = published.NarrowModel(checkpoint, 13).step(
        golden["ids"][None], 0)[0, golden["positions"]]
    for what, logits, capability, wanted in (
            ("equal", native, "10.0", True), ("narrow", narrow, "9.0", True),
            ("narrow", narrow, "10.0", False),
            ("others", native[::-1], "9.0", False),
            ("infinite", native * np.inf, "9.0", False)):
        good, text = published.judge(logits, golden, checkpoint, capability)
        require(good == wanted, f"{what} on {capability}: {text}")


@check("gpu-check/counts")
def counts(env):
    """Operations by the script's own count are those of `fathomc explain`, to
    the last one, of models and runs of several kinds."""
    for name, (context, sequences) in itertools.product(
            ("mixed", "csa-topk"), ((200, 2), (900, 1))):
        checkpoint = env.checkpoint(name)
        package = env.package(checkpoint, "bf16")
        explained = json.loads(env.run(
            "fathomc", "explain", checkpoint, "--context", context, "--batch",
            sequences, "--json", "-q", check=True).out)["costs"]
        for phase, run in (("decode", (context - 1, 1)),
                           ("prefill", (0, context))):
            work = Work(package, env.config(name), sequences, *run, 0)
            found = {"weight_flops": sum(flops for flops, _ in
                                         work.products.values()),
                     "attention_flops": sum(work.attention(size, ratio)[0]
                                            for size in work.tokens
                                            for ratio in work.layers),
                     "index_flops": sum(work.index(size, 4)[0]
                                        for size in work.tokens
                                        if 4 in work.layers)}
            for what, flops in found.items():
                wanted = sum(kind[what] for kind in
                             explained[phase]["by_kind_of_layer"])
                require(wanted > 0 and abs(flops - wanted) <= 1e-9 * wanted,
                        f"{name}, {phase} of {sequences} x {context}: {what} "
                        f"{flops}, the compiler says {wanted}")


@check("emulated/package-for-cuda", full=True)
def cuda_package(env):
    """A package with cubins: its code for the CPU gives the goldens' logits
    behind the device's interface. Nothing runs on a GPU."""
    package = env.package(env.checkpoint("mixed"), "f32", "--target",
                          "cuda:sm_90")
    golden = env.golden("mixed")
    logits = env.logits(package, [golden["ids"]], "--driver", "emulated")
    remark = harness.compare_f32(logits[golden["positions"]], golden["f32"])
    done = env.run("fathom", "run", package, "--tokens", "1", "--max-new-tokens",
                   1, env=dict(os.environ, FATHOM_LIBCUDA="/nowhere"))
    require(done.returncode == 3 and "--driver emulated" in done.err, done.err)
    return remark
