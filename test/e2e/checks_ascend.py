# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ascend: every kernel through AscendNPU-IR, the modules that it gets executed
on this CPU, and packages finished with a stand-in for CANN's last stage."""
import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import time

import adapter_compare
import adapter_cpu
import numpy as np
import rules
from checks_model import published_rule
from harness import (NAMES, NANO, NUMERICS, TEST, Skip, check, compare_f32,
                     require)

SOCS = ["910b", "a3", "950"]


def compiler(env):
    folder = os.path.join(env.build, "ascend", "bin")
    if not os.access(os.path.join(folder, "bishengir-compile"), os.X_OK):
        raise Skip("the Python package ascendnpu-ir is not installed "
                   "(tools/setup does it)")
    return folder


def llvm(tool):
    for name in (tool + "-22", tool):
        path = shutil.which(name)
        if path:
            return path
    path = f"/usr/lib/llvm-22/bin/{tool}"
    if os.access(path, os.X_OK):
        return path
    raise Skip(f"{tool} is not installed")


def install(folder, names, text):
    os.makedirs(folder, exist_ok=True)
    for name in names:
        path = os.path.join(folder, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, stat.S_IRWXU)
    return folder


# Plays AscendNPU-IR's compilers, each with something of its own to do.
COMPILERS = ["bishengir-compile", "bishengir-compile-a5"]
COMPILER = """#!/bin/sh
case "$1" in --version) echo "bishengir-compile 9.9 (test)"; exit 0 ;; esac
"""


def package(env, checkpoint, numerics, socs, *more):
    """For checks of everything but acceptance: nothing is accepted, which takes
    no time."""
    tools = install(os.path.join(env.work, "refuses"), COMPILERS,
                    COMPILER + "exit 1\n")
    return env.package(checkpoint, numerics, "--target", "ascend:" + socs,
                       "--cpu", "x86-64-v3", "--bishengir", tools, *more)


def kernels(env, path):
    done = env.run("fathomc", "kernels", path, "--json", check=True)
    rows = [row for row in json.loads(done.out)["kernels"]
            if row["target"] in SOCS]
    require(rows, "the package has no kernels for Ascend")
    return rows


def text_of(path):
    with open(path) as f:
        return f.read()


def handed_over(env, path, soc, form=".mlir"):
    """Kernel -> its module, or (".hivm.mlir") what the last stage would get."""
    folder = os.path.join(path, "device", soc)
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(form) and (form != ".mlir" or
                                    not name.endswith(".hivm.mlir")):
            found[name[:-len(form)]] = text_of(os.path.join(folder, name))
    return found


def accepted(numerics, socs, model=NANO, timeout=None):
    """AscendNPU-IR accepts every kernel up to code generation: the list of
    those that it refuses is empty. Everything that its hand-over calls is in
    the device library, and no hand-over names a folder of this machine. Where
    tokens are codes, the 950 multiplies codes."""

    def run(env):
        where = model(env) if callable(model) else model
        compiler(env)
        path = env.temporary("accepted.fathom")
        env.compile(where, path, numerics, "--target", "ascend:" + socs,
                    "--cpu", "x86-64-v3", timeout=timeout or 3600)
        rows = kernels(env, path)
        bad = [f"{row['name']} for {row['target']}: {row['message']}"
               for row in rows if not row["accepted"]]
        require(not bad, f"{len(bad)} refused, the first: {bad[:1]}")
        missing = sorted({name for row in rows
                          for name in row["unresolved_symbols"]})
        require(not missing, f"not in the device library: {missing[:5]}")
        names = {row["name"] for row in rows}
        require(len(rows) == len(names) * len(socs.split(",")),
                "not every kernel for every processor")
        for soc in socs.split(","):
            texts = handed_over(env, path, soc, ".hivm.mlir")
            require(set(texts) == names, f"{soc}: not every hand-over is there")
            for name, text in texts.items():
                folder = re.search(r'"[^"\n]*/[^"\n]*"', text)
                require(not folder, f"{name} names {folder and folder[0]}")
        mx = {soc: {name for name, text in handed_over(env, path, soc).items()
                    if "hfusion.matmul_mx" in text}
              for soc in socs.split(",")}
        for soc, names_mx in mx.items():
            require(bool(names_mx) == (soc == "950" and
                                       numerics == "published"),
                    f"{soc}: {len(names_mx)} kernels multiply codes")
        if "950" in mx:
            texts = handed_over(env, path, "950", ".hivm.mlir")
            require(mx["950"] == {name for name, text in texts.items()
                                  if "mmadmxL1" in text},
                    "products of codes are not handed over as such")
        return (f"{len(names)} kernels, {len(mx)} processors, "
                f"{len(mx.get('950', []))} multiply codes")

    return run


