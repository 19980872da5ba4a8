# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models of full size without their weights: presets, skeletons, plans against
what the runtime takes, costs against the published claims."""
import filecmp
import html.parser
import json
import os
import re

import checks_devices
from harness import NANO, check, require

PRESETS = ["v4-pro", "v4-flash", "v4-pro-base", "v4-flash-base",
           "v4-pro-dspark", "v4-flash-dspark", "v4-pro-0813", "v4-flash-0731",
           "v4-flash-vision-exp", "v4-lite", "r2"]


def answer(env, *arguments, timeout=120):
    return json.loads(env.run("fathomc", *arguments, "--json", check=True,
                              timeout=timeout).out)


# One level: packages and plans for all of them take four times as long, and
# differ in scratch memory alone.
LEVEL = ["--cpu", "x86-64-v3"]


def plan(env, *arguments, timeout=120):
    return answer(env, "plan", *arguments, *LEVEL, "-q", timeout=timeout)


def refuse(env, code, words, *arguments):
    done = env.run(*arguments)
    require(done.returncode == code,
            f"{' '.join(map(str, arguments))}: exit code {done.returncode}, "
            f"not {code}: {done.err.strip()[-300:]}")
    for word in words:
        require(word in done.err, f"{' '.join(map(str, arguments))}: no "
                                  f"'{word}' in: {done.err.strip()[-500:]}")


def skeleton(env, preset):
    """The skeleton of a preset, written once a run."""
    path = os.path.join(env.tmp, "skeleton-" + preset)
    if not os.path.isdir(path):
        env.run("fathomc", "skeleton", "--preset", preset, "-o", path,
                check=True)
    return path


def names_in(path):
    index = json.load(open(os.path.join(path, "model.safetensors.index.json")))
    return index["weight_map"]


# ---- Presets ---------------------------------------------------------------------


@check("plan/skeleton-of-a-configuration")
def skeleton_of_configuration(env):
    """What is made of a preset's config.json is what is made of the preset."""
    known, made = skeleton(env, "v4-flash"), os.path.join(env.tmp, "of-config")
    env.run("fathomc", "skeleton", "--config",
            os.path.join(known, "config.json"), "-o", made, "-q", check=True)
    require(sorted(os.listdir(known)) == sorted(os.listdir(made)),
            "other files than the preset's")
    files = [f for f in sorted(os.listdir(known)) if f.endswith(".safetensors")]
    for name in ["config.json", "model.safetensors.index.json", *files]:
        a, b = (os.path.join(path, name) for path in (known, made))
        require(os.path.getsize(a) == os.path.getsize(b), f"{name}: other size")
        with open(a, "rb") as f, open(b, "rb") as g:
            header = f.read(8)
            size = 1 << 26
            if name in files:
                size = int.from_bytes(header, "little")
            require(header + f.read(size) == g.read(8 + size),
                    f"{name}: other bytes")
    refuse(env, 2, ["preset"], "fathomc", "skeleton", "-o", made)
    refuse(env, 2, ["config"], "fathomc", "skeleton", "--preset", "v4-flash",
            "--config", os.path.join(known, "config.json"), "-o", made)
    refuse(env, 5, ["none.json"], "fathomc", "skeleton", "--config",
            os.path.join(env.tmp, "none.json"), "-o", made)
    return f"{len(files)} files"


@check("plan/presets")
def presets(env):
    listed = {p["name"]: p for p in answer(env, "list")["presets"]}
    require(sorted(listed) == sorted(PRESETS), f"presets {sorted(listed)}")
    # The index of the published Flash: 69,187 tensors in 46 files.
    flash = listed["v4-flash"]
    require((flash["tensors"], flash["files"]) == (69187, 46),
            f"Flash has {flash['tensors']} tensors in {flash['files']} files")
    require(abs(flash["weight_bytes"] - 159617149040) < 10e6,
            f"Flash has {flash['weight_bytes']} bytes")
    require(860e9 < listed["v4-pro"]["weight_bytes"] < 870e9,
            f"Pro has {listed['v4-pro']['weight_bytes']} bytes")
    for name in ("v4-lite", "r2"):
        require(not listed[name]["published"] and "no " in
                listed[name]["notice"], f"{name} claims to be published")
    text = env.run("fathomc", "list", check=True).out
    require(text.count("NOT PUBLISHED") == 2, text)
    require(all(p["source"] for p in listed.values()), "a preset has no source")


