# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""When NVIDIA's assembler, a script here, is killed, finds no space, waits or
refuses: none of that changes a package in silence, and nothing is left of it."""
import filecmp
import json
import os
import signal
import subprocess
import time

from checks_cuda import compile_nano, environment, products_of_nano, tools
from harness import NANO, Skip, check, require

TARGET = ("--target", "cuda:sm_90", "--tileiras")


@check("cuda/assembler-killed")
def killed(env):
    """Once is tried again; always is the machine's failure, no refusal."""
    whole, said = compile_nano(env, *TARGET, tools(env))
    require("refuses" not in said, said)
    # The first call dies, as if memory had been short.
    once = tools(env, refusal='mkdir "$0.died" 2>/dev/null && kill -KILL $$')
    again, said = compile_nano(env, *TARGET, once)
    require(os.path.isdir(os.path.join(once, "tileiras.died")), "none died")
    require(filecmp.cmp(os.path.join(whole, "manifest.json"),
                        os.path.join(again, "manifest.json"), False),
            "a death made another package")
    out, said = compile_nano(env, *TARGET, tools(env, refusal="kill -KILL $$"),
                             code=4)
    for word in ("was killed", " for sm_90", "memory", "taskset"):
        require(word in said, f"no '{word}' in: {said}")
    require(not os.path.exists(out), "a package was written")
    chosen = env.temporary("choices.json")
    done = env.run("fathomc", "tune", "--static", NANO, *TARGET,
                   tools(env, refusal="kill -KILL $$"), "-o", chosen,
                   env=environment(env))
    require(done.returncode == 4 and "was killed" in done.err,
            f"{done.returncode}: {done.err}")
    require(not os.path.exists(chosen), "a choice was written")


@check("cuda/assembler-without-space")
def without_space(env):
    full = tools(env, refusal="echo 'write: No space left on device'; exit 1")
    out, said = compile_nano(env, *TARGET, full, code=4)
    for word in ("No space left", "TMPDIR", " for sm_90"):
        require(word in said, f"no '{word}' in: {said}")
    require("leave the architecture out" not in said, said)
    # NVIDIA's own says only that it failed, and what it wrote is gone by then.
    folder = env.temporary("small")
    os.makedirs(folder)
    within = ["unshare", "-rm", "sh", "-c",
              'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"', folder]
    if subprocess.run([*within, "true"], stderr=subprocess.DEVNULL).returncode:
        raise Skip("no file system can be mounted here")
    out = env.temporary("nano.fathom")
    done = subprocess.run(
        [*within, env.need("fathomc"), "compile", NANO, "-o", out, *TARGET,
         tools(env, refusal="echo 'it failed'; exit 5")],
        env=environment(env, TMPDIR=folder), stderr=subprocess.PIPE, text=True)
    require(done.returncode == 4, f"{done.returncode}: {done.stderr}")
    for word in ("hardly any space", "it failed", "TMPDIR"):
        require(word in done.stderr, f"no '{word}' in: {done.stderr}")


@check("cuda/what-is-not-compiled-as-chosen-is-told")
def told(env):
    folder = tools(env, refusal='mkdir "$0.once" 2>/dev/null && '
                                "{ echo 'too wide'; exit 5; }")
    out, said = compile_nano(env, *TARGET, folder)
    lines = [l for l in said.splitlines() if "refuses what was chosen" in l]
    require(len(lines) == 1 and "too wide" in lines[0]
            and "is compiled with warps" in lines[0], said)
    name = lines[0].split("sm_90: ")[1].split(" ")[0]
    manifest = json.load(open(os.path.join(out, "manifest.json")))
    way = next(l["configuration"] for l in manifest["libraries"]
               if l["isa"] == "sm_90" and l["kernel"] == name)
    require(f"is compiled with warps {way['workerWarps']}, CTAs {way['ctas']}, "
            f"occupancy {way['occupancy']}" in lines[0], f"{way}: {lines[0]}")


@check("cuda/tune-says-which-classes-have-no-way")
def no_way(env):
    """So that no file without them takes the place of one with them."""
    name = next(n for n in sorted(products_of_nano(env)) if "indexer" in n
                or "index_" in n)
    chosen = env.temporary("choices.json")
    done = env.run("fathomc", "tune", "--static", NANO, *TARGET,
                   tools(env, refusal=f"grep -q '{name}' \"$4\" && "
                                      "{ echo 'refused'; exit 5; }"),
                   "-o", chosen, env=environment(env))
    require(done.returncode == 3, f"{done.returncode}: {done.err}")
    kept = json.load(open(chosen))["kernels"]
    require(len(kept) > 10, "what was found is not in the file")
    for word in ("no way", "(class ", "for sm_90"):
        require(word in done.err, f"no '{word}' in: {done.err}")
    require(all(kind not in done.err for kind in kept), done.err)
    return name


def alive(process):
    try:
        with open(f"/proc/{process}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@check("cuda/asked-to-end-nothing-is-left")
def interrupted(env):
    """Children of children and temporary files go, however we are asked."""
    commands = {"compile": ("compile", NANO), "tune": ("tune", "--static", NANO)}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for name, command in commands.items():
            folder = tools(env, refusal='sleep 300 & echo $! >>"$0.children"\n'
                                        ': >"$TMPDIR/mlir-kernels-1"; wait')
            place, out = env.temporary("tmp"), env.temporary("out")
            os.makedirs(place)
            # Who runs the tests in the background may have it ignored.
            process = subprocess.Popen(
                [env.need("fathomc"), *command, "-o", out, *TARGET, folder],
                preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
                stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                env=environment(env, TMPDIR=place))
            noted = os.path.join(folder, "tileiras.children")
            for _ in range(600):
                if os.path.exists(noted) and open(noted).read().endswith("\n"):
                    break
                time.sleep(0.1)
            require(os.listdir(place), "no temporary files")
            process.send_signal(number)
            code = process.wait(timeout=60)
            require(code == -number, f"{name}: exit code {code}, not {-number}")
            children = [int(line) for line in open(noted)]
            for _ in range(100):
                left = [c for c in children if alive(c)]
                if not left:
                    break
                time.sleep(0.05)
            require(children and not left, f"{name}: {len(left)} of "
                                           f"{len(children)} children left")
            require(not os.listdir(place), f"{name}: {os.listdir(place)}")
            require(not os.path.exists(out), f"{name}: something was written")