ALL = ",".join(SOCS)
for _numerics in NUMERICS:
    check(f"ascend/accepted/nano/{_numerics}/all", full=_numerics == "f32")(
        accepted(_numerics, ALL))
# Without the 950 tokens are values.
VALUES = "910b,a3"
check("ascend/accepted/nano/published/values", full=True)(
    accepted("published", VALUES))


def skeleton(preset):
    def make(env):
        path = env.temporary(preset)
        env.run("fathomc", "skeleton", "--preset", preset, "-o", path,
                check=True, timeout=300)
        return path

    return make


for _preset in ("v4-flash", "v4-pro"):
    for _numerics in ("published", "bf16"):
        check(f"ascend/accepted/{_preset}/{_numerics}/all", full=True)(
            accepted(_numerics, ALL, skeleton(_preset), timeout=7200))
    check(f"ascend/accepted/{_preset}/published/values", full=True)(
        accepted("published", VALUES, skeleton(_preset), timeout=7200))


# ---- what is handed over, executed ------------------------------------------


class Adapted:
    """A package, and the library of the modules for `soc` in it."""
    kept = {}

    def __init__(self, env, checkpoint, numerics, soc, more):
        self.package = package(env, checkpoint, numerics, soc, *more)
        tile = env.temporary("tile.mlir")
        env.run("fathomc", "compile", checkpoint, "--numerics", numerics,
                "--target", "ascend:" + soc, *more, "--stop-after", "tile", "-q",
                "-o", tile, check=True)
        self.tile = text_of(tile)
        self.library = adapter_cpu.build(
            self.tile, handed_over(env, self.package, soc),
            env.temporary("adapter"), llvm)

    def hosted(self, env, library):
        """The package with this library in the place of the host's code."""
        replaced = env.temporary("adapter.fathom")
        shutil.copytree(self.package, replaced)
        env.run("fathom-replace-library", replaced, library, check=True)
        return replaced

    def logits(self, env, checkpoint, ids):
        """Of one sequence, by the modules. Weights are found by the checkpoint:
        the package that has the library is elsewhere."""
        return env.logits(self.hosted(env, self.library), [ids], "--driver",
                          "host", "--checkpoint", checkpoint, timeout=1200)

    def host(self):
        found = [os.path.join(where, name)
                 for where, _, names in os.walk(self.package)
                 for name in names if name.endswith(".so")]
        require(len(found) == 1, f"libraries of the host: {found}")
        return found[0]


def adapted(env, checkpoint, numerics, soc, *more):
    key = checkpoint, numerics, soc, more
    if key not in Adapted.kept:
        Adapted.kept[key] = Adapted(env, *key)
    return Adapted.kept[key]


def executed(name, soc):
    """The modules as they are handed over, by upstream passes on this CPU,
    against the published code's own numbers."""

    def run(env):
        golden = env.golden(name)
        checkpoint = env.checkpoint(name)
        made = adapted(env, checkpoint, "f32", soc)
        keep = golden["positions"] < 200
        ids = golden["ids"][:200]
        found = made.logits(env, checkpoint, ids)
        return compare_f32(found[golden["positions"][keep]],
                           golden["f32"][keep])

    return run


for _name in NAMES:
    check(f"ascend/executed/{_name}/910b", full=_name != "mixed")(
        executed(_name, "910b"))
    check(f"ascend/executed/{_name}/950", full=True)(executed(_name, "950"))

# Room for a golden, so that buffers are small.
ROOM = ["--max-context", "512", "--max-step-tokens", "64"]

# Element type -> (share of numbers that may differ, by how much): sums have
# other orders, of which one in thousands falls on the other side of a middle
# between two numbers of bf16, and may then be one of the terms of a sum. What is
# a code, a scale or a choice is the same.
LIMITS = {"f32": (1, 5e-5), "bf16": (2e-3, 2**-7), "f8E4M3FN": (1e-4, 1),
          "f8E8M0FNU": (0, 0), "i8": (0, 0), "i32": (0, 0)}