@check("plan/skeleton-layouts")
def layouts(env):
    path = skeleton(env, "v4-flash-0731")
    names = names_in(path)
    draft = [n for n in names if n.startswith("mtp.")]
    require(len(draft) == 4705 and len(set(names.values())) == 48,
            f"{len(draft)} tensors of the draft stack, "
            f"{len(set(names.values()))} files")
    config = json.load(open(os.path.join(path, "config.json")))
    require(len(config["compress_ratios"]) == 46, "not 46 ratios")
    size = sum(os.path.getsize(os.path.join(path, n))
               for n in os.listdir(path))
    disk = sum(os.stat(os.path.join(path, n)).st_blocks * 512
               for n in os.listdir(path))
    require(size > 160e9 and disk < 40e6,
            f"{size} bytes that occupy {disk}")
    vision = names_in(skeleton(env, "v4-flash-vision-exp"))
    count = sum(n.startswith(("vision.", "aligner.", "image_"))
                for n in vision)
    require(count == 267, f"{count} tensors of the vision tower")
    require(sum(n.endswith(".gate.bias_vl") for n in vision) == 46,
            "not a bias_vl a layer")
    return f"{size / 1e9:.0f} GB in {disk / 1e6:.0f} MB"


@check("plan/left-out-with-a-notice")
def left_out(env):
    done = env.run("fathomc", "compile", skeleton(env, "v4-flash-0731"),
                   "--stop-after", "import", "-o", os.devnull, check=True)
    require("draft stack of 3 layers" in done.err and "left out" in done.err,
            done.err)
    done = env.run("fathomc", "compile", skeleton(env, "v4-flash-vision-exp"),
                   "--stop-after", "import", "-o", os.devnull, check=True)
    require("vision tower of 32 layers" in done.err, done.err)
    # Our own configurations say that they are, wherever they are used.
    for preset in ("v4-lite", "r2"):
        for command, more in (("plan", LEVEL), ("explain", [])):
            result = answer(env, command, "--preset", preset, *more, "-q")
            require(any("published" in n for n in result["notices"]),
                    f"{command} {preset}: {result['notices']}")
    done = env.run("fathomc", "compile", skeleton(env, "v4-lite"),
                   "--stop-after", "import", "-o", os.devnull, check=True)
    require("no such checkpoint is published" in done.err, done.err)


@check("plan/base-experts-are-fp8")
def base(env):
    a = plan(env, "--preset", "v4-flash")
    b = plan(env, "--preset", "v4-flash-base")
    require(b["weight_bytes"] > 1.8 * a["weight_bytes"],
            f"{a['weight_bytes']} and {b['weight_bytes']} bytes")
    require(b["cache_bytes"] == a["cache_bytes"], "the caches differ")


# ---- Claims ----------------------------------------------------------------------


def claims(preset, flops, cache, token):
    def run(env):
        found = plan(env, "--preset", preset, "--context", 1000000,
                     "--sequences", 1)
        got = (f"{found['flops_percent_of_v3_2']:.1f}",
               f"{found['cache_percent_of_v3_2']:.1f}",
               int(found["cache_bytes_per_token"]))
        require(got == (flops, cache, token),
                f"{got[0]} % of the FLOPs, {got[1]} % of the cache, {got[2]} "
                f"bytes a token; published: {flops} %, {cache} %, {token}")
        return f"{got[0]} %, {got[1]} %, {got[2]} B"

    return run


