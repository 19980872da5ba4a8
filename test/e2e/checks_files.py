# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bad input: each kind gets a message that says what, where, why and what to
do, its exit code, and leaves nothing behind."""
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import threading
import time

import numpy as np

from harness import NANO, TEST, Skip, best_level, check, require


def copy_checkpoint(env, name="window"):
    """A copy that may be damaged: links to the files, but for those rewritten."""
    source = env.checkpoint(name)
    directory = env.temporary("damaged")
    os.makedirs(directory)
    for entry in os.listdir(source):
        os.symlink(os.path.join(source, entry), os.path.join(directory, entry))
    return directory


def weights_file(directory):
    return next(os.path.join(directory, n) for n in sorted(os.listdir(directory))
                if n.endswith(".safetensors"))


def read_header(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        return json.loads(f.read(size)), f.read()


def replace(path, data):
    os.remove(path)
    with open(path, "wb") as f:
        f.write(data)


def write_header(path, header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    replace(path, struct.pack("<Q", len(text)) + text + body)


def expect(env, directory, code, words=(), more=(), timeout=60):
    package = env.temporary("bad.fathom")
    done = env.compile(directory, package, "f32", *more, check=False,
                       timeout=timeout)
    tail = done.err.strip()[-400:]
    require(done.returncode == code,
            f"exit code {done.returncode}, expected {code}: {tail}")
    require("error:" in done.err, f"no error message: {tail}")
    require("help:" in done.err, f"the message does not say what to do: {tail}")
    for word in words:
        require(word in done.err, f"'{word}' not in: {tail}")
    folder, name = os.path.split(package)
    left = [n for n in os.listdir(folder) if name in n]
    require(not left, f"left behind: {left}")


BAD_FILES = {}


def bad(name):
    def register(function):
        BAD_FILES[name] = function
        return function

    return register


@bad("truncated")
def _(directory):
    path = weights_file(directory)
    data = open(path, "rb").read()
    replace(path, data[:-100])


@bad("cut-in-the-header")
def _(directory):
    path = weights_file(directory)
    replace(path, open(path, "rb").read()[:50])


@bad("empty")
def _(directory):
    replace(weights_file(directory), b"")


@bad("oversized")
def _(directory):
    path = weights_file(directory)
    replace(path, open(path, "rb").read() + b"x" * 64)


@bad("huge-header-length")
def _(directory):
    path = weights_file(directory)
    replace(path, b"\xff" * 8 + open(path, "rb").read()[8:])


@bad("header-longer-than-file")
def _(directory):
    path = weights_file(directory)
    data = open(path, "rb").read()
    replace(path, struct.pack("<Q", len(data)) + data[8:])


@bad("header-not-json")
def _(directory):
    path = weights_file(directory)
    _, body = read_header(path)
    write_header(path, b"this is no JSON at all  ", body)


@bad("header-nested")
def _(directory):
    path = weights_file(directory)
    _, body = read_header(path)
    write_header(path, b"[" * 200000 + b"]" * 200000, body)


def edit(directory, change):
    path = weights_file(directory)
    header, body = read_header(path)
    change(header)
    write_header(path, header, body)


@bad("overlapping-offsets")
def _(directory):
    def change(header):
        a, b = [k for k in header if header[k].get("dtype") == "BF16"
                and "attn_norm" in k or "ffn_norm" in k][:2]
        header[a]["data_offsets"] = header[b]["data_offsets"]

    edit(directory, change)


@bad("offsets-out-of-range")
def _(directory):
    def change(header):
        begin, end = header["norm.weight"]["data_offsets"]
        header["norm.weight"]["data_offsets"] = [2**60, 2**60 + end - begin]

    edit(directory, change)


@bad("negative-offset")
def _(directory):
    edit(directory, lambda h: h["norm.weight"].update(data_offsets=[-8, 4]))


@bad("shape-overflows")
def _(directory):
    edit(directory, lambda h: h["norm.weight"].update(
        shape=[2**32, 2**32, 2**32]))


@bad("wrong-dtype")
def _(directory):
    edit(directory, lambda h: h["norm.weight"].update(dtype="F16"))


@bad("unknown-dtype")
def _(directory):
    edit(directory, lambda h: h["norm.weight"].update(dtype="Q4_K"))


@bad("wrong-shape")
def _(directory):
    def change(header):
        shape = header["norm.weight"]["shape"]
        header["norm.weight"]["shape"] = [shape[0] // 2, 2]

    edit(directory, change)


@bad("index-leaves-directory")
def _(directory):
    path = os.path.join(directory, "model.safetensors.index.json")
    index = json.load(open(path))
    for key in index["weight_map"]:
        index["weight_map"][key] = "../" + index["weight_map"][key]
    replace(path, json.dumps(index).encode())


@bad("index-absolute")
def _(directory):
    path = os.path.join(directory, "model.safetensors.index.json")
    index = json.load(open(path))
    for key in index["weight_map"]:
        index["weight_map"][key] = "/etc/passwd"
    replace(path, json.dumps(index).encode())


@bad("index-names-absent-file")
def _(directory):
    os.remove(weights_file(directory))


@bad("index-not-json")
def _(directory):
    replace(os.path.join(directory, "model.safetensors.index.json"), b"\0\1{")


@bad("no-weights")
def _(directory):
    os.remove(weights_file(directory))
    os.remove(os.path.join(directory, "model.safetensors.index.json"))


@bad("weights-are-a-directory")
def _(directory):
    path = weights_file(directory)
    os.remove(path)
    os.mkdir(path)


@bad("no-config")
def _(directory):
    os.remove(os.path.join(directory, "config.json"))


@bad("config-not-json")
def _(directory):
    replace(os.path.join(directory, "config.json"), b"{\"a\":")


@bad("config-field-of-wrong-type")
def _(directory):
    path = os.path.join(directory, "config.json")
    config = json.load(open(path))
    config["hidden_size"] = "many"
    replace(path, json.dumps(config).encode())


@bad("config-lacks-field")
def _(directory):
    path = os.path.join(directory, "config.json")
    config = json.load(open(path))
    del config["head_dim"]
    replace(path, json.dumps(config).encode())


def bad_checkpoint(damage):
    def run(env):
        directory = copy_checkpoint(env)
        damage(directory)
        expect(env, directory, 5)

    return run


for _name, _damage in BAD_FILES.items():
    check(f"bad-file/{_name}")(bad_checkpoint(_damage))


def rename_tensors(directory, pick, rename):
    """Renames tensors in header and index alike."""
    path = weights_file(directory)
    header, body = read_header(path)
    names = [k for k in header if pick(k)]
    header = {(rename(k) if k in names else k): v for k, v in header.items()}
    write_header(path, header, body)
    index = os.path.join(directory, "model.safetensors.index.json")
    content = json.load(open(index))
    content["weight_map"] = {(rename(k) if k in names else k): v
                             for k, v in content["weight_map"].items()}
    replace(index, json.dumps(content).encode())
    return names


@check("bad-file/missing-and-surplus-tensors")
def missing(env):
    directory = copy_checkpoint(env)
    names = rename_tensors(directory, lambda k: ".ffn.experts." in k,
                           lambda k: "unheard_of." + k)
    # Counted, and the first ten named.
    expect(env, directory, 5, words=[str(len(names)), "more", "missing"])


@check("bad-file/one-missing-tensor")
def one_missing(env):
    directory = copy_checkpoint(env)
    rename_tensors(directory, lambda k: k == "norm.weight",
                   lambda k: "strange.weight")
    expect(env, directory, 5, words=["norm.weight", "strange.weight"])


@check("bad-file/names-do-not-reach-the-terminal")
def hostile_name(env):
    """A surplus tensor of a draft layer, which `explain` lists."""
    directory = copy_checkpoint(env)
    name = "mtp.\x1b]0;title\x07\x1b[2J"

    def add(header):
        header[name] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}

    edit(directory, add)
    index = os.path.join(directory, "model.safetensors.index.json")
    content = json.load(open(index))
    content["weight_map"][name] = os.path.basename(weights_file(directory))
    replace(index, json.dumps(content).encode())
    done = env.run("fathomc", "explain", directory, check=True)
    require("title" in done.out, "the tensor is not listed")
    for text in (done.out, done.err):
        require("\x1b" not in text and "\x07" not in text, repr(text[-300:]))


@check("bad-file/pipe-does-not-hang")
def pipe(env):
    directory = copy_checkpoint(env)
    path = os.path.join(directory, "config.json")
    os.remove(path)
    os.mkfifo(path)
    expect(env, directory, 5, timeout=20)


@check("bad-file/random-damage-never-crashes")
def random_damage(env):
    """Flips and cuts in headers and configurations: some exit code of ours,
    never a signal, never a hang."""
    rng = np.random.default_rng(1)
    codes = {}
    for round_ in range(24):
        directory = copy_checkpoint(env)
        target = ("config.json" if round_ % 3 == 0 else
                  "model.safetensors.index.json" if round_ % 3 == 1 else
                  os.path.basename(weights_file(directory)))
        path = os.path.join(directory, target)
        data = bytearray(open(path, "rb").read())
        reach = min(len(data), 20000)
        for _ in range(int(rng.integers(1, 6))):
            data[int(rng.integers(0, reach))] = int(rng.integers(0, 256))
        replace(path, bytes(data))
        done = env.run("fathomc", "compile", directory, "--stop-after",
                       "import", "-o", env.temporary("ir.mlir"), timeout=60)
        codes[done.returncode] = codes.get(done.returncode, 0) + 1
        require(done.returncode in (0, 3, 5),
                f"round {round_}: exit code {done.returncode}: "
                f"{done.err.strip()[-300:]}")
    return f"exit codes {codes}"


# ---- Limits, options, places ----------------------------------------------------


@check("usage/fathomc")
def usage(env):
    nano = NANO
    out = env.temporary("u.fathom")
    for arguments, code in [
            ([], 2), (["compile"], 2), (["compile", nano], 2),
            (["compile", nano, "-o", out, "--numerics", "fp64"], 2),
            (["compile", nano, "-o", out, "--max-context", "0"], 2),
            (["compile", nano, "-o", out, "--max-context", "-5"], 2),
            (["compile", nano, "-o", out, "--max-context", "x"], 2),
            (["compile", nano, "-o", out, "--max-sequences", "0"], 2),
            (["compile", nano, "-o", out, "--max-step-tokens", "0"], 2),
            (["compile", nano, "-o", out, "--stop-after", "lunch"], 2),
            (["compile", nano, "-o", out, "--what"], 2),
            (["compile", nano, "-o", out, "--target", "gpu"], 3),
            (["compile", nano, "-o", out, "--cpu", "x86-64-v9"], 3),
            (["compile", nano, "-o", out, "--target", "cpu:x86-64-v3,"],
             3),
            (["compile", nano, "-o", out, "--target", "cuda:sm_90,"], 3),
            (["compile", nano, "-o", out, "--target", "cuda:,"], 3),
            (["plan", nano, "--target", "cuda:,sm_90"], 3),
            # Levels of the CPU, named twice; bits of one level.
            (["compile", nano, "-o", out, "--target", "cpu:x86-64-v4", "--cpu",
              "x86-64-v3"], 2),
            (["compile", nano, "-o", out, "--target",
              "cpu:x86-64-v3,x86-64-v4", "--plain-instructions"], 2),
            (["compile", nano, "-o", out, "--plain-instructions"], 2),
            # No numbers, or not in decimal.
            (["plan", nano, "--context", ""], 2),
            (["plan", nano, "--context", "0x100"], 2),
            (["plan", nano, "--sequences", "99999999999999999999"], 2),
            # The target makes no use of it.
            (["compile", nano, "-o", out, "--configurations",
              os.path.join(nano, "config.json")], 2),
            (["compile", nano, "-o", out, "--host-arch", "aarch64"], 2),
            (["compile", nano, "-o", out, "--tileiras", "/nowhere"], 2),
            (["compile", nano, "-o", out, "--bishengir", "/nowhere"], 2),
            (["compile", nano, "-o", out, "--target", "ascend", "--tileiras",
              "/nowhere"], 2),
            (["explain", nano, "--fusion-table", "--json"], 2),
            (["explain", nano, "--fusion-table", "--html", out], 2),
            (["compile", nano, "-o", out, "--max-context", "1000000000"], 3),
            (["compile", "/nowhere/at/all", "-o", out], 5),
            (["--help"], 0), (["--version"], 0), (["compile", "--help"], 0)]:
        done = env.run("fathomc", *arguments)
        require(done.returncode == code,
                f"fathomc {' '.join(arguments[2:])}: exit code "
                f"{done.returncode}, expected {code}: {done.err[-200:]}")
        require(code == 0 or "error" in done.err.lower(), "no message")
        require(not os.path.exists(out), "left a package behind")
    for word, why in (("imporrt", "unknown command 'imporrt'"),
                      ("explian", "'explian'; did you mean explain?"),
                      ("--imporrt", "unknown option '--imporrt'")):
        done = env.run("fathomc", word, nano)
        require(done.returncode == 2 and why in done.err, done.err)
    help_ = env.run("fathomc", "compile", "--help").out
    require("Examples" in help_ and "--max-context" in help_, "poor --help")


@check("usage/json-has-a-schema-version")
def schema_version(env):
    level = ["--cpu", best_level()]
    package = env.temporary("v.fathom")
    for command in (["list"], ["plan", NANO, *level], ["explain", NANO],
                    ["compile", NANO, "-o", package, *level],
                    ["kernels", package]):
        done = env.run("fathomc", *command, "--json", check=True)
        require(json.loads(done.out)["schema_version"] == 1, command[0])


@check("usage/onnx")
def onnx(env):
    """Neither a file nor a folder of one is read; beside weights it is no
    matter."""
    folder = env.temporary("exported")
    os.makedirs(folder)
    open(os.path.join(folder, "config.json"), "w").write("{}")
    model = os.path.join(folder, "model.onnx")
    open(model, "w").write("")
    for path in (model, folder):
        for command in (["plan", path], ["explain", path],
                        ["compile", path, "-o", env.temporary("o.fathom")]):
            done = env.run("fathomc", *command)
            require(done.returncode == 3 and "ONNX" in done.err
                    and "help:" in done.err,
                    f"{command}: {done.returncode}: {done.err}")
    directory = copy_checkpoint(env)
    open(os.path.join(directory, "model.onnx"), "w").write("")
    env.run("fathomc", "compile", directory, "--stop-after", "import", "-o",
            os.devnull, check=True)


@check("usage/golden-is-checked-first")
def golden_first(env):
    dump, text = env.temporary("dump"), env.temporary("golden.npz")
    open(text, "w").write("no archive")
    for golden in (text, env.temporary("absent.npz")):
        expect(env, NANO, 5, words=[golden],
               more=["--golden", golden, "--dump-ir", dump])
        require(not os.path.exists(dump), "it was told after the import")


@check("usage/scripts")
def scripts(env):
    """Options are read before anything is installed or built."""
    root = env.temporary("tree")
    for folder, name in (("tools", "demo"), ("tools", "test"),
                         ("test", "run_all.py"), ("test", "one_run.py")):
        os.makedirs(os.path.join(root, folder), exist_ok=True)
        shutil.copy(os.path.join(os.path.dirname(TEST), folder, name),
                    os.path.join(root, folder, name))
    setup = os.path.join(root, "tools", "setup")
    open(setup, "w").write("#!/bin/sh\necho set up\nexit 9\n")
    os.chmod(setup, 0o755)
    for script, option, code in (
            ("demo", "--help", 0), ("demo", "--hlep", 2), ("test", "--help", 0),
            ("test", "--ful", 9), ("test", "--fulll", 2),
            ("test", "--only=lit,e3e", 2), ("test", "--only=lit", 9),
            ("test", "--build=other", 2)):
        done = subprocess.run([os.path.join(root, "tools", script), option],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True, timeout=60)
        require(done.returncode == code and
                ("set up" in done.stdout) == (code == 9),
                f"{script} {option}: {done.returncode}: {done.stdout}"
                f"{done.stderr}")
    # From another folder; a stand-in for fathomc writes where it is told.
    tune = os.path.relpath(os.path.join(os.path.dirname(TEST), "tools",
                                        "tune-configurations"), root)
    fathomc = os.path.join(root, "made", "bin", "fathomc")
    os.makedirs(os.path.dirname(fathomc))
    shutil.copy(setup, fathomc)
    with open(fathomc, "w") as f:
        f.write("#!/bin/sh\nfor last; do :; done\ncase $1 in\n"
                "tune) echo '{}' > $last ;;\n"
                "*) [ $last != -q ] || eval last=\\${$(($# - 1))}; "
                "mkdir -p $last; echo '{}' > $last/config.json ;;\nesac\n")
    for arguments, code, word in ((["--help"], 0, "--build"),
                                  (["a.json", "b.json"], 2, "b.json"),
                                  (["--build", "made", "a.json"], 0, "")):
        done = subprocess.run([tune, *arguments], cwd=root, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=60)
        require(done.returncode == code and word in done.stdout + done.stderr,
                f"tune-configurations {arguments}: {done.returncode}: "
                f"{done.stdout}{done.stderr}")
    require(os.path.exists(os.path.join(root, "a.json")), "written elsewhere")


@check("usage/fathom")
def usage_fathom(env):
    package = env.package(NANO, "bf16")
    tokens = env.temporary("t.txt")
    out = env.temporary("o.npy")

    def logits(text):
        open(tokens, "w").write(text)
        return ["logits", package, "--tokens-file", tokens, "-o", out]

    config = json.load(open(os.path.join(NANO, "config.json")))
    beyond = config["vocab_size"]
    for arguments, codes in [
            ([], (2,)), (["run"], (2,)), (["run", package], (2,)),
            (["run", package, "--tokens", f"1,{beyond}"], (2,)),
            (["run", package, "--tokens", "1,-2"], (2,)),
            (["run", package, "--tokens", "a"], (2,)),
            (["run", package, "--tokens", ""], (2,)),
            (["run", package, "--tokens", "99999999999999999999"], (2,)),
            (["run", "/nowhere.fathom", "--tokens", "1"], (5,)),
            (logits(f"1,2\n3,{beyond}\n"), (2,)), (logits("1,,2\n"), (2,)),
            (logits("1 2 x\n"), (2,)),
            (["logits", package, "--tokens-file", "/nowhere", "-o", out],
             (5,))]:
        done = env.run("fathom", *arguments)
        require(done.returncode in codes,
                f"fathom {' '.join(map(str, arguments))[-60:]}: exit code "
                f"{done.returncode}, expected {codes}: {done.err[-200:]}")
        require("error" in done.err, f"no message: {done.err[-200:]}")
        require(not os.path.exists(out), "left an output behind")


@check("limits/context-overrun")
def overrun(env):
    package = env.package(NANO, "bf16", "--max-context", 20,
                          "--max-step-tokens", 8)
    tokens = env.temporary("t.txt")
    open(tokens, "w").write(",".join(["5"] * 21) + "\n")
    out = env.temporary("o.npy")
    done = env.run("fathom", "logits", package, "--tokens-file", tokens, "-o",
                   out)
    require(done.returncode == 4, f"logits: exit code {done.returncode}")
    require("context" in done.err, done.err[-200:])
    done = env.run("fathom", "run", package, "--tokens", ",".join(["5"] * 21))
    require(done.returncode == 4, f"run: exit code {done.returncode}")
    done = env.run("fathom", "run", package, "--tokens", "5,6,7",
                   "--max-new-tokens", 100, "--json", check=True)
    made = json.loads(done.out)["tokens"]
    require(0 < len(made) <= 18, f"{len(made)} tokens in a context of 20")
    env.logits(package, [[5] * 20])


@check("limits/small-limits")
def small_limits(env):
    package = env.package(NANO, "f32", "--max-context", 1, "--max-sequences",
                          1, "--max-step-tokens", 1)
    require(env.logits(package, [[5], [6]]).shape[0] == 2, "rows")


@check("limits/default-context-is-the-model's")
def clamp(env):
    package = env.temporary("clamp.fathom")
    done = env.compile(env.checkpoint("window"), package, "f32")
    limits = json.load(open(os.path.join(package, "manifest.json")))["limits"]
    require(limits == {"maxContext": 4096, "maxSequences": 16,
                       "maxStepTokens": 512}, f"limits {limits}")
    require("4096" in done.err, "no notice of the smaller context")


@check("place/no-permission")
def permission(env):
    folder = env.temporary("locked")
    os.makedirs(folder)
    os.chmod(folder, 0o555)
    try:
        if os.access(folder, os.W_OK):
            # The superuser may write anywhere; become nobody for this.
            user = dict(user=65534, group=65534, extra_groups=[])
        else:
            user = {}
        try:
            done = env.compile(env.checkpoint("window"),
                               os.path.join(folder, "m.fathom"), check=False,
                               **user)
        except (PermissionError, subprocess.SubprocessError) as error:
            raise Skip(f"cannot become another user: {error}")
        if user and "checkpoint" in done.err and done.returncode == 5:
            raise Skip("the other user cannot read the build folder")
        require(done.returncode == 4, f"exit code {done.returncode}: "
                                      f"{done.err[-300:]}")
        require("help:" in done.err, "no help")
        require(not os.listdir(folder), "left something behind")
    finally:
        os.chmod(folder, 0o755)


@check("place/absent-parent-and-foreign-things")
def foreign(env):
    checkpoint = env.checkpoint("window")
    done = env.compile(checkpoint, env.temporary("no") + "/such/m.fathom",
                       check=False)
    require(done.returncode == 4, f"exit code {done.returncode}")
    folder = env.temporary("foreign")
    os.makedirs(folder)
    open(os.path.join(folder, "letter.txt"), "w").write("dear reader")
    done = env.compile(checkpoint, folder, check=False)
    require(done.returncode == 1 and os.listdir(folder) == ["letter.txt"],
            f"a foreign directory was touched (exit {done.returncode})")
    # Others have files of that name, too.
    folder = env.temporary("site")
    os.makedirs(os.path.join(folder, "js"))
    open(os.path.join(folder, "manifest.json"), "w").write(
        '{"name": "my web app"}')
    done = env.compile(checkpoint, folder, check=False)
    require(done.returncode == 1 and "not a package's" in done.err
            and os.path.isdir(os.path.join(folder, "js")),
            f"a web site was replaced (exit {done.returncode}): {done.err}")
    # A package of another version is one, until somebody puts his own into it.
    manifest = {"format": "fathom-package", "major": 1, "minor": 0,
                "producer": "fathom 0.0.1", "extraFiles": ["config.json"],
                "libraries": [{"file": "device/sm_90/a.cubin"}]}
    old = env.temporary("old.fathom")
    os.makedirs(os.path.join(old, "device"))
    json.dump(manifest, open(os.path.join(old, "manifest.json"), "w"))
    for name in ("config.json", "notes.txt"):
        open(os.path.join(old, name), "w").write("{}")
    done = env.compile(checkpoint, old, check=False)
    require(done.returncode == 1 and "'notes.txt'" in done.err
            and os.path.exists(os.path.join(old, "notes.txt")), done.err)
    os.remove(os.path.join(old, "notes.txt"))
    env.compile(checkpoint, old)
    path = env.temporary("file")
    open(path, "w").write("x")
    done = env.compile(checkpoint, path, check=False)
    require(done.returncode == 1 and open(path).read() == "x",
            f"a file was replaced (exit {done.returncode})")


@check("place/one-exit-code-for-one-cause")
def one_code(env):
    """Whatever the command: 4 where the folder of an output is missing, 5 where
    an input is; and the folder is not made."""
    level = ["--cpu", best_level()]
    package = env.package(NANO, "bf16")
    module, tokens = env.temporary("m.mlir"), env.temporary("t.txt")
    open(tokens, "w").write("1,2\n")
    env.run("fathom-translate", "--import", NANO, "-o", module, check=True)
    run = ["--interpret", module, "--parameters", NANO, "--tokens-file"]
    folder, gone = env.temporary("none"), "/nowhere/at/all"
    out = os.path.join(folder, "x")
    outputs = [
        ("fathomc", "compile", NANO, *level, "-o", out),
        ("fathomc", "compile", NANO, "--stop-after", "import", "-o", out),
        ("fathomc", "explain", NANO, "--html", out),
        ("fathomc", "skeleton", "--preset", "v4-lite", "-o", out),
        ("fathom", "logits", package, "--tokens-file", tokens, "-o", out),
        ("fathom-translate", "--import", NANO, "-o", out),
        ("fathom-translate", *run, tokens, "--output", out)]
    inputs = [
        ("fathomc", "compile", gone, "-o", env.temporary("o.fathom")),
        ("fathomc", "compile", NANO, "-o", env.temporary("o.fathom"),
         "--golden", gone),
        ("fathomc", "compile", NANO, "-o", env.temporary("o.fathom"),
         "--target", "cuda", "--configurations", gone),
        ("fathomc", "explain", gone), ("fathomc", "plan", gone),
        ("fathomc", "skeleton", "--config", gone, "-o", env.temporary("s")),
        ("fathomc", "kernels", gone), ("fathomc", "finish", gone),
        ("fathom", "run", gone, "--tokens", "1"), ("fathom", "inspect", gone),
        ("fathom", "run", package, "--messages", gone),
        ("fathom", "run", package, "--prompt", "a", "--tools", gone),
        ("fathom", "run", package, "--tokens", "1", "--checkpoint", gone),
        ("fathom", "bench", gone), ("fathom", "chat", gone),
        ("fathom", "verify", gone),
        ("fathom", "verify", package, "--golden", gone),
        ("fathom", "render", package, "--messages", gone),
        ("fathom", "tokenize", package, "--file", gone),
        ("fathom", "tokenize", "--tokenizer", gone, "--text", "a"),
        ("fathom", "detokenize", package, "--strings", gone),
        ("fathom", "logits", package, "--tokens-file", gone, "-o",
         env.temporary("o.npy")),
        ("fathom-translate", "--import", gone),
        ("fathom-translate", "--interpret", gone, "--output-dir",
         env.temporary("r")),
        ("fathom-translate", *run, gone, "--output", env.temporary("o.npy")),
        ("fathom-translate", "--interpret", module, "--parameters", gone,
         "--tokens-file", tokens, "--output", env.temporary("o.npy"))]
    for code, commands in ((4, outputs), (5, inputs)):
        for command in commands:
            done = env.run(*command)
            require(done.returncode == code and "error" in done.err,
                    f"{' '.join(command[:2])}: exit code {done.returncode}, "
                    f"not {code}: {done.err[-300:]}")
    require(not os.path.exists(folder), "the folder was made")


@check("place/replaces-a-package")
def replaces(env):
    folder = env.temporary("shelf")
    os.makedirs(folder)
    package = os.path.join(folder, "m.fathom")
    env.compile(env.checkpoint("window"), package, "f32")
    before = open(os.path.join(package, "manifest.json")).read()
    env.compile(env.checkpoint("window"), package, "bf16")
    after = open(os.path.join(package, "manifest.json")).read()
    require(before != after, "the package was not replaced")
    require(os.listdir(folder) == ["m.fathom"],
            f"left behind: {os.listdir(folder)}")
    # A compile that fails leaves the old one as it is.
    broken = copy_checkpoint(env)
    replace(os.path.join(broken, "config.json"), b"{}")
    require(env.compile(broken, package, check=False).returncode == 5, "code")
    require(open(os.path.join(package, "manifest.json")).read() == after,
            "a failed compile touched the package")


@check("place/skeletons-keep-weights")
def skeletons(env):
    """What is there is no skeleton, or there is no room: all is as before."""
    command = ["skeleton", "--config", os.path.join(NANO, "config.json"), "-q",
               "-o"]
    directory = env.temporary("weights")
    shutil.copytree(env.checkpoint("window"), directory)
    before = {name: os.stat(os.path.join(directory, name)).st_size
              for name in os.listdir(directory)}
    done = env.run("fathomc", *command, directory)
    require(done.returncode == 1 and "will not replace" in done.err
            and "help:" in done.err, f"{done.returncode}: {done.err}")
    require(before == {name: os.stat(os.path.join(directory, name)).st_size
                       for name in os.listdir(directory)}, "files changed")
    folder = env.temporary("full")
    os.makedirs(folder)
    done = env.run("fathomc", *command, os.path.join(folder, "sk"),
                   restore_signals=False, preexec_fn=file_limit(100000))
    require(done.returncode == 4, f"{done.returncode}: {done.err}")
    require(not os.listdir(folder), f"left behind: {os.listdir(folder)}")


@check("place/others-may-read")
def readable(env):
    folder = env.temporary("dump")
    env.run("fathomc", "compile", NANO, "--stop-after", "import", "--dump-ir",
            folder, "-o", os.devnull, check=True,
            preexec_fn=lambda: os.umask(0o022))
    require(os.stat(folder).st_mode & 0o777 == 0o755,
            f"mode {os.stat(folder).st_mode:o}")


@check("place/path-that-is-not-utf-8")
def not_utf8(env):
    """The manifest could not say where the weights are: told before the work."""
    directory = env.temporary("caf") + os.fsdecode(b"\xe9")
    os.rename(copy_checkpoint(env), directory)
    dump = env.temporary("dump")
    expect(env, directory, 3, words=["UTF-8", "caf\\E9"],
           more=["--dump-ir", dump])
    require(os.listdir(dump) == ["import.mlir"], f"it went on: {dump}")


def file_limit(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@check("place/full-disk")
def full_disk(env):
    """A limit on file sizes stands for a full disk: writes fail half-way."""
    folder = env.temporary("full")
    os.makedirs(folder)
    package = os.path.join(folder, "m.fathom")
    # While the code is linked, and while the package is written (the large
    # tokenizer does not fit).
    checkpoint = copy_checkpoint(env)
    with open(os.path.join(checkpoint, "tokenizer.json"), "w") as f:
        json.dump({"padding": "x" * 4000000}, f)
    for limit in (50000, 3000000):
        done = env.compile(checkpoint, package, check=False,
                           restore_signals=False, preexec_fn=file_limit(limit))
        require(done.returncode == 4, f"fathomc: exit code {done.returncode}: "
                                      f"{done.err.strip()[-300:]}")
        require("help:" in done.err, "no help")
        require(not os.listdir(folder), f"left behind: {os.listdir(folder)}")
    tokens = env.temporary("t.txt")
    open(tokens, "w").write(",".join(["5"] * 60) + "\n")
    out = os.path.join(folder, "o.npy")
    done = env.run("fathom", "logits", env.package(NANO, "bf16"),
                   "--tokens-file", tokens, "-o", out,
                   restore_signals=False, preexec_fn=file_limit(50000))
    require(done.returncode == 4, f"fathom: exit code {done.returncode}: "
                                  f"{done.err.strip()[-300:]}")
    require(not os.listdir(folder), f"left behind: {os.listdir(folder)}")


def in_a_small_file_system(folder, size, command):
    """The command where `folder` is a file system of that many bytes, which
    nobody else sees; tells on standard error what is left in it."""
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
            'mount -t tmpfs -o size="$1" tmpfs "$0" && cd / || exit 99; '
            'folder=$0; shift; "$@"; code=$?; '
            'echo "left: [$(ls -A "$folder")]" >&2; exit $code',
            folder, str(size), *command]


@check("place/full-temporary-folder")
def full_temporary_folder(env):
    """No size of it kills the compiler: the linker's file is the last that
    finds no space."""
    folder = env.temporary("tiny")
    os.makedirs(folder)
    try:
        subprocess.run(in_a_small_file_system(folder, 1 << 20, ["true"]),
                       check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Skip(f"cannot mount a file system: {error}")
    package = env.temporary("tiny.fathom")
    environment = dict(os.environ, TMPDIR=folder)
    codes = []
    for size in range(512 << 10, 8 << 20, 256 << 10):
        done = subprocess.run(
            in_a_small_file_system(folder, size, [
                env.need("fathomc"), "compile", NANO, "-o", package, "--cpu",
                "x86-64-v3", "-q"]), capture_output=True, text=True,
            env=environment, timeout=300)
        codes.append(done.returncode)
        require(done.returncode in (0, 4), f"{size} bytes: exit code "
                f"{done.returncode}: {done.stderr[-300:]}")
        require("left: []" in done.stderr, f"{size} bytes: {done.stderr[-300:]}")
        if done.returncode == 0:
            break
        require("No space left" in done.stderr or "no space" in done.stderr,
                done.stderr[-300:])
        require("TMPDIR" in done.stderr, done.stderr[-300:])
        require(not os.path.exists(package), "left a package behind")
    require(codes[0] == 4 and codes[-1] == 0, f"exit codes {codes}")
    return f"{len(codes)} sizes"


@check("place/no-temporary-folder")
def no_temporary_folder(env):
    package = env.temporary("nowhere.fathom")
    done = env.compile(NANO, package, check=False,
                       env=dict(os.environ, TMPDIR="/nowhere/at/all"))
    require(done.returncode == 4, f"exit code {done.returncode}")
    require("TMPDIR" in done.err and "help:" in done.err, done.err[-300:])
    require("bug" not in done.err, done.err[-300:])
    require(not os.path.exists(package), "left a package behind")


def signalled(env, folder, command, signal_, environment):
    """Ends a compiler as soon as it has something in `folder`; whether it had,
    and its exit code."""
    process = subprocess.Popen([env.need("fathomc"), *command],
                               stderr=subprocess.DEVNULL, env=environment)
    seen = False
    while not seen and process.poll() is None:
        seen = bool(os.listdir(folder))
        time.sleep(0.0005)
    if seen:
        process.send_signal(signal_)
    return seen, process.wait(timeout=60)


@check("place/ended-by-a-signal")
def ended_by_a_signal(env):
    """Neither the linker's folder nor the one beside the package stays, nor
    that of a skeleton."""
    temporary, shelf = env.temporary("tmpdir"), env.temporary("shelf")
    os.makedirs(temporary)
    os.makedirs(shelf)
    environment = dict(os.environ, TMPDIR=temporary)
    output = ["-o", os.path.join(shelf, "m.fathom"), "-q"]
    compiling = ["compile", NANO, "--cpu", best_level(), *output]
    ended = 0
    for folder, command in [
            (temporary, compiling), (shelf, compiling),
            (shelf, ["skeleton", "--preset", "v4-flash", *output])]:
        for signal_ in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            shutil.rmtree(os.path.join(shelf, "m.fathom"), ignore_errors=True)
            seen, code = signalled(env, folder, command, signal_, environment)
            require(seen and code in (0, -signal_), f"{folder}: exit code {code}")
            ended += code != 0
            left = [*os.listdir(temporary),
                    *(name for name in os.listdir(shelf) if name != "m.fathom")]
            require(not left, f"left behind: {left}")
    require(ended, "no signal came in time")
    return f"{ended} of 9 ended"


@check("place/full-output")
def full_output(env):
    """What cannot be printed is told; what was written beside stays."""
    package = env.temporary("told.fathom")
    level = ["--cpu", "x86-64-v3", "-q"]
    commands = [["--help"], ["list", "--json"], ["plan", NANO, *level],
                ["explain", NANO, "--json", "-q"],
                ["explain", NANO, "--fusion-table", "-q"],
                ["compile", NANO, "--stop-after", "import", "-q"],
                ["compile", NANO, "-o", package, "--json", *level],
                ["kernels", package]]
    for command in commands:
        with open("/dev/full", "wb") as full:
            done = subprocess.run([env.need("fathomc"), *command], stdout=full,
                                  stderr=subprocess.PIPE, text=True,
                                  timeout=300)
        require(done.returncode == 4, f"{command[0]}: exit code "
                f"{done.returncode}: {done.stderr[-300:]}")
        require("standard output" in done.stderr and "help:" in done.stderr
                and "LLVM" not in done.stderr, done.stderr[-300:])
    env.run("fathom", "inspect", package, check=True)


@check("place/closed-output")
def closed_output(env):
    """Whoever closes a pipe has read enough."""
    for command in (["--help"], ["list"], ["explain", NANO, "--json", "-q"],
                    ["compile", NANO, "--stop-after", "import", "-q"]):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run([env.need("fathomc"), *command],
                                  stdout=writer, stderr=subprocess.PIPE,
                                  text=True, timeout=300)
        finally:
            os.close(writer)
        require(done.returncode == 0 and not done.stderr,
                f"{command[0]}: exit code {done.returncode}: {done.stderr}")


@check("limits/threads")
def threads(env):
    """A limit on threads holds for others than the superuser."""
    user = {} if os.getuid() else dict(user=65534, group=65534,
                                       extra_groups=[])
    try:
        done = subprocess.run(
            [env.need("fathomc"), "compile", NANO,
             "--stop-after", "tile", "-q"], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, timeout=300,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC,
                                                  (0, 0)), **user)
    except subprocess.TimeoutExpired:
        raise AssertionError("hangs")
    except (PermissionError, subprocess.SubprocessError) as error:
        raise Skip(f"cannot become another user: {error}")
    if done.returncode == 0:
        raise Skip("threads can be started in spite of the limit")
    require(done.returncode == 4, f"exit code {done.returncode}: {done.stderr}")
    require("pthread_create" in done.stderr and "help:" in done.stderr,
            done.stderr)


@check("place/links-of-a-download-cache")
def links(env):
    """Every file a link into a store of blobs, as download caches have it."""
    source = env.checkpoint("window")
    store = env.temporary("blobs")
    snapshot = env.temporary("snapshot")
    os.makedirs(store)
    os.makedirs(snapshot)
    for number, name in enumerate(sorted(os.listdir(source))):
        blob = os.path.join(store, f"blob{number}")
        shutil.copy(os.path.join(source, name), blob)
        os.symlink(os.path.relpath(blob, snapshot),
                   os.path.join(snapshot, name))
    package = env.temporary("links.fathom")
    env.compile(snapshot, package)
    found = env.logits(package, [[1, 2, 3]])
    wanted = env.logits(env.package(source, "bf16"), [[1, 2, 3]])
    require((found == wanted).all(), "other logits")


@check("place/two-compiles-at-once")
def at_once(env):
    package = env.temporary("race.fathom")
    checkpoint = env.checkpoint("window")
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(
        env.compile(checkpoint, package, check=False).returncode))
        for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require(codes == [0, 0], f"exit codes {codes}")
    env.logits(package, [[1, 2, 3]])
    folder, name = os.path.split(package)
    left = [n for n in os.listdir(folder) if name in n and n != name]
    require(not left, f"left behind: {left}")