def kernel_by_kernel(name, numerics, soc):
    """Every kernel on equal inputs, by the module that is handed over and by
    the host's code: nothing grows from layer to layer, so that limits are
    those of one kernel's rounding."""

    def run(env):
        ids = env.golden(name)["ids"]
        checkpoint = env.checkpoint(name)
        made = adapted(env, checkpoint, numerics, soc, *ROOM)
        both = made.hosted(env, adapter_compare.build(
            made.tile, made.host(), made.library, env.temporary("both"), llvm))
        seen = adapter_compare.Comparison()
        # Steps of each size, past the first block of the widest compressor.
        for count, *options in ((131,), (40, "--chunk", 7), (9, "--chunk", 1),
                                (20, "--mtp"), (20, "--mtp", "--chunk", 7),
                                (9, "--mtp", "--chunk", 1)):
            told = env.temporary("results.jsonl")
            found = env.logits(
                both, [ids[:count]], "--driver", "host", "--threads", "1",
                "--checkpoint", checkpoint, *options, timeout=1200,
                env=dict(os.environ, ADAPTER_RESULTS=told))
            wanted = env.logits(made.package, [ids[:count]], "--driver", "host",
                                "--checkpoint", checkpoint, *options)
            require((found == wanted).all(), "to compare changes results")
            seen.add(told)
        wrong = seen.beyond(LIMITS)
        require(not wrong, f"{len(wrong)} results differ, the first: {wrong[:1]}")
        # Only the choice of a token is no part of logits.
        idle = [name for name, programs in seen.programs.items()
                if not programs and not name.startswith(("argmax", "greedy"))]
        require(not idle, f"{len(idle)} kernels did not run: {idle[:5]}")
        return f"{len(seen.programs)} kernels"

    return run


def executed_bf16(soc):
    """The same in bf16: nearer to f32 than the published code's numbers with
    all of their quantisers are."""

    def run(env):
        golden = env.golden("mixed-fp8")
        checkpoint = env.checkpoint("mixed-fp8")
        made = adapted(env, checkpoint, "bf16", soc, *ROOM)
        found = made.logits(env, checkpoint,
                            golden["ids"])[golden["positions"]]
        require(np.isfinite(found).all(), "not all logits are finite")
        ours = rules.distance(found, golden["f32"])
        published = rules.distance(golden["native"], golden["f32"])
        text = f"mean |d| to f32 {ours:.4f}, published code {published:.4f}"
        require(ours < published, text)
        return text

    return run


def executed_published(name, soc):
    """Quantised numerics from end to end, by the rule that all targets are
    judged by: as near to the published code's logits as these are to
    themselves. (A number that falls on the other side of a middle between two
    codes moves all that follow, in any two orders of sums.)"""

    def run(env):
        golden = env.golden(name)
        checkpoint = env.checkpoint(name)
        made = adapted(env, checkpoint, "published", soc, *ROOM)
        return published_rule(golden,
                              made.logits(env, checkpoint, golden["ids"]))

    return run


# The experts of `mixed` are in FP4, those of `mixed-fp8` in FP8.
for _soc in ("910b", "950"):
    for _name, _numerics in (("mixed", "published"), ("mixed-fp8", "published"),
                             ("mixed-fp8", "bf16")):
        _slow = (_name, _soc) != ("mixed", "950")
        check(f"ascend/kernels/{_name}/{_numerics}/{_soc}", full=_slow)(
            kernel_by_kernel(_name, _numerics, _soc))
        if _numerics == "published":
            check(f"ascend/executed/{_name}/published/{_soc}", full=_slow)(
                executed_published(_name, _soc))
    check(f"ascend/executed/mixed-fp8/bf16/{_soc}", full=True)(
        executed_bf16(_soc))


