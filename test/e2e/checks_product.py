# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The promises of the product: bits that depend on the sequence alone, packages
that move and are refused when altered, equal bytes for equal inputs."""
import filecmp
import itertools
import json
import os
import shutil

import numpy as np

from harness import (LEVELS, NAMES, NANO, Skip, check, compare_f32, require,
                     require_level)

# ---- Bits ----------------------------------------------------------------------


def same_bits(name, numerics, lengths, level=None):
    def run(env):
        if level:
            require_level(level)
        vocabulary = env.config(name)["vocab_size"]
        rng = np.random.default_rng(5)
        lines = [rng.integers(0, vocabulary, n) for n in lengths]
        levels = ("--cpu", ",".join(LEVELS)) if level else ()
        package = env.package(env.checkpoint(name), numerics, *levels)
        first = None
        runs = 0
        for chunk, separate, threads in itertools.product(
                (0, 1, 7, 64), (False, True), (1, 2)):
            options = ["--chunk", chunk, "--threads", threads]
            options += ["--separate"] if separate else []
            options += ["--cpu", level] if level else []
            path = env.logits_file(package, lines, *options)
            data = open(path, "rb").read()
            os.remove(path)
            runs += 1
            if first is None:
                first = data
                continue
            if data != first:
                a = np.frombuffer(first[-4 * vocabulary * sum(lengths):],
                                  np.uint32).reshape(-1, vocabulary)
                b = np.frombuffer(data[-4 * vocabulary * sum(lengths):],
                                  np.uint32).reshape(-1, vocabulary)
                rows = np.flatnonzero((a != b).any(-1))
                require(False, f"{' '.join(map(str, options))} differs from "
                               f"--chunk 0 --threads 1 in {len(rows)} rows, "
                               f"the first is {rows[:1]}")
        return f"{runs} runs"

    return run


for _name in NAMES:
    for _numerics in ("bf16", "published"):
        check(f"bits/{_numerics}/{_name}", full=_name != "mixed")(
            same_bits(_name, _numerics, [150, 37, 1, 90]))
for _level in LEVELS:
    check(f"bits/{_level}")(
        same_bits("mixed", "bf16", [150, 37, 1, 90], _level))
for _numerics in ("bf16", "published"):
    check(f"bits/{_numerics}/csa-topk-long", full=True)(
        same_bits("csa-topk", _numerics, [700, 301, 129]))


@check("bits/bf16/mtp")
def same_mtp_bits(env):
    package = env.package(env.checkpoint("mixed"), "bf16")
    rng = np.random.default_rng(6)
    lines = [rng.integers(0, 512, n) for n in (140, 1, 33, 2)]
    data = {open(env.logits_file(package, lines, "--mtp", *options), "rb").read()
            for options in ([], ["--chunk", 1], ["--chunk", 7, "--separate"],
                            ["--threads", 1])}
    require(len(data) == 1, "MTP logits depend on chunks or threads")
    rows = np.load(env.logits_file(package, lines, "--mtp"))
    require(rows.shape[0] == 140 + 33 + 2 - 3, f"{rows.shape[0]} rows")


@check("bits/bf16/more-lines-than-sequences")
def turns(env):
    package = env.package(env.checkpoint("window"), "bf16", "--max-sequences",
                          3, "--max-step-tokens", 20)
    rng = np.random.default_rng(8)
    lines = [rng.integers(0, 512, n) for n in (30, 5, 41, 1, 17, 22, 9)]
    whole = env.logits(package, lines)
    alone = np.concatenate([env.logits(package, [line]) for line in lines])
    require((whole.view(np.uint32) == alone.view(np.uint32)).all(),
            "turns of three sequences differ from one at a time")
    # Limits are compiled in; they must not change a bit either.
    other = env.logits(env.package(env.checkpoint("window"), "bf16"), lines)
    require((whole.view(np.uint32) == other.view(np.uint32)).all(),
            "other limits give other bits")


# ---- Packages --------------------------------------------------------------------


def tree(directory):
    return sorted(os.listdir(directory))


@check("package/equal-inputs-equal-bytes")
def equal_bytes(env):
    checkpoint = env.checkpoint("mixed-fp8")
    a, b = env.temporary("one.fathom"), env.temporary("two.fathom")
    env.compile(checkpoint, a)
    env.compile(checkpoint, b)
    require(tree(a) == tree(b), "other files")
    _, differ, strange = filecmp.cmpfiles(a, b, tree(a), shallow=False)
    require(not differ and not strange, f"files differ: {differ + strange}")
    text = open(os.path.join(a, "manifest.json"), "rb").read()
    require(os.path.realpath(env.work).encode() not in text,
            "the manifest holds an absolute path")
    return f"{len(tree(a))} files"


@check("package/moves-with-its-checkpoint")
def relocation(env):
    ids = [np.arange(40)]
    here = env.temporary("place")
    os.makedirs(here)
    shutil.copytree(env.checkpoint("window"), os.path.join(here, "ckpt"))
    env.compile(os.path.join(here, "ckpt"), os.path.join(here, "m.fathom"))
    wanted = env.logits(os.path.join(here, "m.fathom"), ids)
    there = env.temporary("elsewhere")
    os.rename(here, there)
    found = env.logits(os.path.join(there, "m.fathom"), ids)
    require((found == wanted).all(), "moved together: other logits")
    # The weights alone move: --checkpoint says where they are now.
    away = env.temporary("away")
    os.rename(os.path.join(there, "ckpt"), away)
    done = env.run("fathom", "inspect", os.path.join(there, "m.fathom"))
    require(done.returncode in (0, 5), f"inspect: {done.returncode}")
    tokens = env.temporary("tokens.txt")
    open(tokens, "w").write("1,2,3\n")
    done = env.run("fathom", "logits", os.path.join(there, "m.fathom"),
                   "--tokens-file", tokens, "-o", env.temporary("x.npy"))
    require(done.returncode == 5, f"without weights: exit {done.returncode}: "
                                  f"{done.err[-300:]}")
    found = env.logits(os.path.join(there, "m.fathom"), ids, "--checkpoint",
                       away)
    require((found == wanted).all(), "--checkpoint: other logits")


def altered_copy(env):
    package = env.temporary("altered.fathom")
    env.compile(env.checkpoint("window"), package)
    return package


def refuse_run(env, package, code=5, word=None):
    done = env.run("fathom", "run", package, "--tokens", "1,2,3",
                   "--max-new-tokens", 1)
    require(done.returncode == code, f"exit code {done.returncode}, expected "
                                     f"{code}: {done.err.strip()[-300:]}")
    require("error" in done.err, f"no message: {done.err!r}")
    if word:
        require(word in done.err, f"'{word}' not in: {done.err.strip()[-300:]}")


@check("package/altered-bytes-are-refused")
def altered(env):
    package = altered_copy(env)
    names = [n for n in tree(package) if n.endswith((".so", "manifest.json"))]
    for name in names:
        path = os.path.join(package, name)
        data = bytearray(open(path, "rb").read())
        for place in (len(data) // 3, len(data) // 2, len(data) - 3):
            changed = bytearray(data)
            changed[place] ^= 1
            open(path, "wb").write(changed)
            if name == "manifest.json" and b"checkpointDirectory" in \
                    changed[max(0, place - 300):place]:
                continue  # outside the hashed content
            refuse_run(env, package)
        open(path, "wb").write(data[:len(data) // 2])
        refuse_run(env, package)
        open(path, "wb").write(data)
    done = env.run("fathom", "inspect", package, check=True)
    require(done.out, "inspect prints nothing")
    os.remove(os.path.join(package, names[0]))
    refuse_run(env, package)


@check("package/other-versions-are-refused")
def other_version(env):
    package = altered_copy(env)
    path = os.path.join(package, "manifest.json")
    text = open(path).read()
    manifest = json.loads(text)
    manifest["major"] += 1
    open(path, "w").write(json.dumps(manifest))
    refuse_run(env, package, word="version")
    for damaged in ("", "{}", "[1", '{"format":"other"}', "\0" * 100,
                    "[" * 100000):
        open(path, "w").write(damaged)
        refuse_run(env, package)
    refuse_run(env, env.temporary("absent.fathom"))


@check("package/other-weights-are-refused")
def other_weights(env):
    package = altered_copy(env)
    tokens = env.temporary("tokens.txt")
    open(tokens, "w").write("1,2,3\n")
    for directory in (env.checkpoint("csa"), NANO, env.temporary("absent")):
        done = env.run("fathom", "logits", package, "--tokens-file", tokens,
                       "-o", env.temporary("x.npy"), "--checkpoint", directory)
        require(done.returncode == 5, f"{os.path.basename(directory)}: exit "
                                      f"{done.returncode}: {done.err[-300:]}")


@check("package/sizes")
def sizes(env):
    package = env.package(NANO, "bf16")
    inspected = json.loads(
        env.run("fathom", "inspect", package, "--json", check=True).out)
    require(isinstance(inspected, dict) and inspected, "inspect --json is empty")
    manifest = json.load(open(os.path.join(package, "manifest.json")))
    # 448 + 8 + 128 bytes for head_dim 512; the same rule at nano's size.
    config = json.load(open(os.path.join(NANO, "config.json")))
    nope = config["head_dim"] - config["qk_rope_head_dim"]
    row = (nope + -(-(nope // 64) // 8) * 8 + 2 * config["qk_rope_head_dim"])
    for cache in manifest["caches"]:
        stored = sum(c["rowBytes"] for c in cache["components"])
        if cache["kind"] in ("window", "compressed"):
            require(stored == row, f"{cache['name']}: {stored} bytes a row, "
                                   f"expected {row}")
        if cache["kind"] == "index":
            d = config["index_head_dim"]
            require(stored == d // 2 + d // 32, f"{cache['name']}: {stored}")
    names = tree(package)
    for wanted in ("manifest.json", "config.json", "tokenizer.json",
                   "tokenizer_config.json", "generation_config.json"):
        require(wanted in names, f"{wanted} is not in the package")
    return f"{row} bytes a row"


# ---- Benchmarks --------------------------------------------------------------------

KEYS = ["prefill_tokens_per_second", "decode_tokens_per_second",
        "decode_bytes_per_second", "read_bandwidth_bytes_per_second",
        "time_to_first_token_seconds", "load_seconds", "peak_resident_bytes",
        "machine"]


@check("bench/json-keys")
def bench(env):
    done = env.run("fathom", "bench", env.package(NANO, "bf16"),
                   "--prompt-tokens", 64, "--new-tokens", 8, "--sequences", 2,
                   "--json", check=True)
    result = json.loads(done.out)
    for key in KEYS:
        require(key in result, f"no {key}")
        require(key == "machine" or result[key] > 0, f"{key} is {result[key]}")
    return f"decode {result['decode_tokens_per_second']:.0f} tokens/s"


@check("bench/mid", full=True)
def bench_mid(env):
    checkpoint = env.checkpoint("mid")
    package = env.temporary("mid.fathom")
    done = env.compile(checkpoint, package, "bf16", "--json", timeout=600)
    compiled = json.loads(done.out)
    require(done.seconds < 60, f"compiling took {done.seconds:.0f} s")
    require(compiled["peak_resident_bytes"] < 1e9,
            f"compiling took {compiled['peak_resident_bytes'] / 1e6:.0f} MB")
    command = ("bench", package, "--prompt-tokens", 512, "--new-tokens", 64,
               "--threads", 2, "--json")
    env.run("fathom", *command, check=True, timeout=600)
    r = json.loads(env.run("fathom", *command, check=True, timeout=600).out)
    limit = r["mapped_weight_bytes"] + r["cache_bytes"] + 200e6
    text = (f"compile {done.seconds:.0f} s, "
            f"{compiled['peak_resident_bytes'] / 1e6:.0f} MB; decode "
            f"{r['decode_tokens_per_second']:.1f}, prefill "
            f"{r['prefill_tokens_per_second']:.0f} tokens/s; load "
            f"{r['load_seconds']:.2f} s; {r['peak_resident_bytes'] / 1e6:.0f} MB")
    require(r["decode_tokens_per_second"] >= 25 and
            r["prefill_tokens_per_second"] >= 100 and
            r["load_seconds"] < 0.3 and r["peak_resident_bytes"] <= limit, text)
    return text
