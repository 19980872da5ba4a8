# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kernel by kernel: a library that runs every program twice on equal inputs, by
the host's code and by the modules that AscendNPU-IR gets, and goes on with what
the host's wrote. So a difference is one kernel's own, and none grows from layer
to layer."""
import json
import os
import re
import subprocess

import adapter_cpu

# Element type -> how it is compared.
TYPES = {"f32": "F32", "bf16": "BF16", "f8E4M3FN": "E4M3", "f8E8M0FNU": "E8M0",
         "i8": "I8", "i32": "I32"}

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum type { F32, BF16, E4M3, E8M0, I8, I32 };
static const int widths[] = {4, 2, 1, 1, 1, 4};
typedef void function(const uint64_t *, int64_t, int64_t, int64_t, void *);
struct result { int argument; enum type type; };
/* Of one result: elements written by either; those that differ; the largest
   difference, in steps of codes and whole numbers, else of the largest number
   that the program wrote to it. */
struct seen { int64_t written, different; double largest; };
struct kernel {
  const char *name;
  function *host, *adapter;
  int count;
  struct result results[16];
  struct seen seen[16];
  int64_t programs;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Where what is mapped at p ends. */
static char *end_of(char *p) {
  static struct { char *from, *to; } known[4096];
  static int count;
  for (int i = 0; i < count; ++i)
    if (p >= known[i].from && p < known[i].to) return known[i].to;
  FILE *maps = fopen("/proc/self/maps", "r");
  uint64_t from, to;
  char line[4096];
  while (maps && fgets(line, sizeof line, maps))
    if (sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2 &&
        p >= (char *)from && p < (char *)to) {
      fclose(maps);
      if (count < 4096) {
        known[count].from = (char *)from;
        known[count++].to = (char *)to;
      }
      return (char *)to;
    }
  abort();
}

static double value(enum type type, const char *at) {
  uint32_t bits = 0;
  float f;
  int32_t i;
  int c = *(const uint8_t *)at;
  switch (type) {
  case F32: memcpy(&f, at, 4); return f;
  case BF16: memcpy((char *)&bits + 2, at, 2); memcpy(&f, &bits, 4); return f;
  case E4M3: return c & 128 ? -(c & 127) : c; /* codes in order */
  case E8M0: return c;
  case I8: return c;
  case I32: memcpy(&i, at, 4); return i;
  }
  return 0;
}

/* `at`, or where the first block of PIECE bytes after it begins that is not the
   same in all three, so that most is passed over quickly. */
enum { PIECE = 1024 };
static int64_t untouched(int64_t at, int64_t bytes, const char *a, const char *b,
                         const char *c) {
  while (at % PIECE == 0 && at + PIECE <= bytes && !memcmp(a + at, b + at, PIECE) &&
         !memcmp(a + at, c + at, PIECE))
    at += PIECE;
  return at;
}

static void compare(enum type type, int64_t bytes, const char *before,
                    const char *host, const char *adapter, struct seen *seen) {
  int width = widths[type];
  double most = 0, scale = 1, difference;
  for (int64_t at = 0; at + width <= bytes; at += width) {
    at = untouched(at, bytes, before, host, adapter);
    if (at + width > bytes) break;
    if (!memcmp(before + at, host + at, width) &&
        !memcmp(before + at, adapter + at, width)) continue;
    double a = value(type, host + at), b = value(type, adapter + at);
    ++seen->written;
    if (type < E4M3 && fabs(a) < INFINITY && fabs(a) > most) most = fabs(a);
    if (a == b || (isnan(a) && isnan(b))) continue;
    ++seen->different;
  }
  if (type < E4M3) scale = most > 0 ? most : 1;
  for (int64_t at = 0; at + width <= bytes; at += width) {
    at = untouched(at, bytes, host, host, adapter);
    if (at + width > bytes) break;
    if (!memcmp(host + at, adapter + at, width)) continue;
    double a = value(type, host + at), b = value(type, adapter + at);
    if (a == b || (isnan(a) && isnan(b))) continue;
    difference = fabs(a - b) / scale;
    if (!(difference <= seen->largest))
      seen->largest = isfinite(difference) ? difference : 1e30;
  }
}

/* How many rows a result has is not known: what follows its address within what
   is mapped there is kept and compared, up to MOST bytes, but for the scratch
   memory of the host's code. What the two libraries take for themselves is not
   mapped next to it. */
enum { MOST = 1 << 20 };
static char *apart(void) {
  char *at = mmap(0, MOST + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED || mprotect(at + 4096, MOST, PROT_READ | PROT_WRITE))
    abort();
  return at + 4096;
}
static void twice(struct kernel *k, const uint64_t *args, int64_t x, int64_t y,
                  int64_t z, void *scratch) {
  static char *before[16], *host[16];
  int64_t bytes[16];
  pthread_mutex_lock(&lock);
  for (int i = 0; i < k->count; ++i) {
    char *at = (char *)args[k->results[i].argument];
    bytes[i] = end_of(at) - at < MOST ? end_of(at) - at : MOST;
    int64_t away = (char *)scratch - at;
    if (away > 0 && away < bytes[i]) bytes[i] = away;
    if (!before[i]) { before[i] = apart(); host[i] = apart(); }
    memcpy(before[i], at, bytes[i]);
  }
  k->host(args, x, y, z, scratch);
  for (int i = 0; i < k->count; ++i)
    memcpy(host[i], (char *)args[k->results[i].argument], bytes[i]);
  for (int i = 0; i < k->count; ++i)
    memcpy((char *)args[k->results[i].argument], before[i], bytes[i]);
  k->adapter(args, x, y, z, scratch);
  for (int i = 0; i < k->count; ++i) {
    char *at = (char *)args[k->results[i].argument];
    /* Another result may follow in the same piece: no byte is taken twice. */
    int64_t own = bytes[i];
    for (int j = 0; j < k->count; ++j) {
      int64_t away = (char *)args[k->results[j].argument] - at;
      if (away > 0 && away < own) own = away;
    }
    compare(k->results[i].type, own, before[i], host[i], at, &k->seen[i]);
  }
  for (int i = 0; i < k->count; ++i)
    memcpy((char *)args[k->results[i].argument], host[i], bytes[i]);
  ++k->programs;
  pthread_mutex_unlock(&lock);
}
"""