@check("ascend/executed/codes")
def executed_codes(env):
    """Products of codes as the 950 gets them: what they mean is the product
    of the numbers that the codes stand for."""
    source = os.path.join(TEST, "codegen", "Ascend", "codes.mlir")
    folder = env.temporary("codes")
    env.run("fathom-tile-to-adapter", source, "950", folder, check=True)
    modules = {}
    for name in ("fp8", "fp4"):
        path = os.path.join(folder, name + ".mlir")
        with open(path) as f:
            modules[name] = f.read()
        require("hfusion.matmul_mx" in modules[name], "no product of codes")
    with open(source) as f:
        kernels_of = re.sub("^tile", "  tile", f.read(), flags=re.M)
    library = ctypes.CDLL(adapter_cpu.build(kernels_of, modules,
                                            env.temporary("codes-built"), llvm))

    def called(name, *arrays):
        arrays = [np.ascontiguousarray(a) for a in arrays]
        pointers = (ctypes.c_uint64 * len(arrays))(
            *[a.ctypes.data for a in arrays])
        zero = ctypes.c_int64(0)
        getattr(library, name)(pointers, zero, zero, zero, None)
        return arrays[-1]

    def power(scale):
        return 2.0 ** (scale.astype(int) - 127)

    codes = np.arange(256)
    exponent, fraction = codes >> 3 & 15, codes & 7
    e4m3 = np.where(exponent > 0, (8 + fraction) * 2.0 ** (exponent - 10),
                    fraction * 2.0 ** -9) * np.where(codes & 128, -1, 1)
    finite = codes[(codes & 127) != 127].astype(np.uint8)
    e2m1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6])
    e2m1 = np.concatenate([e2m1, -e2m1])
    random = np.random.default_rng(7)
    x = random.choice(finite, (16, 128))
    x_scale = random.integers(120, 130, (16, 1)).astype(np.uint8)
    tokens = e4m3[x] * power(x_scale)
    worst = 0

    def compare(found, wanted):
        nonlocal worst
        error = abs(found - wanted).max() / abs(wanted).max()
        require(error < 1e-6, f"off by {error:g}")
        worst = max(worst, error)

    weight = random.choice(finite, (64, 128))
    scale = np.array([[121]], np.uint8)
    start = random.standard_normal((64, 16)).astype(np.float32)
    result = np.zeros((64, 16), np.float32)
    compare(called("fp8", weight, scale, x, x_scale, start, result),
            start + (e4m3[weight] * power(scale)) @ tokens.T)
    weight = np.resize(codes, (64, 64)).astype(np.uint8)  # every pair
    scale = random.integers(120, 130, (64, 4)).astype(np.uint8)
    values = np.empty((64, 128))
    values[:, 0::2], values[:, 1::2] = e2m1[weight & 15], e2m1[weight >> 4]
    values *= np.repeat(power(scale), 32, axis=1)
    compare(called("fp4", weight, scale, x, x_scale, result), values @ tokens.T)
    return f"error at most {worst:.1e}"


# ---- emulated ---------------------------------------------------------------


def emulated(name):
    """The host's code of the same kernels, from a package for Ascend."""

    def run(env):
        golden = env.golden(name)
        path = package(env, env.checkpoint(name), "f32", "910b")
        found = env.logits(path, [golden["ids"]], "--driver", "emulated")
        host = env.logits(path, [golden["ids"]], "--driver", "host")
        require((found == host).all(), "other bits than through the host")
        return compare_f32(found[golden["positions"]], golden["f32"])

    return run


for _name in NAMES:
    check(f"ascend/emulated/{_name}", full=_name != "mixed")(emulated(_name))


@check("ascend/emulated/mixed-fp8/published")
def emulated_codes(env):
    """With tokens as codes and scales, as packages with the 950 have them."""
    golden = env.golden("mixed-fp8")
    path = package(env, env.checkpoint("mixed-fp8"), "published", "950", *ROOM)
    found = env.logits(path, [golden["ids"]], "--driver", "emulated")
    host = env.logits(path, [golden["ids"]], "--driver", "host")
    require((found == host).all(), "other bits than through the host")
    return published_rule(golden, found)


# ---- how kernels are called --------------------------------------------------


def entry_of(text, kernel):
    """Arguments, as (type, kind), and body of the kernel's function in a
    hand-over; of both its parts where it has two, which must agree."""
    found = re.findall(r"func\.func @" + re.escape(kernel) +
                       r"(|_mix_aic|_mix_aiv)\((.*?)\) attributes[^\n]*\{\n"
                       r"(.*?)\n  \}", text, re.S)
    require(found, f"{kernel} is not in its hand-over")
    all_arguments = []
    for _, arguments, _ in found:
        split = re.split(r"(?:^|, )%arg\d+: ", arguments)[1:]
        kinds = [re.search(r"hacc\.arg_type<(\w+)>", one) for one in split]
        all_arguments.append([(one.split(" {")[0].split(",")[0],
                               kind.group(1) if kind else "")
                              for one, kind in zip(split, kinds)])
    require(all(one == all_arguments[0] for one in all_arguments),
            f"{kernel}: its parts have different arguments")
    return ([part for part, _, _ in found], all_arguments[0],
            [body for _, _, body in found])