check("plan/claims-pro")(claims("v4-pro", "26.8", "10.5", 5031))
check("plan/claims-flash")(claims("v4-flash", "10.0", "7.3", 3514))


# ---- Against reality -------------------------------------------------------------


def bench(env, package, *arguments):
    done = env.run("fathom", "bench", package, "--prompt-tokens", 8,
                   "--new-tokens", 2, "--repeat", 1, "--threads", 2, "--json",
                   *arguments, check=True, timeout=300)
    return json.loads(done.out)


@check("plan/to-the-byte")
def to_the_byte(env):
    remarks = []
    for name, numerics, context, sequences, step in (
            ("mixed", "bf16", 1000, 3, 64), ("mixed-fp8", "published", 517, 1,
                                             512), ("hca", "f32", 256, 2, 1)):
        checkpoint = env.checkpoint(name)
        limits = ["--max-context", context, "--max-sequences", sequences,
                  "--max-step-tokens", step]
        package = env.package(checkpoint, numerics, *limits, *LEVEL)
        planned = plan(env, checkpoint, "--numerics", numerics, *limits,
                       "--threads", 2, "--logit-rows", sequences)
        real = bench(env, package, "--sequences", sequences)
        for key, wanted in (("cache_bytes", planned["cache_bytes"]),
                            ("workspace_bytes", planned["workspace_bytes"]),
                            ("allocated_session_bytes",
                             planned["session_bytes"]),
                            ("planned_peak_bytes", planned["peak_bytes"])):
            require(real[key] == wanted, f"{name}: {key} is {real[key]}, the "
                                         f"plan says {wanted}")
        require(planned["peak_bytes"] == planned["weight_bytes"] +
                planned["session_bytes"], "the parts do not add up")
        remarks.append(f"{planned['session_bytes']}")
    return ", ".join(remarks) + " bytes"


@check("plan/to-the-byte-for-a-device")
def to_the_byte_for_a_device(env):
    """Buffers of a device take multiples of 256 bytes, and its tables count."""
    limits = ["--max-context", 517, "--max-sequences", 3, "--max-step-tokens",
              48]
    package = checks_devices.package(env, "mixed", "bf16", *limits)
    planned = plan(env, env.checkpoint("mixed"), *limits, "--target",
                   "cuda:sm_90", "--logit-rows", 3)
    real = bench(env, package, "--sequences", 3, "--driver", "emulated")
    for key, wanted in (("cache_bytes", planned["cache_bytes"]),
                        ("workspace_bytes", planned["workspace_bytes"]),
                        ("allocated_session_bytes", planned["session_bytes"]),
                        ("planned_peak_bytes", planned["peak_bytes"])):
        require(real[key] == wanted,
                f"{key} is {real[key]}, the plan says {wanted}")
    require(all(planned[part] % 256 == 0 for part in
                ("weight_bytes", "cache_bytes", "staging_bytes")), planned)
    return f"{planned['peak_bytes']} bytes"


@check("plan/what-it-is-held-against")
def held_against(env):
    """This machine's memory is that of the CPU alone, and what a plan cannot
    know is said."""

    def of(target, *more):
        arguments = ("plan", NANO, "--target", target, "-q", *LEVEL, *more)
        text = env.run("fathomc", *arguments, check=True).out
        require("what runs today" not in text, text)
        return text, answer(env, *arguments)

    text, found = of("cpu")
    require("this machine" in text and found["fits_on"] == "this machine"
            and found["fit"][0]["name"] == "this machine"
            and found["fits"] == found["fit"][0]["fits"], text)
    for target, noted in (("cuda:sm_90", False), ("ascend:910b", True)):
        text, found = of(target)
        require("this machine" not in text and found["fits"] is None
                and found["fits_on"] is None
                and all(d["name"] != "this machine" for d in found["fit"]),
                text)
        require(any("workspace of their own" in n for n in found["notices"])
                == noted == ("workspace of their own" in text), text)
        _, found = of(target, "--device", "h100")
        require(found["fits"] is True and found["fits_on"] == "h100",
                f"{found['fits']} on {found['fits_on']}")


