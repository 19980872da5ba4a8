#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares the dsv4 specification, and the rules of tile, with code and tests.

usage: check_spec.py SOURCE_DIR > EXAMPLES.mlir

Fails unless every operation of dsv4 has an entry, every numbered constraint a
tagged check and a negative test, and every tag an entry. Writes the
specification's examples, one function each, for fathom-opt to parse."""
import glob
import os
import re
import sys

ROOT = sys.argv[1]
problems = []


def read(*parts):
    with open(os.path.join(ROOT, *parts)) as f:
        return f.read()


def operations():
    found = set()
    for path in glob.glob(os.path.join(ROOT, "dialects/DSV4/IR/*.td")):
        with open(path) as f:
            found |= set(re.findall(r'DSV4_(?:Pure)?Op<"(\w+)"', f.read()))
    return found


def code_tags(dialect):
    found = set()
    for path in glob.glob(os.path.join(ROOT, f"dialects/{dialect}/IR/*.cpp")):
        with open(path) as f:
            for line in f:
                if "//" in line:
                    found |= set(re.findall(r"\b([a-z][a-z0-9_]*_c\d+)\b",
                                            line.split("//", 1)[1]))
    return found


def spec_tags(spec):
    """Constraints of operations, and of types and attributes by full name."""
    found = set()
    sections = re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", spec, re.M | re.S)
    for name, text in sections:
        found |= {f"{name}_{c.lower()}"
                  for c in re.findall(r"\((C\d+)\)", text)}
    found |= set(re.findall(r"\(([a-z_]+_c\d+)\)", spec))
    return found, {name for name, _ in sections}


def tile_tags(rationale):
    """Rules of the table: `reduce_c1, scan_c1`, or `load, store c1` and, in the
    rows below it, numbers of the same operations."""
    found, names = set(), []
    for rules in re.findall(r"^\| ([^|]*c\d[^|]*) \|", rationale, re.M):
        numbers = re.findall(r"\bc\d+\b", rules)
        whole = re.findall(r"\b([a-z][a-z0-9_]*)_(c\d+)\b", rules)
        found |= {f"{name}_{number}" for name, number in whole}
        named = [name for name, _ in whole] + [
            word for word in re.findall(r"\b[a-z][a-z0-9_]*\b", rules)
            if not re.search(r"(^|_)c\d+$", word)]
        names = named or names
        found |= {f"{name}_{number}" for name in names for number in numbers}
    return found | set(re.findall(r": ([a-z_]+_c\d+)\)", rationale))


def compare(in_text, in_code, negative):
    for tag in sorted(in_text - in_code):
        problems.append(f"{tag}: in the specification, no check is tagged")
    for tag in sorted(in_code - in_text):
        problems.append(f"{tag}: a check, not in the specification")
    for tag in sorted(in_text):
        if not re.search(rf"@{tag}\b|@{tag}_", negative):
            problems.append(f"{tag}: no negative test")
    for tag in sorted(set(re.findall(r"@(\w+?_c\d+)(?=_|\b)", negative))):
        if tag not in in_text:
            problems.append(f"{tag}: a negative test of no constraint")


def example(number, line):
    """A function around one operation whose operands are its arguments."""
    body = re.sub(r"^%[^=]*= ", "", line)
    head, types = body.rsplit(" : (", 1)
    types = types[:types.rindex(") ->")] if ") ->" in types else types
    names = re.findall(r"%\w+", head.split("{", 1)[0])
    depth, start, split = 0, 0, []
    for i, c in enumerate(types):
        depth += (c in "<(") - (c in ">)")
        if depth < 0:
            types = types[:i]
            break
        if c == "," and depth == 0:
            split.append(types[start:i].strip())
            start = i + 1
    split.append(types[start:].strip())
    if len(names) != len(split):
        problems.append(f"example {number}: {len(names)} operands, "
                        f"{len(split)} types: {line}")
        return ""
    arguments = ", ".join(f"{n}: {t}" for n, t in
                          dict(zip(names, split)).items())
    return f"func.func @example{number}({arguments}) {{\n  {line}\n  return\n}}\n"


def main():
    spec = read("dialects/DSV4/docs/Spec.md")
    negative = read("test/dialects/DSV4/invalid.mlir")
    in_spec, entries = spec_tags(spec)
    for name in sorted(operations() ^ entries):
        problems.append(f"{name}: an operation without entry, or the reverse")
    compare(in_spec, code_tags("DSV4"), negative)
    compare(tile_tags(read("dialects/Tile/docs/Rationale.md")),
            code_tags("Tile"), read("test/dialects/Tile/invalid.mlir"))
    examples = 0
    for text in re.findall(r"```mlir\n(.*?)```", spec, re.S):
        for line in text.strip().split("\n"):
            if " : (" in line:
                print(example(examples, line))
            else:
                print(f"func.func @example{examples}() {{\n  {line}\n"
                      "  return\n}\n")
            examples += 1
    print(f"// {examples} examples, {len(in_spec)} constraints")
    if examples < len(entries):
        problems.append("an entry has no example")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


sys.exit(main())
