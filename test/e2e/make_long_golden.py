#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Computes test/golden/long.npz: mixed-fp8 with 32768 positions, 20,000 random
tokens, f32, logits of the last 200 positions, by the numpy reference. Takes
minutes and is run once by hand: make_long_golden.py WORKDIR OUT.npz"""
import json
import os
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
TEST = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TEST, "oracle"))

TOKENS, KEPT, CHUNK, POSITIONS = 20000, 200, 200, 32768


def main():
    work, out = sys.argv[1:3]
    import ref_numpy

    os.makedirs(work, exist_ok=True)
    config = json.load(open(os.path.join(TEST, "models/configs/mixed-fp8.json")))
    config["max_position_embeddings"] = POSITIONS
    path = os.path.join(work, "config-long.json")
    json.dump(config, open(path, "w"))
    checkpoint = os.path.join(work, "long")
    subprocess.run(
        [sys.executable, os.path.join(TEST, "oracle/make_checkpoint.py"), path,
         checkpoint, "--seed", "1"], check=True)
    ids = np.random.default_rng(20000).integers(0, config["vocab_size"], TOKENS)
    model = ref_numpy.Model(checkpoint, "f32")
    kept = []
    for start in range(0, TOKENS, CHUNK):
        logits = model.step(ids[None, start:start + CHUNK], start)
        if start + CHUNK > TOKENS - KEPT:
            kept.append(logits[0])
        print(start, flush=True)
    logits = np.concatenate(kept)[-KEPT:].astype(np.float32)
    np.savez_compressed(out, ids=ids.astype(np.uint16), f32=logits,
                        positions=np.arange(TOKENS - KEPT, TOKENS))


if __name__ == "__main__":
    main()
