#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""usage: pairs.py KERNELS OPERATIONS: a module of as many kernels of about so many
operations each, in whose step every pair of them is launched beside each other once."""
import itertools
import sys

kernels, operations = map(int, sys.argv[1:])
buffer = "memref<?x16xf32>"
print("#tokens = affine_map<(t, r) -> (t)>")
for k in range(kernels):
    print(f"tile.kernel @kernel_{k}(%x: {buffer}, %y: {buffer}) {{\n"
          f"  %t = tile.program_id 0\n  %c0 = arith.constant 0 : index\n"
          f"  %v0 = tile.load %x[%t, %c0] : {buffer} -> tensor<16xf32>")
    for i in range(operations):
        print(f"  %v{i + 1} = arith.addf %v{i}, %v{i} : tensor<16xf32>")
    print(f"  tile.store %v{operations}, %y[%t, %c0] : tensor<16xf32>, {buffer}\n"
          f"  tile.return\n}}")
print(f'func.func @step(%t: index {{tile.port = "count.tokens"}}, '
      f'%x: {buffer} {{tile.port = "streams"}}, '
      f'%y: {buffer} {{tile.port = "logits", tile.output}})\n'
      f'    attributes {{tile.entry = "step", tile.max_tokens = 16 : i64}} {{')
a = b = "%x"
# Each pair after the one before it: both read what one of its launches wrote.
pairs = list(itertools.combinations_with_replacement(range(kernels), 2))
for n, (one, other) in enumerate(pairs):
    for name, kernel in (("a", one), ("b", other)):
        print(f"  %{name}{n} = memref.alloc(%t) : {buffer}\n"
              f"  tile.launch @kernel_{kernel} #tokens({a}, %{name}{n}) : "
              f"{buffer}, {buffer}")
    a = f"%a{n}"
print(f"  tile.launch @kernel_0 #tokens({a}, %y) : {buffer}, {buffer}\n"
      f"  return\n}}")
