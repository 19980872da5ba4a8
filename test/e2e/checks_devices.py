# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs with a device's tile shapes, executed by the CPU. The assembler is
replaced by one that makes nothing: what runs is the package's code for the
host."""
import os

import numpy as np

import checks_shapes
from harness import check, compare_f32, require

STUB = """#!/bin/sh
case "$1" in
--list-versions) echo 13.3; exit 0;;
--version) echo "tileiras: stub, V0.0.0"; exit 0;;
esac
while [ $# -gt 0 ]; do
  case "$1" in -o) shift; echo none > "$1";; esac
  shift
done
"""


def assembler(env):
    """Options that name the one that makes nothing."""
    folder = os.path.join(env.work, "stub")
    os.makedirs(folder, exist_ok=True)
    for tool in ("tileiras", "cuobjdump", "nvdisasm"):
        path = os.path.join(folder, tool)
        with open(path, "w") as f:
            f.write(STUB if tool == "tileiras" else "#!/bin/sh\nexit 1\n")
        os.chmod(path, 0o755)
    return ["--tileiras", folder]


def compiled(env, checkpoint, numerics, *more):
    """A package for sm_90 whose cubins are empty."""
    os.environ["FATHOM_CACHE_DIR"] = os.path.join(env.work, "stub-cache")
    try:
        return env.package(checkpoint, numerics, "--target", "cuda:sm_90",
                           *assembler(env), *more)
    finally:
        del os.environ["FATHOM_CACHE_DIR"]


def package(env, name, numerics, *more):
    return compiled(env, env.checkpoint(name), numerics, *more)


def shapes_golden(name):
    def run(env):
        golden = env.golden(name)
        found = env.logits(package(env, name, "f32"), [golden["ids"]],
                           "--driver", "host")
        return compare_f32(found[golden["positions"]], golden["f32"])

    return run


def shapes_bits(name, numerics, *more):
    """One token, and up to 16, have their attention shared out by rows or by
    channels; more have not where there is no indexer. No bit tells."""

    def run(env):
        rng = np.random.default_rng(7)
        ids = rng.integers(0, env.config(name)["vocab_size"], 300)
        made = package(env, name, numerics, *more)
        whole = env.logits(made, [ids], "--driver", "host")
        require(np.isfinite(whole).all(), "not all logits are finite")
        for chunk in (1, 16, 7, 64):
            again = env.logits(made, [ids], "--driver", "host", "--chunk",
                               chunk)
            rows = (again.view(np.uint32) != whole.view(np.uint32)).any(-1)
            require(not rows.any(), f"chunks of {chunk}: {rows.sum()} rows have "
                                    f"other bits, the first is {rows.argmax()}")

    return run


for _name in ("window", "hca", "csa", "csa-topk", "mixed"):
    check(f"device-shapes/golden/{_name}")(shapes_golden(_name))
for _numerics in ("f32", "bf16", "published"):
    check(f"device-shapes/bits/mixed/{_numerics}")(shapes_bits("mixed", _numerics))
    for _name in ("hca", "csa-topk", "mixed-fp8"):
        check(f"device-shapes/bits/{_name}/{_numerics}",
              full=True)(shapes_bits(_name, _numerics))
check("device-shapes/bits/hca/unfused", full=True)(
    shapes_bits("hca", "published", "--disable-fusion", "all"))


@check("device-shapes/golden/head-dim-512")
def wide_head(env):
    """As wide as the published models' heads: a program walks the weights of
    one in several blocks of rows."""
    changes = next(c for n, _, c in checks_shapes.VARIANTS if n == "head-dim-512")
    config = checks_shapes.variant(env, **changes)
    checkpoint = env.checkpoint(config, seed=3)
    ids = np.random.default_rng(11).integers(0, config["vocab_size"], 70)
    wanted = env.reference(checkpoint, "f32").step(ids[None], 0)[0]
    made = compiled(env, checkpoint, "f32")
    for chunk in (1, 16):
        found = env.logits(made, [ids], "--driver", "host", "--chunk", chunk)
        remark = compare_f32(found, wanted)
    return remark