def blocks_of(text, body):
    """For how many blocks the loop from the number of the block is; 0: none.
    A turn may take several programs, apart by as many as there are blocks."""
    for number in re.findall(r"(%\S+) = hivm\.hir\.get_block_idx", body):
        narrow = re.search(r"(%\S+) = \S*trunci? " + re.escape(number) + " :",
                           body)
        turn = narrow and re.search(
            r"scf\.for (%\S+) = " + re.escape(narrow.group(1)) +
            r" to %\S+ step (%\S+) ", body)
        if turn:
            step = int(re.search(re.escape(turn.group(2)) +
                                 r" = arith\.constant (\d+) : i32",
                                 body).group(1))
            inside = body[turn.end():]
            index = re.search(r"(%\S+) = arith\.index_cast " +
                              re.escape(turn.group(1)) + " :", inside)
            left = index and re.search(r"affine\.min (#\S+)\(" +
                                       re.escape(index.group(1)) + r"\)\[",
                                       inside)
            several = left and re.search(
                re.escape(left.group(1)) + r" = affine_map<\(d0\)\[s0\] -> "
                r"\(\(-d0 \+ s0\) ceildiv (\d+), (\d+)\)>", text)
            if not several:
                return step
            apart, programs = map(int, several.groups())
            require(apart * programs == step, "a turn leaves programs out")
            return apart
        loop = narrow and re.search(
            r"cf\.br (\^bb\d+)\((?:[^)]*, )?" +
            re.escape(narrow.group(1)) + " :", body)
        if not loop:
            continue
        induction = re.search(re.escape(loop.group(1)) + r"\((%\S+): i32",
                              body)
        step = re.search(r"addi? " + re.escape(induction.group(1)) +
                         r", (%\S+) ", body).group(1)
        return int(re.search(re.escape(step) +
                             r" = \S*constant\(?\s?(\d+) : i32",
                             body).group(1))
    return 0


def called_as(call, arguments):
    """What the driver packs against what the function takes."""
    packed = struct.pack(f"<{len(call['words'])}Q", *call["words"])
    own = iter([value for i, kind in enumerate(call["kinds"])
                for value in (([0x10000 * (i + 1) + 1] if kind == "table"
                               else []) + [0x10000 * (i + 1)])])
    own_types = iter([wanted for kind in call["kinds"]
                      for wanted in {"table": (None, "i64"), "count": ("i32",),
                                     "buffer": (None,)}[kind]])
    grid = iter([3, 5, 7])
    at = 0
    for type_, kind in arguments:
        if type_ == "i32":
            value, = struct.unpack_from("<i", packed, at)
            require(value == next(grid), "an i32 that is not the grid's")
            at += 4
            continue
        value, = struct.unpack_from("<Q", packed, at)
        at += 8
        if kind == "ffts_base_address":
            require(type_ == "i64" and value == 0xf1a6, "flags")
        elif kind == "sync_block_lock":
            require(value == 0, "a lock")
        elif kind == "workspace":
            require(value == (0x3039 if call["workspace_bytes"] else 0),
                    "a workspace")
        else:
            require(type_.startswith("memref<?x"), f"an argument of {type_}")
            wanted = next(own_types)
            require(wanted is None or type_.startswith(f"memref<?x{wanted}"),
                    f"{type_} where elements are {wanted}")
            require(value == next(own), f"{value:#x} where another belongs")
    require(next(own, None) is None and next(grid, None) is None,
            "more than the function takes")
    require(len(packed) == (at + 7) // 8 * 8 and not any(packed[at:]),
            "bytes after the last argument")


