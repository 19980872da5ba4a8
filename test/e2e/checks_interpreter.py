# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The reference interpreter by itself: goldens, and one layer at a time. What
the compiled model is judged by must itself be judged by the published code."""
import os

import numpy as np

from checks_model import (judge_layer, layer_lines, layer_reference,
                          one_layer_checkpoint)
from harness import GOLDEN, NAMES, check, compare_f32, require


def interpret(env, checkpoint, numerics, lines, *options, timeout=900):
    module = env.temporary("module.mlir")
    env.run("fathom-translate", "--import", checkpoint, "--numerics", numerics,
            "-o", module, check=True)
    tokens, out = env.temporary("tokens.txt"), env.temporary("logits.npy")
    with open(tokens, "w") as f:
        for line in lines:
            f.write(",".join(str(int(i)) for i in line) + "\n")
    env.run("fathom-translate", "--interpret", module, "--parameters",
            checkpoint, "--tokens-file", tokens, "-o", out, *options,
            check=True, timeout=timeout)
    return np.load(out)


def golden(name, length, chunk, mtp=False):
    def run(env):
        golden = env.golden(name)
        ids = golden["ids"][:length]
        positions = golden["mtp_positions" if mtp else "positions"]
        keep = positions < len(ids) - (1 if mtp else 0)
        require(keep.any(), "no position of the golden is that early")
        options = ["--chunk", chunk] + (["--mtp"] if mtp else [])
        found = interpret(env, env.checkpoint(name), "f32", [ids], *options)
        wanted = golden["mtp_f32" if mtp else "f32"][keep]
        return compare_f32(found[positions[keep]], wanted)

    return run


# The first is short enough for every day and has every kind of layer.
check("interpreter/f32/mixed-fp8/first-140")(golden("mixed-fp8", 140, 0))
for _name in NAMES:
    for _chunk in (0, 7):
        check(f"interpreter/f32/{_name}/chunk-{_chunk}", full=True)(
            golden(_name, 300, _chunk))
    if "mtp_f32" in np.load(os.path.join(GOLDEN, _name + ".npz")).files:
        check(f"interpreter/f32/{_name}/mtp", full=True)(
            golden(_name, 300, 0, mtp=True))


def one_layer(name, layer, mode):
    def run(env):
        checkpoint, ids = one_layer_checkpoint(env, name, layer, mode)
        found = interpret(env, checkpoint, mode, layer_lines(ids))
        wanted = layer_reference(env, checkpoint, mode, ids)
        return judge_layer(env, name, found, wanted)

    return run


for _name, _layer in (("mixed-fp8", 0), ("mixed-fp8", 1), ("mixed-fp8", 2),
                      ("mixed", 0), ("mixed", 2)):
    for _mode in ("published", "bf16"):
        check(f"interpreter/layer/{_mode}/{_name}/{_layer}", full=True)(
            one_layer(_name, _layer, _mode))
