# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a kernel for an NVIDIA GPU must be, judged from what `fathomc kernels`
says of it. There are no exceptions."""
import re

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


def judge(architecture, rows, products):
    """Raises AssertionError if a gate fails."""
    problems = [f"{row['name']}: {rule} {figure}"
                for row in sorted(rows, key=lambda row: row["name"])
                for rule, figure in sorted(faults(architecture, row,
                                                  products[row["name"]]).items())]
    assert not problems, f"{len(problems)} gates fail: " + "; ".join(problems)
    return f"{len(rows)} kernels"
