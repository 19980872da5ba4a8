# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""every_operation.py OPS.def TEXT...: fails for each operation that the writer knows
and that is in none of the texts, as the disassembler prints it."""
import re
import sys

with open(sys.argv[1]) as f:
    known = re.findall(r'^OP\(\w+, "(\w+)"', f.read(), re.MULTILINE)
text = ""
for path in sys.argv[2:]:
    with open(path) as f:
        text += f.read()
missing = [name for name in known
           if not re.search(rf"(^|[ =]){name}\b", text, re.MULTILINE)]
print(f"{len(known)} operations, missing: {' '.join(missing) or 'none'}")
sys.exit(bool(missing or len(known) < 50))
