# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""fathom verify: packages against stored logits, right and wrong ones."""
import json
import os

import numpy as np

from harness import GOLDEN, check, require


def verify(env, package, *arguments, code=0):
    done = env.run("fathom", "verify", package, *arguments, timeout=300)
    require(done.returncode == code,
            f"verify {' '.join(map(str, arguments))}: exit code "
            f"{done.returncode}, not {code}: {done.err.strip()[-400:]}")
    return done


def golden_of(name):
    return os.path.join(GOLDEN, name + ".npz")


@check("verify/published-logits")
def agrees(env):
    remarks = []
    for numerics in ("f32", "bf16", "published"):
        package = env.package(env.checkpoint("mixed"), numerics)
        done = verify(env, package, "--golden", golden_of("mixed"), "--json")
        found = json.loads(done.out)
        golden = env.golden("mixed")
        require(found["passed"] and found["positions_compared"] ==
                len(golden["positions"]) == len(found["positions"]),
                f"{numerics}: {found['complaint']}")
        # The same figures by numpy.
        name = "native" if numerics == "published" else "f32"
        require(found["against"] == name, found["against"])
        logits = env.logits(package, [golden["ids"]])[golden["positions"]]
        stored = golden[name].astype(np.float64)
        difference = np.abs(logits - stored)

        def soft(x):
            e = np.exp(x - x.max(-1, keepdims=True))
            return e / e.sum(-1, keepdims=True)

        p, q = soft(stored), soft(logits.astype(np.float64))
        kl = (p * np.log(p / q)).sum(-1)
        for key, wanted in (("max_difference", difference.max()),
                            ("mean_difference", difference.mean()),
                            ("mean_kl", kl.mean()), ("max_kl", kl.max()),
                            ("top1", (logits.argmax(-1) ==
                                      stored.argmax(-1)).mean())):
            require(abs(found[key] - wanted) <= 1e-6 * abs(wanted) + 1e-9,
                    f"{numerics}: {key} is {found[key]}, numpy has {wanted}")
        remarks.append(f"{numerics} KL {found['mean_kl']:.2g} top-1 "
                       f"{found['top1']:.3f}")
    return ", ".join(remarks)


@check("verify/wrong-logits")
def disagrees(env):
    package = env.package(env.checkpoint("mixed"), "f32")
    golden = dict(env.golden("mixed"))
    path = env.temporary("wrong.npz")
    golden["f32"] = golden["f32"].copy()
    golden["f32"][7, 3] += 0.01
    np.savez(path, **golden)
    done = verify(env, package, "--golden", path, code=1)
    require("largest difference" in done.err, done.err)
    verify(env, package, "--golden", path, "--max-difference", 0.02)
    verify(env, package, "--golden", golden_of("mixed"), "--max-kl", 0,
           code=1)
    # A checkpoint with other weights.
    other = env.checkpoint("mixed", seed=2)
    verify(env, env.package(other, "f32"), "--golden", golden_of("mixed"),
           code=1)


@check("verify/carried-golden")
def carried(env):
    checkpoint = env.checkpoint("mixed")
    package = env.package(checkpoint, "f32", "--golden", golden_of("mixed"))
    done = verify(env, package)
    require("verified" in done.out, done.out)
    done = verify(env, env.package(checkpoint, "f32"), code=2)
    require("--golden" in done.err, done.err)
    bad = env.temporary("no.npz")
    open(bad, "w").write("no archive")
    done = env.compile(checkpoint, env.temporary("x.fathom"), "f32",
                       "--golden", bad, check=False)
    require(done.returncode == 5, f"exit code {done.returncode}")


@check("verify/bad-files")
def bad_files(env):
    package = env.package(env.checkpoint("mixed"), "f32")
    good = open(golden_of("mixed"), "rb").read()
    path = env.temporary("bad.npz")
    rng = np.random.default_rng(2)
    cases = [b"", b"PK", good[:1000], good[:-30], good[100:]]
    for _ in range(60):
        data = bytearray(good)
        # The directory at the end and the headers in front.
        for at in rng.integers(0, 700, 4):
            data[int(at) if rng.random() < .3 else -1 - int(at)] = \
                int(rng.integers(256))
        cases.append(bytes(data))
    for data in cases:
        with open(path, "wb") as f:
            f.write(data)
        done = env.run("fathom", "verify", package, "--golden", path)
        require(done.returncode in (0, 1, 4, 5), f"exit code "
                f"{done.returncode}: {done.err.strip()[-300:]}")
    arrays = dict(env.golden("mixed"))
    for why, change in (("vocabulary", {"f32": arrays["f32"][:, :100]}),
                        ("positions", {"positions": arrays["positions"][1:]}),
                        ("token id", {"ids": arrays["ids"] + 500}),
                        ("ascend", {"positions": arrays["positions"][::-1]}),
                        ("ascend", {"positions": arrays["positions"] + .5}),
                        ("nothing", {"positions": arrays["positions"][:0],
                                     "f32": arrays["f32"][:0]}),
                        ("nothing", {"ids": arrays["ids"][:0]}),
                        ("type", {"ids": arrays["ids"].astype(">i4")})):
        np.savez(path, **{**arrays, **change})
        done = verify(env, package, "--golden", path, code=5)
        require(why in done.err, f"no '{why}' in {done.err}")
    verify(env, package, "--golden", path + ".none", code=5)
    return f"{len(cases)} damaged files"


@check("verify/by-layer")
def by_layer(env):
    checkpoint = env.checkpoint("mixed")
    golden = env.golden("mixed")
    ids, positions = golden["ids"], golden["positions"]
    model = env.reference(checkpoint, "f32")
    # The reference's streams after every layer.
    h = np.repeat(model.w("embed.weight")[ids[None]][:, :, None],
                  model.c["hc_mult"], 2)
    arrays = {"ids": ids, "positions": positions, "f32": golden["f32"]}
    for layer in range(model.c["num_hidden_layers"]):
        h = model.block(h, ids[None], 0, f"layers.{layer}", layer)
        arrays[f"layers.{layer}"] = \
            h[0, positions].reshape(len(positions), -1).astype(np.float32)
    path = env.temporary("layers.npz")
    np.savez(path, **arrays)
    plain = env.package(checkpoint, "f32")
    done = verify(env, plain, "--golden", path, code=3)
    require("--layer-outputs" in done.err, done.err)
    remarks = []
    for numerics in ("f32", "bf16"):
        package = env.package(checkpoint, numerics, "--layer-outputs")
        # Without the published code's own numbers there is no measure for bf16.
        limit = [] if numerics == "f32" else ["--max-kl", 1]
        found = json.loads(verify(env, package, "--golden", path, "--json",
                                  *limit).out)
        worst = [layer["median_relative_difference"]
                 for layer in found["layers"]]
        require(len(worst) == model.c["num_hidden_layers"] and
                max(worst) < (1e-4 if numerics == "f32" else 0.2),
                f"{numerics}: {worst}")
        remarks.append(f"{numerics} {max(worst):.2g}")
    # What the layers put out changes no logit.
    a = env.logits(plain, [ids])
    b = env.logits(env.package(checkpoint, "f32", "--layer-outputs"), [ids])
    require((a.view(np.uint32) == b.view(np.uint32)).all(), "other logits")
    # A layer that is wrong is named.
    arrays["layers.2"] = arrays["layers.2"] * 1.01
    np.savez(path, **arrays)
    done = verify(env, env.package(checkpoint, "f32", "--layer-outputs"),
                  "--golden", path, code=1)
    require("layer 2" in done.err, done.err)
    return ", ".join(remarks)
