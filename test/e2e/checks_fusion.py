# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fusion changes how much is written to memory, not what is computed: packages
with and without each fusion, side by side."""
import json
import os

import numpy as np

from harness import check, require

FUSIONS = ["attention_input", "compressed_attention", "sparse_attention",
           "experts", "hyper_connection", "head", "merge_launches"]
LENGTHS = [150, 37, 1, 90]


def table(env, *what):
    """What explain says of a checkpoint or a preset, with options."""
    done = env.run("fathomc", "explain", *what, "--json", "-q", check=True)
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


SMALL = ["mixed", "csa", "hca", "window", "mixed-fp8"]
PUBLISHED = ["v4-flash", "v4-pro"]


def kernels_per_layer(found, limit):
    """Kinds of layers with their kernels of a decoded token, each at most
    limit(kind)."""
    layers = [(row["kind"], row["kernels"]) for row in found["layers"]
              if row["kind"] != "outside of layers"]
    require(layers, "no layers")
    for kind, kernels in layers:
        require(kernels <= limit(kind),
                f"{found['model']}, {found['numerics']}: {kernels} kernels in a "
                f"layer of kind {kind}, at most {limit(kind)} are allowed")
    return layers


def most_of(counts):
    most = {}
    for layers in counts:
        for kind, kernels in layers:
            most[kind] = max(most.get(kind, 0), kernels)
    return ", ".join(f"{kind}: {n}" for kind, n in sorted(most.items()))


def on_cpu(kind):
    """At most 12 kernels in a layer with an indexer, 9 in every other one."""
    return 12 if "ratio 4)" in kind else 9


def both_numerics(env, *what):
    return [table(env, *what, "--numerics", numerics)
            for numerics in ("bf16", "published")]


@check("fusion/kernels-per-layer")
def budget(env):
    """Fusion also writes less."""
    counts = []
    for name in SMALL:
        for found in both_numerics(env, env.checkpoint(name)):
            counts.append(kernels_per_layer(found, on_cpu))
            require(found["bytes_written_per_token"] <
                    found["bytes_written_per_token_unfused"],
                    f"{name}, {found['numerics']}: fusion writes more")
    return most_of(counts)


@check("fusion/kernels-per-layer/published")
def budget_of_published(env):
    return most_of(kernels_per_layer(found, on_cpu) for preset in PUBLISHED
                   for found in both_numerics(env, "--preset", preset))


def on_device(env, *what):
    """At most 12 launches in any layer."""
    return most_of(kernels_per_layer(found, lambda kind: 12)
                   for found in both_numerics(env, *what, "--target", "cuda"))


@check("fusion/launches-per-layer/cuda/nano")
def launches_of_small(env):
    return "; ".join(sorted({on_device(env, env.checkpoint(name))
                             for name in SMALL}))


for _preset in PUBLISHED:
    @check(f"fusion/launches-per-layer/cuda/{_preset}")
    def launches_of_published(env, preset=_preset):
        return on_device(env, "--preset", preset)