def arguments(numerics, soc):
    """For every kernel, what the driver packs for a launch from the package's
    records is what the function in the hand-over takes, and what the package
    says of blocks, flags and workspace is what stands there."""

    def run(env):
        compiler(env)
        path = env.temporary("called.fathom")
        env.compile(NANO, path, numerics, "--target", "ascend:" + soc, "--cpu",
                    "x86-64-v3", timeout=3600)
        calls = [json.loads(line) for line in
                 env.run("tests/ascend-arguments", path, soc,
                         check=True).out.splitlines()]
        refused = {row["name"]: row["message"] for row in kernels(env, path)
                   if not row["accepted"]}
        require(not refused, f"refused: {list(refused.items())[:1]}")
        texts = handed_over(env, path, soc, ".hivm.mlir")
        seen = {"table": 0, "mix": 0, "workspace": 0, "codes": 0}
        for call in calls:
            name = call["kernel"]
            text = texts[name]
            parts, types, bodies = entry_of(text, name)
            try:
                called_as(call, types)
                require(call["mix"] == (len(parts) == 2), "mixed or not")
                require(all(blocks_of(text, body) == call["loop"]
                            for body in bodies), "how blocks go on")
                require(call["blocks"] == min(call["loop"] or 105, 105),
                        "the number of blocks")
                size = re.search(name + r"_infer_workspace_shape_function\(\)"
                                 r".*?constant (\d+) : index", text, re.S)
                require(call["workspace_bytes"] ==
                        (int(size.group(1)) if size else 0), "workspace")
            except AssertionError as why:
                raise AssertionError(f"{name}: {why}")
            seen["table"] += "table" in call["kinds"]
            seen["mix"] += call["mix"]
            seen["workspace"] += call["workspace_bytes"] > 0
            seen["codes"] += "mmadmxL1" in text
        wanted = {"table", "mix"} | ({"workspace"} if soc != "950" else set())
        if numerics == "published" and soc == "950":
            wanted.add("codes")
        require(all(seen[form] for form in wanted), f"not all forms: {seen}")
        return (f"{len(calls)} kernels, {seen['mix']} on both kinds of cores, "
                f"{seen['table']} with tables, {seen['codes']} multiply codes")

    return run


for _soc in SOCS:
    check(f"ascend/arguments/{_soc}", full=_soc == "a3")(
        arguments("bf16", _soc))
# Codes and scales of tokens are arguments, and products of codes are among the
# hand-overs.
check("ascend/arguments/950/published")(arguments("published", "950"))


# ---- finishing --------------------------------------------------------------

# What it is called with, and an object that tells of it.
STAND_IN = """#!/bin/sh
if [ "$1" = --version ]; then echo "hivmc 0.3.0"; exit 0; fi
input=$1
while [ $# -gt 0 ]; do [ "$1" = -o ] && output=$2; shift; done
{ echo object of; sed -n 's/.*func.func @\\([a-z_0-9]*\\)(.*/\\1/p' "$input" |
  head -1; } > "$output"
"""

# Where only what comes after the compiler matters.
HANDS_OVER = COMPILER + """for argument; do
  case "$argument" in
    --save-temps=*) folder=${argument#*=} ;;
    *.mlir) module=$argument ;;
    --target=Ascend950*) stage=hivmc-a5 ;;
  esac
  output=$argument
done
name=$(sed -n 's/.*sym_name = "\\([a-z_0-9]*\\)".*/\\1/p' "$module" | head -1)
[ -n "$folder" ] && printf '  func.func @%s() attributes {} {\\n  }\\n' "$name" \\
  > "$folder/module.hivm.opt.mlir"
command -v ${stage:-hivmc} >/dev/null || {
  echo "[ERROR] Cannot find ${stage:-hivmc} under \\$PATH" >&2; exit 1; }
exec ${stage:-hivmc} "$module" -o "$output"
"""

# CANN's last stage, which behaves as it is told to.
LAST_STAGE = """#!/bin/sh
if [ "$1" = --version ]; then echo "hivmc 0.3.0"; exit 0; fi
grep -q embed "$1" && case "$FATHOM_TEST_HIVMC" in
  fails) echo "[ERROR] no such instruction" >&2; exit 3 ;;
  dies) kill -SEGV $$ ;;
  silent) exit 0 ;;
  slow) sleep 20 ;;
esac
{ echo object of; cat "$1"; } > "$3"
"""


def digest(path):
    """Of all names and bytes below a folder."""
    total = hashlib.blake2b(digest_size=16)
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            full = os.path.join(folder, name)
            total.update(os.path.relpath(full, path).encode() + b"\0")
            with open(full, "rb") as f:
                total.update(f.read())
    return total.hexdigest()


