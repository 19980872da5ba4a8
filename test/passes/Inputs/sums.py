#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""usage: sums.py N: a schedule with a buffer whose size is the last of N sums, each
of the one before it and itself."""
import sys

n = int(sys.argv[1])
print('func.func @step(%t: index {tile.port = "count.tokens"})\n'
      '    attributes {tile.entry = "step", tile.max_tokens = 16 : i64} {\n'
      "  %c0 = arith.constant 0 : index\n"
      "  %s0 = arith.muli %t, %c0 : index")
for i in range(n):
    print(f"  %s{i + 1} = arith.addi %s{i}, %s{i} : index")
print(f"  %a = memref.alloc(%s{n}) : memref<?x16xf32>\n"
      "  return\n}")
