# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fusion changes how much is written to memory, not what is computed: packages
with and without each fusion, side by side."""
import json
import os

import numpy as np

from harness import NANO, check, require

FUSIONS = ["attention_input", "compressed_attention", "sparse_attention",
           "experts", "hyper_connection", "head", "merge_launches"]
LENGTHS = [150, 37, 1, 90]


def table(env, checkpoint=NANO, *options):
    done = env.run("fathomc", "explain", checkpoint, "--json", "-q", *options,
                   check=True)
    return json.loads(done.out)


def tokens_of(env, name):
    rng = np.random.default_rng(11)
    return [rng.integers(0, env.config(name)["vocab_size"], n)
            for n in LENGTHS]


def step_of(package):
    """What a step launches, by number of tokens."""
    manifest = json.load(open(os.path.join(package, "manifest.json")))
    return [[launch["kernel"] for launch in s["launches"]]
            for entry in manifest["entries"] if entry["name"] == "step"
            for s in entry["specialisations"]]


def compare(env, name, disabled, exact, changes):
    checkpoint = env.checkpoint(name)
    lines = tokens_of(env, name)
    remarks = []
    exactly = ("f32", "bf16", "published") if env.full else ("bf16",)
    for numerics in exactly if exact else ("f32",):
        packages = [env.package(checkpoint, numerics),
                    env.package(checkpoint, numerics, "--disable-fusion",
                                disabled)]
        fused, plain = (env.logits(package, lines) for package in packages)
        if changes:
            require(step_of(packages[0]) != step_of(packages[1]),
                    f"{numerics}: with and without {disabled} the same is "
                    f"launched")
        require(np.isfinite(fused).all(), f"{numerics}: not all are finite")
        if exact:
            differ = (fused.view(np.uint32) != plain.view(np.uint32)).any(-1)
            require(not differ.any(),
                    f"{numerics}: {differ.sum()} of {len(differ)} rows have "
                    f"other bits; the first is {np.flatnonzero(differ)[:1]}")
            continue
        # Of a row, since single logits may be near zero.
        error = (np.linalg.norm(fused - plain, axis=-1) /
                 np.linalg.norm(plain, axis=-1)).max()
        require(error <= 1e-5, f"{numerics}: relative difference {error:.2g}")
        remarks.append(f"relative {error:.1g}")
    return ", ".join(remarks) or "equal bits"


def one_fusion(fusion, name):
    def run(env):
        entry = next((f for f in table(env, env.checkpoint(name))["fusions"]
                      if f["fusion"] == fusion), None)
        require(entry is not None, f"there is no fusion {fusion}")
        return compare(env, name, fusion, entry["keeps_sums"],
                       entry["kernels_saved"] > 0)

    return run


for _fusion in FUSIONS:
    check(f"fusion/{_fusion}/mixed")(one_fusion(_fusion, "mixed"))
    for _name in ("csa-topk", "hca", "window", "mixed-fp8"):
        check(f"fusion/{_fusion}/{_name}", full=True)(one_fusion(_fusion,
                                                                 _name))


@check("fusion/all/mixed")
def all_fusions(env):
    return compare(env, "mixed", "all", False, True)


@check("fusion/kernels-per-layer")
def budget(env):
    """A decoded token: at most 12 kernels in a layer with an indexer, 9 in
    every other one; fusion also writes less."""
    most = {}
    for name in ("mixed", "csa", "hca", "window", "mixed-fp8"):
        for numerics in ("bf16", "published"):
            found = table(env, env.checkpoint(name), "--numerics", numerics)
            for row in found["layers"]:
                kind = row["kind"]
                if kind == "outside of layers":
                    continue
                limit = 12 if "ratio 4)" in kind else 9
                require(row["kernels"] <= limit,
                        f"{name}, {numerics}: {row['kernels']} kernels in a "
                        f"layer of kind {kind}, at most {limit} are allowed")
                most[kind] = max(most.get(kind, 0), row["kernels"])
            require(found["bytes_written_per_token"] <
                    found["bytes_written_per_token_unfused"],
                    f"{name}, {numerics}: fusion writes more")
    return ", ".join(f"{kind}: {n}" for kind, n in sorted(most.items()))


@check("fusion/kernels-per-layer/published")
def budget_of_published(env):
    """The same of the published sizes."""
    most = {}
    for preset in ("v4-flash", "v4-pro"):
        for numerics in ("bf16", "published"):
            done = env.run("fathomc", "explain", "--preset", preset, "--json",
                           "-q", "--numerics", numerics, check=True)
            layers = [row for row in json.loads(done.out)["layers"]
                      if row["kind"] != "outside of layers"]
            require(layers, "no layers")
            for row in layers:
                limit = 12 if "ratio 4)" in row["kind"] else 9
                require(row["kernels"] <= limit,
                        f"{preset}, {numerics}: {row['kernels']} kernels in a "
                        f"layer of kind {row['kind']}, at most {limit} are "
                        f"allowed")
                most[row["kind"]] = max(most.get(row["kind"], 0),
                                        row["kernels"])
    return ", ".join(f"{kind}: {n}" for kind, n in sorted(most.items()))


def on_device(what):
    """A decoded token on a device: at most 12 launches in any layer."""
    found = {}
    for numerics in ("bf16", "published"):
        for row in what("--numerics", numerics, "--target", "cuda"):
            kind = row["kind"]
            if kind != "outside of layers":
                found[kind] = max(found.get(kind, 0), row["kernels"])
    require(found, "no layers")
    for kind, n in found.items():
        require(n <= 12, f"{n} launches in a layer of kind {kind}, at most 12 "
                         f"are allowed")
    return ", ".join(f"{kind}: {n}" for kind, n in sorted(found.items()))


@check("fusion/launches-per-layer/cuda/nano")
def launches_of_small(env):
    said = set()
    for name in ("mixed", "csa", "hca", "window", "mixed-fp8"):
        checkpoint = env.checkpoint(name)
        said.add(on_device(lambda *more: table(env, checkpoint,
                                               *more)["layers"]))
    return "; ".join(sorted(said))


for preset in ("v4-flash", "v4-pro"):
    @check(f"fusion/launches-per-layer/cuda/{preset}")
    def launches_of_published(env, preset=preset):
        def layers(*more):
            done = env.run("fathomc", "explain", "--preset", preset, "--json",
                           "-q", *more, check=True)
            return json.loads(done.out)["layers"]
        return on_device(layers)
