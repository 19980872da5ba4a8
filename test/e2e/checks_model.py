# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The numbers: goldens of the published code, one layer at a time against the
numpy reference, the trained model's answers, and long contexts."""
import json
import os

import numpy as np

import ref_numpy
import rules
from harness import (CONFIGS, GOLDEN, LEVELS, NAMES, NANO, NUMERICS, Skip,
                     best_level, check, compare_f32, every_level, how,
                     only_level, require, with_full)

# ---- f32 against the published code -----------------------------------------


def golden_f32(name, options):
    def run(env):
        golden = env.golden(name)
        package = env.package(env.checkpoint(name), "f32")
        found = env.logits(package, [golden["ids"]], *options)
        return compare_f32(found[golden["positions"]], golden["f32"])

    return run


def golden_level(level, numerics):
    """Each instruction-set level: goldens in f32, and in bf16 the same bits
    however the prompt is chunked. Levels that the CPU has are of one package,
    and the runtime takes the one it is asked for."""

    def run(env):
        with_full(env, level)
        golden = env.golden("mixed")
        checkpoint = env.checkpoint("mixed")
        levels, asked = every_level(level)
        package = env.package(checkpoint, numerics, *levels)
        if asked:
            ran = env.level_that_runs(package, *asked)
            require(ran == level, f"{ran} runs")
        found = env.logits(package, [golden["ids"]], *asked)
        if numerics == "f32":
            return compare_f32(found[golden["positions"]], golden["f32"]) + how(level)
        for chunk in (1, 7, 64):
            again = env.logits(package, [golden["ids"]], *asked, "--chunk", chunk)
            require(again.tobytes() == found.tobytes(), f"other bits in chunks of {chunk}")
        return how(level)[2:]

    return run


for _level in LEVELS:
    for _numerics in ("f32", "bf16"):
        check(f"golden/{_level}/{_numerics}")(golden_level(_level, _numerics))


@check("golden/the-best-level-runs")
def best_level_runs(env):
    """Of a package with all levels, if nothing else is asked for."""
    package = env.package(env.checkpoint("mixed"), "f32", "--cpu",
                          ",".join(LEVELS))
    ran = env.level_that_runs(package)
    require(ran == best_level(), f"{ran} runs, this CPU has {best_level()}")
    return ran


def golden_batch(name):
    """Prefixes of unequal length in one batch: the logits of a position depend
    on what came before it alone, so the golden holds for each."""

    def run(env):
        golden = env.golden(name)
        ids, positions = golden["ids"], golden["positions"]
        package = env.package(env.checkpoint(name), "f32")
        remarks = []
        for chunk in (0, 7):
            lengths = [131, len(ids), 1, 64, 257]
            found = env.logits(package, [ids[:n] for n in lengths], "--chunk",
                               chunk)
            require(len(found) == sum(lengths), "wrong number of rows")
            start = 0
            for n in lengths:
                keep = positions < n
                remarks.append(compare_f32(
                    found[start:start + n][positions[keep]],
                    golden["f32"][keep]) if keep.any() else "")
                start += n
        return " and ".join(sorted(set(filter(None, remarks)))[-1:])

    return run


def golden_mtp(name, chunk):
    def run(env):
        golden = env.golden(name)
        if "mtp_f32" not in golden:
            raise Skip("the golden has no MTP logits")
        package = env.package(env.checkpoint(name), "f32")
        found = env.logits(package, [golden["ids"]], "--mtp", "--chunk", chunk)
        require(len(found) == len(golden["ids"]) - 1, "wrong number of rows")
        return compare_f32(found[golden["mtp_positions"]], golden["mtp_f32"])

    return run


for _name in NAMES:
    for _chunk in (0, 1, 7):
        check(f"golden/f32/{_name}/chunk-{_chunk}")(
            golden_f32(_name, ["--chunk", _chunk]))
    check(f"golden/f32/{_name}/batch")(golden_batch(_name))
    if "mtp_f32" in np.load(os.path.join(GOLDEN, _name + ".npz")).files:
        for _chunk in (0, 7):
            check(f"golden/f32/{_name}/mtp-chunk-{_chunk}")(
                golden_mtp(_name, _chunk))