@check("plan/refused-at-load")
def refused(env):
    package = env.package(env.checkpoint("mixed"), "bf16")
    peak = bench(env, package)["planned_peak_bytes"]
    few = ["--prompt-tokens", 4, "--new-tokens", 1, "--repeat", 1,
           "--threads", 2]
    env.run("fathom", "bench", package, "--memory", peak, *few, check=True)
    refuse(env, 4, ["does not fit", "weights", "--memory"], "fathom", "bench",
           package, "--memory", peak - 1, *few)
    # The plan tells the same.
    found = plan(env, env.checkpoint("mixed"))
    refuse(env, 4, ["does not fit", "what fits"], "fathomc", "plan",
           env.checkpoint("mixed"), "--device", f"{found['peak_bytes'] - 1}b",
           "-q", *LEVEL)


@check("plan/resident-memory", full=True)
def resident(env):
    """Weights of more than 1 GB, read into memory, and caches to their end."""
    config = env.config("mid")
    config.update(n_routed_experts=config["n_routed_experts"] * 4)
    checkpoint = env.checkpoint(config)
    limits = ["--max-context", 4096, "--max-sequences", 1,
              "--max-step-tokens", 64]
    package = env.package(checkpoint, "bf16", *limits, *LEVEL)
    planned = plan(env, checkpoint, *limits, "--threads", 2, "--logit-rows", 1)
    require(planned["weight_bytes"] > 1e9,
            f"only {planned['weight_bytes']} bytes of weights")
    real = bench(env, package, "--prefault", "--context", 4000)
    ratio = real["peak_resident_bytes"] / planned["peak_bytes"]
    require(0.98 <= ratio <= 1.02, f"{real['peak_resident_bytes']} bytes are "
            f"resident, {planned['peak_bytes']} are planned: {ratio:.3f}")
    return f"{planned['peak_bytes'] / 1e9:.2f} GB, {100 * ratio:.1f} % of it"


@check("plan/scores-are-not-kept")
def scores(env):
    """The indexer's scores of a long context are never whole in memory: those of
    512 tokens with 262,144 blocks each would take 512 MiB."""
    near, far = (plan(env, "--preset", "v4-flash", "--context", context)
                 ["workspace_bytes"] for context in (32768, 1048576))
    require(far < near + 20e6, f"a workspace of {near} bytes at context 32,768, "
                               f"{far} at 1,048,576")
    return f"{near / 1e6:.1f} and {far / 1e6:.1f} MB"


# ---- Wrong requests --------------------------------------------------------------


