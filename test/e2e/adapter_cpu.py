# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The modules that AscendNPU-IR gets, compiled for this CPU by upstream passes:
a shared library in the form of the host's, which takes its place in a package.
Nothing of the CPU's own pipeline is used."""
import os
import re
import subprocess

PIPELINE = [
    "--convert-elementwise-to-linalg",
    "--one-shot-bufferize=allow-return-allocs-from-loops",
    "--convert-linalg-to-loops",
    "--expand-strided-metadata",
    "--lower-affine",
    "--arith-expand=include-bf16=true",
    "--convert-math-to-libm",
    "--convert-scf-to-cf",
    "--convert-to-llvm",
    "--reconcile-unrealized-casts",
]

# A kernel's buffers live as long as one call: an arena for each thread, which
# grows when a call needs more. Its ends cannot be touched.
RUNTIME = r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
struct chunk { struct chunk *next; size_t size, used; };
static _Thread_local struct chunk *first, *now;
void *adapter_allocate(uint64_t bytes) {
  bytes = (bytes + 63) & ~(uint64_t)63;
  while (now && now->used + bytes > now->size) now = now->next;
  if (!now) {
    size_t size = bytes + 128 > (64u << 20) ? bytes + 128 : 64u << 20;
    size = (size + 4095) & ~(size_t)4095;
    char *at = mmap(0, size + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct chunk *fresh = (struct chunk *)(at + 4096);
    if (at == MAP_FAILED || mprotect(fresh, size, PROT_READ | PROT_WRITE)) abort();
    fresh->size = size; fresh->used = 64; fresh->next = first;
    first = now = fresh;
  }
  void *at = (char *)now + now->used;
  now->used += bytes;
  return at;
}
void adapter_release(void *p) { (void)p; }
static void reset(void) {
  for (struct chunk *c = first; c; c = c->next) c->used = 64;
  now = first;
}
struct view { char *allocated, *aligned; int64_t offset, numbers[]; };
struct unranked { int64_t rank; struct view *view; };
static void copy(int64_t width, int64_t rank, const int64_t *sizes,
                 const char *from, const int64_t *fromStrides, char *to,
                 const int64_t *toStrides) {
  if (!rank) { memcpy(to, from, width); return; }
  if (rank == 1 && fromStrides[0] == 1 && toStrides[0] == 1) {
    memcpy(to, from, width * sizes[0]);
    return;
  }
  for (int64_t i = 0; i < sizes[0]; ++i)
    copy(width, rank - 1, sizes + 1, from + i * fromStrides[0] * width,
         fromStrides + 1, to + i * toStrides[0] * width, toStrides + 1);
}
/* What upstream's lowering calls for copies between strided buffers. */
void memrefCopy(int64_t width, struct unranked *from, struct unranked *to) {
  struct view *f = from->view, *t = to->view;
  copy(width, from->rank, f->numbers, f->aligned + f->offset * width,
       f->numbers + from->rank, t->aligned + t->offset * width,
       t->numbers + to->rank);
}
#define M(p) (void *)(p), (void *)(p), (int64_t)0, (int64_t)0, (int64_t)1
#define MP void *, void *, int64_t, int64_t, int64_t
"""

def signatures(tile_module):
    """Name -> kinds of arguments: "buffer", "count" or "table"."""
    found = {}
    for name, text in re.findall(r"^  tile\.kernel @(\S+?)\((.*)\) \{$",
                                 tile_module, re.M):
        kinds = []
        for argument in re.findall(r"%\w+: (!?[\w.]+(?:<[^>]*>+)?)", text):
            kinds.append("table" if argument.startswith("!tile.table") else
                         "count" if argument == "index" else "buffer")
        found[name] = kinds
    return found


def wrapper(name, kinds):
    """The kernel in the form that the host driver calls."""
    before, types, values = [], ["MP", "MP"], ["M(0)", "M(0)"]
    for i, kind in enumerate(kinds):
        if kind == "buffer":
            types.append("MP")
            values.append(f"M(args[{i}])")
        elif kind == "count":
            before.append(f"  int32_t n{i} = (int32_t)args[{i}];")
            types.append("MP")
            values.append(f"M(&n{i})")
        else:
            types += ["MP", "MP"]
            values += [f"M(*(void **)args[{i}])", f"M(args[{i}])"]
    types += ["int32_t"] * 6
    values += ["0", "0", "0", "(int32_t)x", "(int32_t)y", "(int32_t)z"]
    lines = "\n".join(before)
    return (f"void adapter_{name}({', '.join(types)});\n"
            f"void {name}(const uint64_t *args, int64_t x, int64_t y, int64_t z,"
            f" void *scratch) {{\n  reset();\n{lines}\n"
            f"  adapter_{name}({', '.join(values)});\n}}\n")


# The product of codes that is AscendNPU-IR's own, as what it means. Decoding is
# written anew here: nothing of the modules' own.
MATMUL_MX = re.compile(
    r'(%\d+) = "hfusion\.matmul_mx"\((%\d+), (%\d+), (%\d+), (%\d+), (%\d+)\)'
    r" : \((tensor<\d+x\d+xf8E4M3FN>), (tensor<\d+x\d+xf8E4M3FN>), "
    r"(tensor<\d+x\d+xi8>), (tensor<\d+x\d+xi8>), (tensor<\d+x\d+xf32>)\) -> "
    r"tensor<\d+x\d+xf32>")

MATMUL_MX_MEANS = """{result} = "linalg.generic"({a}, {b}, {sa}, {sb}, {start}) <{{
  indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>,
    affine_map<(m, n, k) -> (m, k floordiv 32)>,
    affine_map<(m, n, k) -> (n, k floordiv 32)>, affine_map<(m, n, k) -> (m, n)>],
  iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>,
    #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 4, 1>}}> ({{
^bb0(%a: f8E4M3FN, %b: f8E4M3FN, %sa: i8, %sb: i8, %sum: f32):
  %ca = "arith.bitcast"(%a) : (f8E4M3FN) -> i8
  %cb = "arith.bitcast"(%b) : (f8E4M3FN) -> i8
  %va = "func.call"(%ca, %sa) <{{callee = @adapter_mx_value}}> : (i8, i8) -> f32
  %vb = "func.call"(%cb, %sb) <{{callee = @adapter_mx_value}}> : (i8, i8) -> f32
  %p = "arith.mulf"(%va, %vb) <{{fastmath = #arith.fastmath<none>}}> : (f32, f32) -> f32
  %r = "arith.addf"(%sum, %p) <{{fastmath = #arith.fastmath<none>}}> : (f32, f32) -> f32
  "linalg.yield"(%r) : (f32) -> ()
}}) : ({types}) -> {type}"""

MX_VALUE = r"""
#include <math.h>
static float value_of(int c, int scale) {
  int e = c >> 3 & 15, m = c & 7;
  float v = (c & 127) == 127 ? NAN : e ? ldexpf(8 + m, e - 10) : ldexpf(m, -9);
  if (c & 128) v = -v;
  return scale == 255 ? NAN : ldexpf(v, scale - 127);
}
/* Most of a run is spent here. */
static float values[256][256];
__attribute__((constructor)) static void tabulate(void) {
  for (int scale = 0; scale < 256; ++scale)
    for (int code = 0; code < 256; ++code)
      values[scale][code] = value_of(code, scale);
}
float adapter_mx_value(int8_t code, int8_t scale) {
  return values[(uint8_t)scale][(uint8_t)code];
}
"""


def meant(text):
    """The module without operations that upstream does not know."""
    def means(found):
        result, a, b, sa, sb, start, *types = found.groups()
        return MATMUL_MX_MEANS.format(result=result, a=a, b=b, sa=sa, sb=sb,
                                      start=start, types=", ".join(types),
                                      type=types[-1])

    text, count = MATMUL_MX.subn(means, text)
    assert "hfusion" not in text, "an operation without a meaning"
    if count:
        end = text.rindex("}) : () -> ()")
        text = (text[:end] + '"func.func"() <{function_type = (i8, i8) -> f32, '
                'sym_name = "adapter_mx_value", sym_visibility = "private"}> '
                "({}) : () -> ()\n" + text[end:])
    return text


def build(tile_module, modules, folder, llvm):
    """`modules`: name -> text of the adapter module. The library's path."""
    os.makedirs(folder, exist_ok=True)
    kinds = signatures(tile_module)
    program = [RUNTIME, MX_VALUE] + [wrapper(name, kinds[name]) for name in modules]
    wrap = os.path.join(folder, "wrap.c")
    with open(wrap, "w") as f:
        f.write("\n".join(program))

    def run(tool, *arguments, text=""):
        done = subprocess.run([llvm(tool), *arguments], input=text.encode(),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise AssertionError(
                f"{tool}: {done.stderr.decode(errors='replace')[-1500:]}")
        return done.stdout.decode()

    translated = []
    for name, text in modules.items():
        text = text.replace(f'sym_name = "{name}"',
                            f'sym_name = "adapter_{name}"')
        lowered = run("mlir-opt", *PIPELINE, text=meant(text))
        ir = run("mlir-translate", "--mlir-to-llvmir", text=lowered)
        ir = re.sub(r"@malloc\b", "@adapter_allocate", ir)
        ir = re.sub(r"@free\b", "@adapter_release", ir)
        translated.append(os.path.join(folder, name + ".ll"))
        with open(translated[-1], "w") as f:
            f.write(ir)
    library = os.path.join(folder, "kernels.so")
    # No reassociation, and products are not contracted.
    run("clang", "-O1", "-march=x86-64-v3", "-ffp-contract=off", "-fPIC",
        "-shared", "-Wno-override-module", *translated, wrap, "-o", library,
        "-lm")
    return library