# ---- Quantised numerics, end to end (rules 4 and 5) --------------------------


def published_rule(golden, logits):
    good, text = rules.published(logits[golden["positions"]], golden)
    require(good, text)
    return text


def published_end_to_end(name, level=None):
    def run(env):
        package = env.package(env.checkpoint(name), "published",
                              *only_level(level))
        golden = env.golden(name)
        logits = env.logits(package, [golden["ids"]])
        return published_rule(golden, logits) + how(level)

    return run


def bf16_nearer(name):
    def run(env):
        golden = env.golden(name)
        checkpoint = env.checkpoint(name)
        away = {}
        for numerics in ("bf16", "published"):
            found = env.logits(env.package(checkpoint, numerics),
                               [golden["ids"]])
            away[numerics] = rules.distance(found[golden["positions"]],
                                            golden["f32"])
        text = (f"mean |d| to f32: bf16 {away['bf16']:.4f}, published "
                f"{away['published']:.4f}")
        require(away["bf16"] < away["published"], text)
        return text

    return run


for _name in NAMES:
    check(f"golden/published/{_name}")(published_end_to_end(_name))
    for _level in LEVELS:
        check(f"golden/{_level}/published/{_name}", full=True)(
            published_end_to_end(_name, _level))
    check(f"golden/bf16/{_name}/nearer-to-f32")(bf16_nearer(_name))


# ---- One layer at a time (rules 3 and 5) -------------------------------------


def bf16_bits(x):
    u = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def layer_inputs(env, name, mode, ids):
    """The reference's streams before each layer, [1, T, n, D]."""
    model = env.reference(env.checkpoint(name), mode)
    inputs = []
    original = model.block

    def block(h, *rest):
        inputs.append(h)
        return original(h, *rest)

    model.block = block
    try:
        model.step(ids[None], 0)
    finally:
        del model.block
    return inputs


def one_layer_checkpoint(env, name, layer, mode):
    """A model of one layer of `name`, fed with what the reference feeds it:
    every token id occurs once and its embedding is the mean stream of its
    position. (All streams start equal; the layer's own attention half makes
    them differ for the other half.) The head shows the mixed streams
    themselves: the identity, after a norm without weights."""
    config = env.config(name)
    source = ref_numpy.Ckpt(env.checkpoint(name))
    ids = np.random.default_rng(7).permutation(config["vocab_size"])[:300]
    h = layer_inputs(env, name, mode, ids)[layer][0]
    vocabulary, width = config["vocab_size"], config["hidden_size"]
    require(width <= vocabulary, "the head needs vocab_size >= hidden_size")
    embed = np.zeros((vocabulary, width), np.uint16)
    embed[ids] = bf16_bits(h.mean(1))
    identity = np.zeros((vocabulary, width), np.float32)
    identity[np.arange(width), np.arange(width)] = 1
    tensors = {}
    for key, (dtype, shape, data) in source.t.items():
        data = np.asarray(data)
        if key.startswith(f"layers.{layer}."):
            key = "layers.0." + key.split(".", 2)[2]
        elif key.startswith(("layers.", "mtp.")):
            continue
        elif key == "embed.weight":
            data = embed
        elif key == "head.weight":
            data = bf16_bits(identity)
        elif key == "norm.weight":
            data = bf16_bits(np.ones(width))
        if data.dtype == np.uint8:
            itemsize = {"F32": 4, "BF16": 2, "I64": 8}.get(dtype, 1)
            data = data.view({1: np.uint8, 2: np.uint16, 4: np.float32,
                              8: np.int64}[itemsize]).reshape(shape)
        tensors[key] = (dtype, data)
    config["num_hash_layers"] = int(layer < config["num_hash_layers"])
    config["compress_ratios"] = [config["compress_ratios"][layer]]
    config["num_hidden_layers"] = 1
    config["num_nextn_predict_layers"] = 0
    path = os.path.join(env.work, "checkpoints",
                        f"layer-{name}-{layer}-{mode}")
    if not os.path.isdir(path):
        env.write_checkpoint(path + ".partial", config, tensors)
        os.rename(path + ".partial", path)
    return path, ids


