// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/host/Placement.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sched.h>
#include <set>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fathom::rt {

namespace {

/// A thread's rule for new pages, in the words of the kernel's interface
/// (linux/mempolicy.h), which not every system has a header for.
struct Policy {
  int mode = 0; // 0: the default, which has no nodes
  unsigned long nodes[16] = {};
};
constexpr unsigned long kNodeBits = sizeof(Policy::nodes) * 8;

} // namespace

struct CallerPlacement::Before {
  std::atomic<int> holders{0};
  // Of the thread alone whose it is:
  bool moved = false; // and the rest says where it was
  cpu_set_t cpus;
  bool hasPolicy = false;
  Policy policy;
};

namespace {

thread_local const std::shared_ptr<CallerPlacement::Before> before =
    std::make_shared<CallerPlacement::Before>();

Status badPin(const std::string &text, const std::string &why) {
  return Status(FATHOM_USAGE, "cannot pin threads to '" + text + "': " + why +
                                  "; give auto, none, or CPU numbers such as "
                                  "0-3,8");
}

/// A decimal number at `at`, which moves behind it. CPU_SETSIZE stands for all
/// that are not below it.
bool readCpu(const std::string &text, size_t &at, int &out) {
  const size_t begin = at;
  int value = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
    value = std::min(CPU_SETSIZE, value * 10 + (text[at] - '0'));
  out = value;
  return at > begin;
}

Status parseCpus(const std::string &text, std::vector<int> &out) {
  const std::vector<int> allowed = allowedCpus();
  if (allowed.empty())
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
    if (last >= CPU_SETSIZE)
      return badPin(text, "CPUs are numbered 0 to " +
                              std::to_string(CPU_SETSIZE - 1));
    for (int cpu = first; cpu <= last; ++cpu) {
      if (!std::binary_search(allowed.begin(), allowed.end(), cpu))
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

std::vector<int> allowedCpus() {
  std::vector<int> cpus;
  cpu_set_t allowed;
  if (before->moved)
    allowed = before->cpus;
  else if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed))
      cpus.push_back(cpu);
  return cpus;
}

int coreOf(int cpu) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                     "/topology/thread_siblings_list");
  int first = cpu;
  return file >> first ? first : cpu;
}

std::vector<int> workerCpus(const std::vector<int> &allowed, int here,
                            const std::function<int(int)> &coreOf) {
  std::vector<int> behind, first, second;
  for (int cpu : allowed)
    if (cpu > here)
      behind.push_back(cpu);
  for (int cpu : allowed)
    if (cpu < here)
      behind.push_back(cpu);
  std::set<int> taken{coreOf(here)};
  for (int cpu : behind)
    (taken.insert(coreOf(cpu)).second ? first : second).push_back(cpu);
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Status moveThread(const std::vector<int> &cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::string names;
  for (int cpu : cpus) {
    CPU_SET(cpu, &set);
    names += (names.empty() ? "" : ", ") + std::to_string(cpu);
  }
  if (sched_setaffinity(0, sizeof(set), &set) != 0)
    return Status(FATHOM_RESOURCES, "cannot move a thread to CPU " + names +
                                        ": " + std::strerror(errno));
  return Status();
}

Status interleaveThread() {
  constexpr int kInterleave = 3;
  constexpr unsigned kAllowed = 1u << 2;
  Policy all;
  if (syscall(SYS_get_mempolicy, &all.mode, all.nodes, kNodeBits, nullptr,
              kAllowed) != 0 ||
      syscall(SYS_set_mempolicy, kInterleave, all.nodes, kNodeBits) != 0)
    return Status(FATHOM_RESOURCES,
                  std::string("cannot interleave memory over NUMA nodes: ") +
                      std::strerror(errno) + "; leave the option out");
  return Status();
}

CallerPlacement::~CallerPlacement() {
  if (held)
    drop();
}

void CallerPlacement::leave() {
  if (held == before)
    drop();
}

void CallerPlacement::hold() {
  if (held)
    return;
  held = before;
  ++held->holders;
  if (held->moved)
    return;
  held->moved = true;
  if (sched_getaffinity(0, sizeof(held->cpus), &held->cpus) != 0)
    CPU_ZERO(&held->cpus);
  held->hasPolicy = syscall(SYS_get_mempolicy, &held->policy.mode,
                            held->policy.nodes, kNodeBits, nullptr, 0) == 0;
}

void CallerPlacement::drop() {
  const std::shared_ptr<Before> was = std::move(held);
  if (--was->holders || was != before)
    return;
  was->moved = false;
  (void)sched_setaffinity(0, sizeof(was->cpus), &was->cpus);
  if (was->hasPolicy)
    (void)syscall(SYS_set_mempolicy, was->policy.mode,
                  was->policy.mode ? was->policy.nodes : nullptr,
                  was->policy.mode ? kNodeBits : 0);
}

Status CallerPlacement::move(int cpu) {
  hold();
  return moveThread({cpu});
}

Status CallerPlacement::interleave() {
  hold();
  return interleaveThread();
}

void adviseHugePages(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
  (void)madvise(memory, bytes, MADV_HUGEPAGE);
#endif
}

} // namespace fathom::rt