@check("ascend/finish")
def finish(env):
    """With the real compiler; an object is what the stand-in makes of a real
    hand-over. What the host computes stays the same, to the bit."""
    compiler(env)
    made = env.package(NANO, "bf16", "--target", "ascend:910b", "--cpu",
                       "x86-64-v3")
    rows = kernels(env, made)
    require(not any(row["finished"] for row in rows),
            "device code without CANN")
    path = env.temporary("finished.fathom")
    shutil.copytree(made, path)
    tools = install(env.temporary("cann"), ["hivmc", "hivmc-a5"], STAND_IN)
    environment = dict(os.environ, FATHOM_CACHE_DIR=env.cache(),
                       PATH=tools + os.pathsep + os.environ["PATH"])
    env.run("fathomc", "finish", path, check=True, timeout=1800,
            env=environment)
    for row in kernels(env, path):
        require(row["finished"] and row["file"].endswith(".o"),
                f"{row['name']} is not finished")
        with open(os.path.join(path, row["file"])) as f:
            text = f.read()
        require(text.startswith("object of"), f"{row['file']}: {text[:80]}")
    left = [name for name in os.listdir(os.path.join(path, "device", "910b"))
            if not name.endswith(".o")]
    require(not left, f"left in the package: {left[:3]}")
    told = env.run("fathom", "inspect", path, check=True).out
    require("unfinished" not in told and "without device code" not in told,
            "inspect still says so")
    require(re.search(r"AscendNPU-IR \S+, hivmc 0\.3\.0", told),
            "what made the code is not said")
    ids = [list(range(1, 30))]
    before, after = (env.logits(p, ids, "--driver", "emulated",
                                "--checkpoint", NANO) for p in (made, path))
    require((before == after).all(), "other logits than before")
    return f"{len(rows)} kernels"