def relative_rows(found, wanted):
    return (np.linalg.norm(found - wanted, axis=-1) /
            np.maximum(np.linalg.norm(wanted, axis=-1), 1e-20))


def layer_lines(ids):
    """Many short sequences and a long one. Where two sums fall on either side
    of a rounding boundary, one FP8 code of a cached row differs, and every
    later row of its sequence sees it: short sequences keep such rows few, the
    long one completes a block of 128."""
    return list(ids.reshape(20, 15)) + [ids[:140]]


def layer_reference(env, checkpoint, mode, ids):
    model = env.reference(checkpoint, mode)
    short = model.step(ids.reshape(20, 15), 0)
    model.reset()
    long = model.step(ids[None, :140], 0)
    return np.concatenate([short.reshape(300, -1), long[0]])


def judge_layer(env, name, found, wanted):
    width = env.config(name)["hidden_size"]
    rows = relative_rows(found[:, :width], wanted[:, :width])
    text = (f"relative L2 per row: median {np.median(rows):.2g}, p90 "
            f"{np.quantile(rows, .9):.2g}")
    require(np.median(rows) <= 1e-3, text)
    return text


def one_layer(name, layer, mode, level=None):
    def run(env):
        only = only_level(level)
        checkpoint, ids = one_layer_checkpoint(env, name, layer, mode)
        found = env.logits(env.package(checkpoint, mode, *only),
                           layer_lines(ids))
        wanted = layer_reference(env, checkpoint, mode, ids)
        return judge_layer(env, name, found, wanted) + how(level)

    return run


# Every attention kind with every router and expert format; the rest with --full.
_QUICK = {("mixed", 0), ("mixed", 2), ("mixed-fp8", 0), ("mixed-fp8", 1),
          ("mixed-fp8", 2)}
for _name in NAMES:
    _config = json.load(open(os.path.join(CONFIGS, _name + ".json")))
    for _layer in range(_config["num_hidden_layers"]):
        for _mode in ("published", "bf16"):
            check(f"layer/{_mode}/{_name}/{_layer}",
                  full=(_name, _layer) not in _QUICK)(
                      one_layer(_name, _layer, _mode))
            for _level in LEVELS:
                check(f"layer/{_level}/{_mode}/{_name}/{_layer}",
                      full=(_mode, _name, _layer) != ("published", "mixed", 2))(
                          one_layer(_name, _layer, _mode, _level))


# ---- The trained model --------------------------------------------------------


def nano_answers(numerics):
    def run(env):
        answers = json.load(open(os.path.join(NANO, "answers.json")))
        package = env.package(NANO, numerics)
        wrong, tokens = [], 0
        for number, answer in enumerate(answers):
            done = env.run("fathom", "run", package, "--tokens",
                           ",".join(map(str, answer["prompt_ids"])),
                           "--max-new-tokens", len(answer["answer_ids"]),
                           "--json", check=True)
            found = json.loads(done.out)
            tokens += len(found["tokens"])
            if found["tokens"] != answer["answer_ids"]:
                wrong.append(number)
            elif found.get("text", answer["answer"]) != answer["answer"]:
                wrong.append(f"{number} (text)")
        require(not wrong, f"{len(wrong)} of {len(answers)} answers differ: "
                           f"{wrong[:10]}")
        return f"{len(answers)} answers, {tokens} tokens"

    return run


for _numerics in NUMERICS:
    check(f"nano/answers/{_numerics}")(nano_answers(_numerics))


# ---- Long context --------------------------------------------------------------


@check("long/f32/20000-tokens", full=True)
def long_context(env):
    golden = env.golden("long")
    config = env.config("mixed-fp8")
    config["max_position_embeddings"] = 32768
    package = env.package(env.checkpoint(config), "f32")
    found = env.logits(package, [golden["ids"]], timeout=1800)
    away = np.abs(found[golden["positions"]] - golden["f32"])
    text = f"p99 {np.quantile(away, .99):.2g}, max {away.max():.2g}"
    require(np.quantile(away, .99) <= 2e-3, text)
    return text