@check("plan/wrong-requests")
def wrong(env):
    refuse(env, 3, ["unknown preset 'v4-falsh'", "v4-flash", "fathomc list"],
           "fathomc", "plan", "--preset", "v4-falsh")
    refuse(env, 3, ["nearest", "v4-pro"], "fathomc", "skeleton", "--preset",
           "V4 PRO", "-o", env.temporary("none"))
    refuse(env, 3, ["--max-context 2000000", "1048576"], "fathomc", "plan",
           "--preset", "v4-flash", "--context", 2000000)
    refuse(env, 4, ["does not fit 'h100'", "weights alone"], "fathomc", "plan",
           "--preset", "v4-flash", "--device", "h100", "-q", *LEVEL)
    refuse(env, 4, ["what fits", "sequences of 1048576"], "fathomc", "plan",
           "--preset", "v4-flash", "--context", 1048576, "--sequences", 64,
           "--device", "cpu-256gb", "-q", *LEVEL)
    refuse(env, 3, ["unknown device 'h1000'", "h100", "910b"], "fathomc",
           "plan", NANO, "--device", "h1000")
    refuse(env, 3, ["nothing is chosen for target 'cpu'"], "fathomc", "tune",
           "--static", NANO, "--target", "cpu", "-o", env.temporary("none"))
    refuse(env, 2, ["--preset"], "fathomc", "plan")
    refuse(env, 2, ["excludes"], "fathomc", "plan", NANO, "--preset", "v4-pro")
    refuse(env, 4, ["cannot write"], "fathomc", "skeleton", "--preset",
           "v4-lite", "-o", "/proc/none")
    # The cause is named, and nothing is offered that cannot be compiled.
    refuse(env, 4, ["fewer rows of logits", "2147483647"], "fathomc", "plan",
           NANO, "--logit-rows", 2147483647, "--device", "1gb", "-q", *LEVEL)
    config = json.load(open(os.path.join(NANO, "config.json")))
    found = plan(env, NANO)
    for fit in found["fit"]:
        require(fit["context_that_fits"] <= config["max_position_embeddings"]
                and fit["sequences_that_fit"] <= 65536, f"{fit}")
    text = env.run("fathomc", "plan", NANO, *LEVEL, "-q", check=True).out
    require(f"a token adds {found['cache_bytes_per_token']} B" in text, text)
    # Several devices: what it assumes is said, in words and in JSON.
    found = plan(env, "--preset", "v4-flash", "--devices", 8)
    require("no partition" in found["assumes"] and found["devices"] == 8,
            f"{found.get('assumes')}")
    one = plan(env, "--preset", "v4-flash")
    require(one["peak_bytes"] / 4 > found["peak_bytes"] >
            one["peak_bytes"] / 12, f"{found['peak_bytes']} bytes a device")
    text = env.run("fathomc", "plan", "--preset", "v4-flash", "--devices", 8,
                   *LEVEL, check=True).out
    require("no partition over devices is built yet" in text, text)


@check("plan/target-and-device")
def target_and_device(env):
    """Of target and device one follows from the other; where both are named and
    differ, every output says so."""
    def asked(command, *more):
        return answer(env, command, NANO, "-q", *more)

    def differs(result):
        return any("is a device of target" in n for n in result["notices"])

    for_device = asked("plan", "--device", "96GB", "--target", "cuda")
    for command, more, target, device in (
            ("plan", ["--device", "b200"], "cuda:sm_100", None),
            ("plan", ["--device", "910b"], "ascend:910b", None),
            ("plan", ["--device", "200GB", *LEVEL], "cpu", None),
            ("explain", ["--device", "h200"], "cuda", "h200"),
            ("explain", ["--target", "cuda"], "cuda", "h100"),
            ("explain", ["--target", "cuda:sm_100"], "cuda", "b200"),
            ("explain", [], "cpu", "cpu-512gb")):
        found = asked(command, *more)
        require(found["target"] == target and not differs(found) and
                (not device or found["device"] == device),
                f"{command} {more}: {found['target']}, {found.get('device')}, "
                f"{found['notices']}")
        if target == "cuda:sm_100":
            require(found["workspace_bytes"] == for_device["workspace_bytes"],
                    "another workspace than --target cuda")
    require(not differs(for_device), for_device["notices"])
    require(differs(asked("plan", "--target", "cpu", "--device", "b200",
                          *LEVEL)), "plan mixes without a word")
    require(differs(asked("explain", "--target", "cuda", "--device",
                          "cpu-1tb")), "explain mixes without a word")
    require(differs(asked("explain", "--target", "cuda:sm_90", "--device",
                          "b200")), "of another architecture, without a word")


# ---- Costs -----------------------------------------------------------------------


