// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/host/Placement.h"

#include <cerrno>
#include <cstring>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fathom::rt {

namespace {

Status badPin(const std::string &text, const std::string &why) {
  return Status(FATHOM_USAGE, "cannot pin threads to '" + text + "': " + why +
                                  "; give auto, none, or CPU numbers such as "
                                  "0-3,8");
}

/// A decimal number below CPU_SETSIZE at `at`, which moves behind it.
bool readCpu(const std::string &text, size_t &at, int &out) {
  const size_t begin = at;
  int value = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9' &&
         value < CPU_SETSIZE)
    value = value * 10 + (text[at++] - '0');
  out = value;
  return at > begin && value < CPU_SETSIZE;
}

Status parseCpus(const std::string &text, std::vector<int> &out) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    return Status::fromErrno("cannot ask for the CPUs of this process", errno);
  size_t at = 0;
  do {
    int first = 0, last = 0;
    if (!readCpu(text, at, first))
      return badPin(text, "there is no CPU number at character " +
                              std::to_string(at + 1));
    last = first;
    if (at < text.size() && text[at] == '-')
      if (!readCpu(text, ++at, last) || last < first)
        return badPin(text, "a range needs a last CPU, not below the first");
    for (int cpu = first; cpu <= last; ++cpu) {
      if (!CPU_ISSET(cpu, &allowed))
        return badPin(text,
                      "this process may not use CPU " + std::to_string(cpu));
      out.push_back(cpu);
    }
  } while (at < text.size() && text[at++] == ',');
  if (at != text.size() || text.back() == ',')
    return badPin(text, "it does not end after a number");
  return Status();
}

} // namespace

Status parsePlacement(const char *pin, const char *numa, bool hugePages,
                      Placement &out) {
  out = Placement();
  out.hugePages = hugePages;
  const std::string where = pin ? pin : "auto";
  if (where == "none")
    out.pin = false;
  else if (where != "auto")
    if (Status s = parseCpus(where, out.cpus); s.failed())
      return s;
  const std::string memory = numa ? numa : "local";
  if (memory != "local" && memory != "interleave")
    return Status(FATHOM_USAGE, "there is no memory placement '" + memory +
                                    "'; give local or interleave");
  out.interleave = memory == "interleave";
  return Status();
}

Status pinThread(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  if (sched_setaffinity(0, sizeof(one), &one) != 0)
    return Status(FATHOM_RESOURCES, "cannot move a thread to CPU " +
                                        std::to_string(cpu) + ": " +
                                        std::strerror(errno));
  return Status();
}

Status interleaveThread() {
  // From the kernel's interface (linux/mempolicy.h), which not every system
  // has a header for.
  constexpr int kInterleave = 3;
  constexpr unsigned kAllowed = 1u << 2;
  unsigned long nodes[16] = {};
  constexpr unsigned long kBits = sizeof(nodes) * 8;
  int mode = 0;
  if (syscall(SYS_get_mempolicy, &mode, nodes, kBits, nullptr, kAllowed) != 0 ||
      syscall(SYS_set_mempolicy, kInterleave, nodes, kBits) != 0)
    return Status(FATHOM_RESOURCES,
                  std::string("cannot interleave memory over NUMA nodes: ") +
                      std::strerror(errno) + "; leave the option out");
  return Status();
}

void adviseHugePages(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
  (void)madvise(memory, bytes, MADV_HUGEPAGE);
#endif
}

} // namespace fathom::rt
