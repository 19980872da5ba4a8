# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a kernel for an NVIDIA GPU must be, judged from what `fathomc kernels`
says of it. Kernels that are not yet so are listed with their figures in
cuda_exceptions.json; a listed kernel is a failure to be mended, and one that
gets worse, or a new one, fails the test. `cuda_gates.py --write KERNELS.json
TILE.mlir KEY`, with the output of `fathomc kernels --json` and of `fathomc compile
--stop-after tile`, brings the list up to date; KEY is such as nano/published."""
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LIST = os.path.join(HERE, "cuda_exceptions.json")

# What a product must become.
TENSOR = {"sm_80": {"HMMA"}, "sm_86": {"HMMA"}, "sm_89": {"HMMA", "QMMA"},
          "sm_90": {"HGMMA", "QGMMA"},
          "sm_100": {"UTCHMMA", "UTCQMMA", "UTCOMMA"},
          "sm_103": {"UTCHMMA", "UTCQMMA", "UTCOMMA"},
          "sm_110": {"UTCHMMA", "UTCQMMA", "UTCOMMA"},
          "sm_120": {"HMMA", "QMMA", "OMMA"},
          "sm_121": {"HMMA", "QMMA", "OMMA"}}
SPILL_GATES = {"sm_90", "sm_100"}
SPILLS_IN_ALL = 64
BYTES_OF_A_SPILL = 16


def products_of(tile_module):
    """Kernel -> "" (no product), "gemm" (weights by tokens) or "attention"."""
    found = {}
    name = None
    for line in tile_module.splitlines():
        start = re.search(r"tile\.kernel @([\w.$]+)\(", line)
        if start:
            name = start.group(1)
            found[name] = ""
        elif name and re.search(r"\btile\.dot(_scaled)?\b", line):
            # Attention and the indexer gather the rows that they multiply.
            attention = re.search(r"attention|index_", name)
            found[name] = "attention" if attention else "gemm"
    return found


def faults(architecture, row, product):
    """Rule -> figure (how far off it is) of every gate that a kernel fails."""
    out = {}
    spills, stack = row["spill_stores"], row["stack_bytes"]
    if architecture in SPILL_GATES:
        if row["loop_spill_stores"]:
            out["spills in the loop"] = row["loop_spill_stores"]
        if spills > (0 if product == "gemm" else SPILLS_IN_ALL):
            out["spills"] = spills
        if stack > BYTES_OF_A_SPILL * spills:
            out["stack without spills"] = stack
    if not product:
        return out
    right = TENSOR[architecture]
    tensor = row["tensor_instructions"]
    if not any(name in right for name in tensor):
        out["no tensor instruction"] = 1
    wrong = sum(n for name, n in tensor.items() if name not in right)
    if wrong:
        out["products on older instructions"] = wrong
    if any("FMA" in notice for notice in row["notices"]):
        out["products on FMA"] = 1
    if int(architecture[3:]) >= 90:
        if not row["tma_instructions"]:
            out["no TMA"] = 1
        if row["wide_loads"]:
            out["operands without TMA"] = row["wide_loads"]
    return out


def family(name):
    """The kernel's name without the numbers that tell one model, or one merged
    kernel, from another; tokens of a step stay."""
    parts = name.split("_")
    kept = []
    for part in parts:
        if re.fullmatch(r"t\d+", part):
            kept.append(part)
        elif not re.fullmatch(r"[a-z]?\d+", part):
            kept.append(part)
    return "_".join(kept)


def worst(architecture, rows, products):
    """Family -> rule -> the worst figure."""
    out = {}
    for row in rows:
        for rule, figure in faults(architecture, row,
                                   products[row["name"]]).items():
            known = out.setdefault(family(row["name"]), {})
            known[rule] = max(known.get(rule, 0), figure)
    return out


def load():
    if not os.path.exists(LIST):
        return {}
    with open(LIST) as f:
        return json.load(f)


def judge(key, architecture, rows, products):
    """Raises AssertionError for what is not listed; prints the list."""
    listed = load().get(key, {}).get(architecture, {})
    found = worst(architecture, rows, products)
    problems = []
    for name, rules in sorted(found.items()):
        for rule, figure in sorted(rules.items()):
            allowed = listed.get(name, {}).get(rule, 0)
            if figure > allowed:
                problems.append(f"{name}: {rule} {figure}, listed {allowed}")
            else:
                print(f"  to be mended: {key} {architecture} {name}: {rule} "
                      f"{figure}")
    assert not problems, f"{len(problems)} gates fail: " + "; ".join(problems)
    count = sum(len(rules) for rules in found.values())
    mended = sum(1 for name, rules in listed.items() for rule in rules
                 if rule not in found.get(name, {}))
    return (f"{len(rows)} kernels, {count} listed failures to be mended"
            + (f", {mended} of the list can go" if mended else ""))


def write(package_rows, tile, key):
    """Replaces what the list says of the architectures in these rows."""
    products = products_of(tile)
    all_keys = load()
    for architecture in sorted({r["target"] for r in package_rows
                                if r["target"].startswith("sm_")}):
        rows = [r for r in package_rows if r["target"] == architecture]
        all_keys.setdefault(key, {})[architecture] = worst(architecture, rows,
                                                           products)
    with open(LIST, "w") as f:
        json.dump(all_keys, f, indent=1, sort_keys=True)
        f.write("\n")


if __name__ == "__main__":
    # cuda_gates.py --write KERNELS.json TILE.mlir KEY
    if len(sys.argv) != 5 or sys.argv[1] != "--write":
        sys.exit(__doc__)
    with open(sys.argv[2]) as f:
        listing = json.load(f)["kernels"]
    with open(sys.argv[3]) as f:
        write(listing, f.read(), sys.argv[4])