@check("ascend/finish/all-ends")
def finish_all_ends(env):
    """Packages that are not, partly, and wholly finished, and all that can go
    wrong, which leaves a package as it was. The compiler is played, too."""
    tools = install(env.temporary("tools"), COMPILERS, HANDS_OVER)
    cann = install(env.temporary("cann"), ["hivmc"], LAST_STAGE)
    cann_a5 = install(env.temporary("cann-a5"), ["hivmc-a5"], LAST_STAGE)
    path = env.temporary("unfinished.fathom")
    plain = dict(os.environ, FATHOM_CACHE_DIR="")

    def with_path(*folders, mode=""):
        return dict(plain, FATHOM_TEST_HIVMC=mode,
                    FATHOM_CACHE_DIR=env.cache(),
                    PATH=os.pathsep.join([*folders, os.environ["PATH"]]))

    done = env.compile(NANO, path, "bf16", "--target", "ascend:910b,950",
                       "--cpu", "x86-64-v3", "--bishengir", tools,
                       env=with_path())
    count = len(kernels(env, path)) // 2
    for words in (f"910b: {count} of {count} kernels are accepted up to code "
                  "generation, and there is no device code",
                  "hivmc-a5 of CANN on PATH", "their modules",
                  "device/910b/finish.sh", "fathomc finish PACKAGE"):
        require(words in done.err, f"'{words}' is not said: {done.err[-800:]}")
    told = env.run("fathom", "inspect", path, check=True).out
    for words in (f"{count} of them without device code", "each kernel's module",
                  "what CANN's last stage would get", "device/950/finish.sh",
                  f"fathomc finish {path}"):
        require(words in told, f"inspect does not say '{words}': {told}")
    run = env.run("fathom", "run", path, "--tokens", "1,2")
    require(run.returncode == 3 and f"fathomc finish {path}" in run.err,
            f"run: exit code {run.returncode}: {run.err}")

    untouched = digest(path)

    def refused(code, words, environment, where=path, bishengir=tools):
        done = env.run("fathomc", "finish", where, "--bishengir", bishengir,
                       env=environment)
        require(done.returncode == code and words in done.err,
                f"exit code {done.returncode} for {code}, '{words}': "
                f"{done.err}")
        require(digest(path) == untouched, f"'{words}' changed the package")

    refused(4, "code generator is not here", with_path())
    refused(4, f"910b: {count} kernels wait for hivmc ", with_path())
    refused(1, "[ERROR] no such instruction", with_path(cann, mode="fails"))
    refused(1, "embed for 910b", with_path(cann, mode="fails"))
    refused(1, "of {} kernels could not be compiled".format(count),
            with_path(cann, mode="fails"))
    refused(1, "these tools are AscendNPU-IR 9.9, hivmc 0.3.0",
            with_path(cann, mode="dies"))
    refused(1, "it wrote no object", with_path(cann, mode="silent"))
    refused(5, "cannot", with_path(cann), env.temporary("nothing.fathom"))
    refused(4, "no bishengir-compile", with_path(cann), path, "/nowhere")

    # Ended in the middle: nothing happened, nothing is left beside it.
    process = subprocess.Popen(
        [env.need("fathomc"), "finish", path, "--bishengir", tools],
        stderr=subprocess.DEVNULL, env=with_path(cann, mode="slow"),
        start_new_session=True)
    time.sleep(2)
    require(process.poll() is None, "a slow last stage was not waited for")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    require(digest(path) == untouched, "half a package")
    left = [name for name in os.listdir(os.path.dirname(path))
            if ".writing-" in name]
    require(not left, f"left beside the package: {left}")

    # A module or a manifest that is not what it was.
    for name, change, words in (
            ("device/910b/embed.mlir", lambda text: text + " ", "was changed"),
            ("manifest.json",
             lambda text: re.sub(r'"major":\s*\d+', '"major":1', text),
             "version")):
        damaged = env.temporary("damaged.fathom")
        shutil.copytree(path, damaged)
        with open(os.path.join(damaged, name)) as f:
            text = f.read()
        with open(os.path.join(damaged, name), "w") as f:
            f.write(change(text))
        refused(5, words, with_path(cann), damaged)

    # A file that travels with it is missing: noticed before any work.
    damaged = env.temporary("damaged.fathom")
    shutil.copytree(path, damaged)
    os.remove(os.path.join(damaged, "tokenizer.json"))
    refused(5, "tokenizer.json", with_path(cann, mode="fails"), damaged)

    def finish_now(where, environment):
        return env.run("fathomc", "finish", where, "--bishengir", tools,
                       check=True, env=environment).err

    # One of two processors, through a link; then the other one.
    linked = env.temporary("linked.fathom")
    partly = env.temporary("partly.fathom")
    shutil.copytree(path, partly)
    os.symlink(partly, linked)
    told = finish_now(linked, with_path(cann))
    require(os.path.islink(linked), "the link was replaced")
    require(f"950: {count} kernels wait for hivmc-a5" in told,
            f"what is left is not said: {told}")
    state = {soc: [row["finished"] for row in kernels(env, partly)
                   if row["target"] == soc] for soc in ("910b", "950")}
    require(all(state["910b"]) and not any(state["950"]), f"{state}")
    require(os.path.exists(os.path.join(partly, "device/950/finish.sh")),
            "the other processor's command is gone")
    finish_now(partly, with_path(cann_a5))
    rows = kernels(env, partly)
    require(all(row["finished"] for row in rows), "not finished")
    whole = digest(partly)
    told = finish_now(partly, with_path(cann, cann_a5))
    require("nothing to do" in told and digest(partly) == whole,
            f"finished twice: {told}")

    # Compiled where the last stages are.
    direct = env.temporary("direct.fathom")
    env.compile(NANO, direct, "bf16", "--target", "ascend:910b,950", "--cpu",
                "x86-64-v3", "--bishengir", tools,
                env=with_path(cann, cann_a5))
    require(all(row["finished"] for row in kernels(env, direct)),
            "compiled with CANN, and not finished")
    require(digest(os.path.join(direct, "device")) ==
            digest(os.path.join(partly, "device")),
            "other device code than that of finish")

    # The command in the package makes the same objects.
    by_command = env.temporary("by-command.fathom")
    shutil.copytree(path, by_command)
    for soc in ("910b", "950"):
        subprocess.run(["sh", os.path.join(by_command, "device", soc,
                                           "finish.sh")], check=True,
                       env=with_path(tools, cann, cann_a5))
    for row in rows:
        with open(os.path.join(partly, row["file"]), "rb") as one, \
                open(os.path.join(by_command, row["file"]), "rb") as other:
            require(one.read() == other.read(), f"{row['file']} differs")
    return f"{count} kernels, two processors"


@check("ascend/refused-tools")
def refused_tools(env):
    """A tool that fails, dies or writes nothing is a refusal, with its words."""
    remarks = []
    for body, words in (
            ("echo 'loc(\"x\":1:2): error: no such tile' >&2; exit 1",
             "no such tile"),
            ("kill -SEGV $$", "died"), ("exit 0", "nothing over"),
            ("exit 1", "status 1"),
            # What was handed over does not count if the end was not good.
            ("for a; do case $a in --save-temps=*) echo module > "
             "${a#*=}/module.hivm.opt.mlir;; esac; done; exit 1", "status 1")):
        tools = install(env.temporary("tools"), COMPILERS,
                        COMPILER + body + "\n")
        made = env.temporary("refused.fathom")
        environment = dict(os.environ, FATHOM_CACHE_DIR=env.cache())
        env.compile(NANO, made, "bf16", "--target", "ascend:910b", "--cpu",
                    "x86-64-v3", "--bishengir", tools, env=environment)
        rows = kernels(env, made)
        require(all(not row["accepted"] and words in row["message"]
                    for row in rows),
                f"'{words}' expected, found '{rows[0]['message']}'")
        remarks.append(words)
    return ", ".join(remarks)
