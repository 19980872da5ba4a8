#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes UnicodeRanges.inc: the general categories that tokenizer patterns ask
for, from one version of Unicode, whatever the system's libraries have.

HF tokenizers 0.23 has Unicode 16.0. Needs PyPI's unicodedata2==16.0.0."""
import os

import unicodedata2

VERSION = "16.0.0"
# White_Space has been the same since Unicode 6.3; Python's isspace() differs.
SPACE = set([*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
             0x2028, 0x2029, 0x202F, 0x205F, 0x3000])


def classify(code):
    if code in SPACE:
        return "Space"
    letter = unicodedata2.category(chr(code))[0]
    return {"L": "Letter", "M": "Mark", "N": "Number", "P": "Punctuation",
            "S": "Symbol"}.get(letter)


def main():
    assert unicodedata2.unidata_version == VERSION
    ranges = []
    for code in range(0x110000):
        kind = classify(code)
        if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == kind:
            ranges[-1][1] = code
        else:
            ranges.append([code, code, kind])
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "UnicodeRanges.inc"), "w") as out:
        out.write("// Unicode 16.0.0, by make_unicode_ranges.py: first, last, "
                  "class.\n")
        for first, last, kind in ranges:
            if kind:
                out.write(f"{{0x{first:x}, 0x{last:x}, Class::{kind}}},\n")


if __name__ == "__main__":
    main()