class Tags(html.parser.HTMLParser):
    """Checks that tags are closed in order and nothing is loaded."""
    VOID = {"meta", "br"}

    def __init__(self):
        super().__init__()
        self.open = []
        self.seen = set()

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        for name, value in attributes:
            require(name not in ("src", "href"), f"<{tag} {name}={value}>")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        require(self.open and self.open.pop() == tag, f"</{tag}> closes "
                                                      f"another tag")


@check("plan/explain")
def explained(env):
    page = env.temporary("page.html")
    found = answer(env, "explain", NANO, "--context", 512, "--batch", 2,
                   "--device", "h100", "--html", page, "-q")
    for name in ("decode", "prefill"):
        phase = found["costs"][name]
        for key in ("flops", "bytes", "seconds", "kernels"):
            parts = sum(o[key] for o in phase["operations"])
            require(abs(parts - phase["total"][key]) <=
                    1e-9 * phase["total"][key], f"{name}: {key} add up to "
                    f"{parts}, the total is {phase['total'][key]}")
        require({o["bound"] for o in phase["operations"]} <=
                {"compute", "memory", "launch"}, "another bound")
    decode, prefill = (found["costs"][n]["total"] for n in
                       ("decode", "prefill"))
    require(prefill["flops"] > 100 * decode["flops"], "prefill is too cheap")
    require(decode["kernels"] == found["kernels_per_token"],
            f"{decode['kernels']} kernels, {found['kernels_per_token']} are "
            f"launched")
    tensors = found["tensors"] + found["tensors_left_out"]
    require(sum(t["count"] for t in tensors) ==
            len(names_in(NANO)), "a tensor is missing from the list")
    require(all(t["kernels"] for t in found["tensors"]), "nobody reads it")
    text = open(page, encoding="utf-8").read()
    require("http" not in text.replace("http-equiv", ""), "it links out")
    tags = Tags()
    tags.feed(text)
    require(not tags.open and {"svg", "table", "circle", "rect"} <= tags.seen,
            f"open {tags.open}, seen {tags.seen}")
    require(not re.search(r"\b(nan|inf)\b", text.split("</style>")[1], re.I),
            "a number is not finite")
    # More context costs attention, a larger batch shares the weights.
    longer = answer(env, "explain", "--preset", "v4-flash", "--context",
                    1048576, "-q")
    shorter = answer(env, "explain", "--preset", "v4-flash", "--context",
                     8192, "-q")
    a, b = (x["costs"]["decode"]["total"] for x in (longer, shorter))
    require(a["index_flops"] > 100 * b["index_flops"], "the indexer")
    require(abs(a["weight_flops"] - b["weight_flops"]) < 1e-6 *
            b["weight_flops"], "weights depend on the context")
    refuse(env, 4, ["cannot write the page"], "fathomc", "explain", NANO,
           "--html", "/proc/none", "-q")


# ---- Full size -------------------------------------------------------------------


def full_size(preset, seconds):
    def run(env):
        path = skeleton(env, preset)
        package = env.temporary("full.fathom")
        found = json.loads(env.compile(path, package, "bf16", "--json",
                                       timeout=600).out)
        require(found["total_seconds"] < seconds,
                f"{found['total_seconds']:.0f} s, at most {seconds}")
        require(found["peak_resident_bytes"] < 2e9,
                f"{found['peak_resident_bytes'] / 1e9:.2f} GB of memory")
        again = env.temporary("again.fathom")
        env.compile(path, again, "bf16", timeout=600)
        files = sorted(os.listdir(package))
        _, differ, strange = filecmp.cmpfiles(package, again, files,
                                              shallow=False)
        require(not differ and not strange, f"files differ: {differ}{strange}")
        return (f"{found['total_seconds']:.0f} s, "
                f"{found['peak_resident_bytes'] / 1e9:.2f} GB, package "
                f"{found['package_bytes'] / 1e6:.1f} MB")

    return run


check("plan/full-size-flash", full=True)(full_size("v4-flash", 60))
check("plan/full-size-pro", full=True)(full_size("v4-pro", 180))