# After the kernels, of which `all` is a list.
ENDS = r"""
__attribute__((constructor)) static void open_both(void) {
  void *host = dlopen(HOST, RTLD_NOW | RTLD_LOCAL),
       *adapter = dlopen(ADAPTER, RTLD_NOW | RTLD_LOCAL);
  if (!host || !adapter) { fprintf(stderr, "%s\n", dlerror()); abort(); }
  for (struct kernel *k = all; k->name; ++k) {
    k->host = (function *)dlsym(host, k->name);
    k->adapter = (function *)dlsym(adapter, k->name);
    if (!k->host || !k->adapter) { fprintf(stderr, "no %s\n", k->name); abort(); }
  }
}
__attribute__((destructor)) static void tell(void) {
  const char *path = getenv("ADAPTER_RESULTS");
  FILE *out = path ? fopen(path, "w") : 0;
  if (!out) return;
  for (struct kernel *k = all; k->name; ++k)
    for (int i = 0; i < k->count; ++i)
      fprintf(out, "{\"kernel\": \"%s\", \"argument\": %d, \"type\": %d, "
              "\"programs\": %" PRId64 ", \"written\": %" PRId64 ", "
              "\"different\": %" PRId64 ", \"largest\": %.9g}\n", k->name,
              k->results[i].argument, k->results[i].type, k->programs,
              k->seen[i].written, k->seen[i].different, k->seen[i].largest);
  fclose(out);
}
"""


def results(tile_module):
    """Kernel -> [(argument, element type)] of the buffers that it writes."""
    found = {}
    for name, arguments, body in re.findall(
            r"^  tile\.kernel @(\S+?)\(([^\n]*)\) \{$(.*?)^  \}$", tile_module,
            re.M | re.S):
        types = re.findall(r"%arg\d+: (!?[\w.]+(?:<[^>]*>+)?)", arguments)
        written = re.findall(r"(?:tile\.store|tile\.scatter|memref\.store) "
                             r"%\w+(?:#\d+)?, %arg(\d+)\[", body)
        found[name] = [(i, types[i][:-1].replace("<", "x").rsplit("x", 1)[-1])
                       for i in sorted(set(map(int, written)))]
    return found


def build(tile_module, host, adapter, folder, llvm):
    """The library. `host`, `adapter`: libraries with the same kernels."""
    os.makedirs(folder, exist_ok=True)
    table, functions = [], []
    for i, (name, written) in enumerate(results(tile_module).items()):
        assert written, f"{name} writes nothing"
        listed = ", ".join(f"{{{n}, {TYPES[t]}}}" for n, t in written)
        table.append(f'  {{"{name}", 0, 0, {len(written)}, {{{listed}}}}},')
        functions.append(f"void {name}(const uint64_t *a, int64_t x, int64_t y, "
                         f"int64_t z, void *s) {{ twice(&all[{i}], a, x, y, z, "
                         "s); }")
    source = os.path.join(folder, "compare.c")
    with open(source, "w") as f:
        f.write("\n".join([f'#define HOST "{os.path.abspath(host)}"',
                           f'#define ADAPTER "{os.path.abspath(adapter)}"',
                           SOURCE, "static struct kernel all[] = {", *table,
                           "  {0}};", *functions, ENDS]))
    library = os.path.join(folder, "compare.so")
    done = subprocess.run([llvm("clang"), "-O2", "-fPIC", "-shared", source, "-o",
                           library, "-ldl", "-lm", "-lpthread"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()[-1500:]
    return library


class Comparison:
    """What programs of several processes told, by kernel and argument."""

    def __init__(self):
        self.programs, self.results = {}, {}

    def add(self, told):
        with open(told) as f:
            rows = [json.loads(line) for line in f]
        assert rows, "nothing was compared"
        for row in rows:
            key = row["kernel"], row["argument"], list(TYPES)[row["type"]]
            before = self.results.get(key, (0, 0, 0.0))
            self.results[key] = (before[0] + row["written"],
                                 before[1] + row["different"],
                                 max(before[2], row["largest"]))
        for name, programs in {row["kernel"]: row["programs"]
                               for row in rows}.items():
            self.programs[name] = self.programs.get(name, 0) + programs

    def beyond(self, limits):
        """What is beyond the limits: element type -> (share of numbers that
        may differ, by how much)."""
        wrong = []
        for (name, argument, element), (written, different, largest) in \
                self.results.items():
            share, distance = limits[element]
            if different > share * max(written, 1000) or largest > distance:
                wrong.append(f"{name}, argument {argument} ({element}): "
                             f"{different} of {written} differ, by {largest:.3g}")
        return wrong
