# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Shapes: variants are configurations. What the specification allows agrees
with the numpy reference in f32; everything else is refused with exit code 3."""
import copy
import os

import numpy as np

from harness import check, compare_f32, make_checkpoint, require

# A small model with every kind of layer. Hidden sizes stay multiples of 128,
# which the stored scale blocks want.
BASE = {
    "hidden_size": 128, "num_hidden_layers": 3, "num_nextn_predict_layers": 1,
    "compress_ratios": [0, 4, 128, 4], "num_hash_layers": 1,
    "num_attention_heads": 4, "head_dim": 128, "q_lora_rank": 128,
    "o_groups": 2, "o_lora_rank": 64, "index_n_heads": 4,
    "index_head_dim": 128, "index_topk": 8, "moe_intermediate_size": 128,
    "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
    "vocab_size": 160, "sliding_window": 32, "max_position_embeddings": 1024,
    "hc_mult": 2, "hc_sinkhorn_iters": 4, "expert_dtype": "fp4",
}


def variant(env, **changes):
    config = env.config("mixed-fp8")
    config.update(copy.deepcopy(BASE))
    yarn = changes.pop("rope_scaling", None)
    config.update(changes)
    if yarn:
        config["rope_scaling"].update(yarn)
    return config


# (name, full, changes). Several things vary in each, so that few packages
# cover many shapes.
VARIANTS = [
    ("odd-counts", False, dict(
        num_attention_heads=3, o_groups=1, n_routed_experts=7,
        num_experts_per_tok=3, vocab_size=515, index_n_heads=3,
        o_lora_rank=128)),
    ("head-dim-64", False, dict(
        head_dim=64, o_lora_rank=64, sliding_window=17, hc_mult=1,
        index_head_dim=64)),
    ("head-dim-192", False, dict(
        head_dim=192, num_attention_heads=2, o_groups=2, n_shared_experts=2,
        hc_mult=3, index_topk=3, hc_sinkhorn_iters=1)),
    ("head-dim-512", False, dict(
        head_dim=512, num_attention_heads=2, o_groups=1, o_lora_rank=128,
        sliding_window=128, vocab_size=129, hc_sinkhorn_iters=20, hc_mult=4)),
    ("yarn-near", False, dict(
        rope_scaling=dict(factor=4, original_max_position_embeddings=64,
                          beta_fast=16, beta_slow=2),
        rope_theta=5000, compress_rope_theta=40000, index_topk=16,
        expert_dtype="fp8", routed_scaling_factor=1.5, swiglu_limit=1.0)),
    ("one-of-each", False, dict(
        num_attention_heads=1, o_groups=1, o_lora_rank=128, index_n_heads=1,
        n_routed_experts=1, num_experts_per_tok=1, index_topk=1,
        sliding_window=1, vocab_size=131)),
    ("topk-beyond", True, dict(index_topk=512, sliding_window=256)),
    ("five-heads-five-groups", True, dict(
        num_attention_heads=5, o_groups=5, o_lora_rank=128,
        n_routed_experts=11, num_experts_per_tok=6, vocab_size=1001,
        n_shared_experts=3)),
    ("rope-32", True, dict(
        qk_rope_head_dim=32, head_dim=96, num_attention_heads=6, o_groups=2,
        o_lora_rank=64, index_head_dim=32)),
    ("hidden-384", True, dict(
        hidden_size=384, q_lora_rank=256, moe_intermediate_size=256,
        hc_mult=5, num_hash_layers=0)),
    ("all-hash-no-mtp", True, dict(
        num_hash_layers=3, num_nextn_predict_layers=0,
        compress_ratios=[128, 0, 4])),
    ("wide-window", True, dict(
        sliding_window=100, index_topk=30, hc_sinkhorn_iters=40,
        rope_scaling=dict(factor=40, original_max_position_embeddings=128,
                          beta_fast=64, beta_slow=1))),
]


def shape(changes):
    def run(env):
        config = variant(env, **changes)
        checkpoint = env.checkpoint(config, seed=3)
        ids = np.random.default_rng(11).integers(0, config["vocab_size"], 150)
        model = env.reference(checkpoint, "f32")
        wanted = model.step(ids[None], 0)[0]
        package = env.package(checkpoint, "f32")
        found = env.logits(package, [ids, ids[:70]], "--chunk", 64)
        remark = compare_f32(found[:150], wanted)
        compare_f32(found[150:], wanted[:70])
        if config["num_nextn_predict_layers"]:
            wanted = model.mtp(model.h[:, :-1], ids[None, 1:], 0)[0]
            found = env.logits(package, [ids], "--mtp")
            compare_f32(found, wanted)
        return remark

    return run


for _name, _full, _changes in VARIANTS:
    check(f"shape/{_name}", full=_full)(shape(_changes))


def quantised_shape(name):
    """The same shapes in the quantised numerics: close to the reference, as
    far as its own rounding lets two implementations agree."""

    def run(env):
        changes = next(c for n, _, c in VARIANTS if n == name)
        config = variant(env, **changes)
        checkpoint = env.checkpoint(config, seed=3)
        ids = np.random.default_rng(11).integers(0, config["vocab_size"], 150)
        exact = env.reference(checkpoint, "f32").step(ids[None], 0)[0]
        remarks = []
        for mode in ("bf16", "published"):
            wanted = env.reference(checkpoint, mode).step(ids[None], 0)[0]
            found = env.logits(env.package(checkpoint, mode), [ids])
            ours = np.abs(found - wanted).mean()
            numerics = np.abs(wanted - exact).mean()
            remarks.append(f"{mode} {ours:.3g} of {numerics:.3g}")
            # Two runs that round differently drift apart as far as rounding
            # itself moves the logits; further is another computation.
            require(ours <= numerics, "mean |d| to the reference exceeds what "
                                      f"the numerics cost: {remarks[-1]}")
        return ", ".join(remarks)

    return run


for _name in ("head-dim-64", "head-dim-512"):
    check(f"shape/quantised/{_name}")(quantised_shape(_name))
for _name in ("odd-counts", "head-dim-192", "rope-32"):
    check(f"shape/quantised/{_name}", full=True)(quantised_shape(_name))


@check("shape/stored-otherwise")
def stored_otherwise(env):
    """Unquantised tensors in the other of their two formats, BF16 for F32 and
    F32 for BF16, mean the same numbers."""
    config = variant(env, compress_ratios=[0, 4, 128, 4])
    tensors = make_checkpoint.Gen(config, 3).model()
    for name, (dtype, values) in list(tensors.items()):
        if dtype == "F32":
            tensors[name] = ("BF16", make_checkpoint.bf16(values))
        elif dtype == "BF16":
            wide = (values.astype(np.uint32) << 16).view(np.float32)
            tensors[name] = ("F32", wide)
    checkpoint = env.temporary("stored-otherwise")
    env.write_checkpoint(checkpoint, config, tensors)
    ids = np.random.default_rng(11).integers(0, config["vocab_size"], 150)
    wanted = env.reference(checkpoint, "f32").step(ids[None], 0)[0]
    found = env.logits(env.package(checkpoint, "f32"), [ids], "--chunk", 64)
    return compare_f32(found, wanted)


# ---- Refused shapes ------------------------------------------------------------

REFUSED = {
    "architecture": dict(architectures=["LlamaForCausalLM"]),
    "nope-not-64": dict(head_dim=100),
    "odd-rope": dict(qk_rope_head_dim=63, head_dim=127),
    "rope-wider-than-head": dict(qk_rope_head_dim=192, head_dim=128),
    "heads-not-in-groups": dict(num_attention_heads=3, o_groups=2),
    "index-dim-96": dict(index_head_dim=96),
    "index-dim-16": dict(index_head_dim=16),
    "ratio-8": dict(compress_ratios=[0, 8, 128, 4]),
    "too-few-ratios": dict(compress_ratios=[0, 4]),
    "no-streams": dict(hc_mult=0),
    "no-shared-expert": dict(n_shared_experts=0),
    "more-chosen-than-experts": dict(num_experts_per_tok=9),
    "scoring": dict(scoring_func="softmax"),
    "two-key-heads": dict(num_key_value_heads=2),
    "rope-type": dict(rope_scaling=dict(type="linear")),
}


def refused(changes):
    def run(env):
        # The configuration is judged before any tensor: those of the base do.
        source = env.checkpoint(variant(env), seed=3)
        directory = env.temporary("refused")
        os.makedirs(directory)
        for name in os.listdir(source):
            if name != "config.json":
                os.symlink(os.path.join(source, name),
                           os.path.join(directory, name))
        import json
        with open(os.path.join(directory, "config.json"), "w") as f:
            json.dump(variant(env, **copy.deepcopy(changes)), f)
        package = env.temporary("refused.fathom")
        done = env.compile(directory, package, "f32", check=False)
        require(done.returncode == 3, f"exit code {done.returncode}, expected "
                                      f"3: {done.err.strip()[-300:]}")
        require("error:" in done.err and "help:" in done.err,
                f"no message with help: {done.err.strip()[-300:]}")
        require(not os.path.exists(package), "left a package behind")

    return run


for _name, _changes in REFUSED.items():
    check(f"unsupported/{_name}")(refused(_changes))


def refused_published(env):
    """FP8 inputs come in blocks of 128: K = 64 is fine in f32, not in
    published."""
    config = variant(env, q_lora_rank=64)
    checkpoint = env.checkpoint(config, seed=3)
    package = env.temporary("k64.fathom")
    done = env.compile(checkpoint, package, "published", check=False)
    require(done.returncode == 3,
            f"exit code {done.returncode}: {done.err.strip()[-300:]}")
    ids = np.arange(60) % config["vocab_size"]
    found = env.logits(env.package(checkpoint, "f32"), [ids])
    return compare_f32(found,
                       env.reference(checkpoint, "f32").step(ids[None], 0)[0])


check("unsupported/published-k-64")(refused_published)
