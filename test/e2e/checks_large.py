# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A context of a million tokens, with the layer pattern of the published
models and small widths: the caches are as large as computed, and decode."""
import json
import os

import numpy as np

from harness import TEST, check, compare_f32, require

CONTEXT = 1 << 20


def pattern(env):
    """The published alternation of sparse and heavily compressed layers."""
    config = env.config("mixed")
    layers = 8
    config.update(num_hidden_layers=layers, num_nextn_predict_layers=0,
                  max_position_embeddings=CONTEXT,
                  compress_ratios=[128, 128] + [4, 128] * (layers // 2 - 1))
    return config


def cache_bytes(config, slack):
    """Of one sequence, from the specification: window rows, blocks of either
    kind, index keys, open blocks."""
    width, rope = config["head_dim"], config["qk_rope_head_dim"]
    index = config["index_head_dim"]
    blocks64 = (width - rope) // 64
    row = width - rope + -(-blocks64 // 8) * 8 + 2 * rope
    total = 0
    for ratio in config["compress_ratios"]:
        total += (config["sliding_window"] + slack) * row
        if ratio == 0:
            continue
        overlap = 2 if ratio == 4 else 1
        total += CONTEXT // ratio * row
        total += overlap * ratio * overlap * width * 2 * 4
        if ratio == 4:
            total += CONTEXT // ratio * (index // 2 + index // 32)
            total += overlap * ratio * overlap * index * 2 * 4
    return total


@check("large/million-tokens")
def million(env):
    config = pattern(env)
    checkpoint = env.checkpoint(config)
    step = 64
    package = env.package(checkpoint, "bf16", "--max-context", CONTEXT,
                          "--max-sequences", 1, "--max-step-tokens", step)
    done = env.run("fathom", "bench", package, "--context", CONTEXT - 40,
                   "--prompt-tokens", 8, "--new-tokens", 32, "--repeat", 1,
                   "--json", check=True, timeout=300)
    result = json.loads(done.out)
    wanted = cache_bytes(config, step)
    require(result["cache_bytes"] == wanted,
            f"the caches take {result['cache_bytes']} bytes, {wanted} were "
            f"computed")
    require(result["allocated_session_bytes"] ==
            result["planned_session_bytes"] >= wanted,
            f"a session has allocated {result['allocated_session_bytes']} "
            f"bytes, {result['planned_session_bytes']} were planned")
    require(result["decode_tokens_per_second"] > 0, "nothing was decoded")
    limit = wanted + 150e6
    require(result["peak_resident_bytes"] <= limit,
            f"{result['peak_resident_bytes'] / 1e6:.0f} MB resident, at most "
            f"{limit / 1e6:.0f} are expected")
    return (f"{wanted / 1e6:.0f} MB of caches, decode "
            f"{result['decode_tokens_per_second']:.0f} tokens/s")


def flash_sibling(env):
    """Flash with all its layers and ratios, every width divided."""
    path = os.path.join(TEST, "models", "published", "deepseek-v4-flash",
                        "config.json")
    config = json.load(open(path))
    config.update(
        hidden_size=256, num_attention_heads=4, head_dim=128, q_lora_rank=128,
        o_groups=2, o_lora_rank=128, index_n_heads=4, index_head_dim=64,
        index_topk=16, n_routed_experts=8, num_experts_per_tok=2,
        moe_intermediate_size=128, vocab_size=512)
    return config


@check("large/flash-sibling")
def sibling(env):
    config = flash_sibling(env)
    checkpoint = env.checkpoint(config)
    ids = np.random.default_rng(3).integers(0, config["vocab_size"], 300)
    found = env.logits(env.package(checkpoint, "f32", "--max-context", 1024),
                       [ids])
    wanted = env.reference(checkpoint, "f32").step(ids[None], 0)[0]
    return f"{config['num_hidden_layers']} layers, " + compare_f32(found,
                                                                   wanted)


@check("large/million-tokens-read-back")
def read_back(env):
    config = flash_sibling(env)
    config["num_nextn_predict_layers"] = 0
    config["index_head_dim"] = 32
    config["qk_rope_head_dim"] = 32
    config["head_dim"] = 96
    config["compress_ratios"] = config["compress_ratios"][:43]
    package = env.package(env.checkpoint(config), "bf16", "--max-context",
                          CONTEXT, "--max-sequences", 1, "--max-step-tokens",
                          16)
    done = env.run(os.path.join("tests", "cache-readback"), package,
                   check=True, timeout=600)
    wanted = cache_bytes(config, 16)
    require(int(done.out) == wanted, f"{done.out.strip()} bytes were read "
                                     f"back, {wanted} were computed")
    return f"{wanted / 1e6:.0f} MB of 43 layers"
