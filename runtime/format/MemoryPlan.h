// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The memory that a package takes when it runs: what `fathomc plan` prints,
// what the runtime allocates, and why it refuses. Sizes are bytes.
#pragma once

#include "runtime/format/Manifest.h"

#include <algorithm>
#include <cstdio>

namespace fathom::format {

/// What a session is made for; everything is given, nothing is a default.
struct SessionSizes {
  int64_t sequences = 1;
  int64_t logitRows = 0;  // of the session's own buffer
  int64_t keptTokens = 0; // whose final streams are kept
};

/// The sizes that a session has when nobody says otherwise.
inline SessionSizes defaultSessionSizes(const Manifest &m, int64_t sequences) {
  return {sequences, std::max(sequences, m.limits.maxStepTokens),
          m.limits.maxStepTokens};
}

/// How a driver gives out memory.
struct AllocationRules {
  /// Each buffer takes a multiple of this many bytes.
  uint64_t granularity = 1;
  /// Weights, and tables of their addresses, are copied to it; else kernels
  /// read them where they are mapped.
  bool holdsWeights = false;

  /// 0 where that is no number.
  uint64_t taken(uint64_t bytes) const {
    return bytes % granularity == 0 ? bytes
                                    : (bytes / granularity + 1) * granularity;
  }
};

/// Of the drivers for a package's target.
inline AllocationRules allocationRules(const std::string &target) {
  return target == "cpu" ? AllocationRules{} : AllocationRules{256, true};
}

struct MemoryPlan {
  AllocationRules rules;
  uint64_t weightBytes = 0; // of the tensors that kernels read
  uint64_t cacheBytesPerSequence = 0, cacheBytes = 0;
  uint64_t workspaceBytes = 0;                // intermediates of a step
  uint64_t logitsBytes = 0, streamsBytes = 0; // what a call leaves behind
  uint64_t stagingBytes = 0;                  // what a step is handed
  uint64_t scratchBytes = 0;                  // of the threads

  /// What a session allocates.
  uint64_t sessionBytes() const {
    return cacheBytes + workspaceBytes + logitsBytes + streamsBytes +
           stagingBytes;
  }
  uint64_t peakBytes() const {
    return weightBytes + sessionBytes() + scratchBytes;
  }
};

/// Bytes of an entry's output "streams" for each token; 0: no such output.
/// Entries that are made to be looked into have the same after their layers.
inline uint64_t streamRowBytes(const Entry &entry) {
  for (const Port &port : entry.outputs)
    if (port.name == "streams")
      return port.rowBytes;
  return 0;
}

/// What a step is handed, in one piece so that it is one copy to a device:
/// counts (tokens, rows and 1), then an i32 a token for each of the rest.
struct InputLayout {
  static constexpr uint64_t tokens = 0, rowCount = 16, one = 32, ids = 64;
  uint64_t positions, slots, rows, bytes;
  explicit InputLayout(int64_t maxTokens) {
    const uint64_t each = (uint64_t(maxTokens) * 4 + 63) / 64 * 64;
    positions = ids + each;
    slots = positions + each;
    rows = slots + each;
    bytes = rows + each;
  }
};

/// Of all caches together, for so many sequences; false where that is no
/// number.
inline bool cacheBytesFor(const Manifest &m, int64_t sequences,
                          const AllocationRules &rules, uint64_t &total) {
  total = 0;
  for (const Cache &cache : m.caches)
    for (const CacheComponent &c : cache.components) {
      uint64_t bytes = 0;
      if (__builtin_mul_overflow(cache.rows, c.rowBytes, &bytes) ||
          __builtin_mul_overflow(bytes, uint64_t(sequences), &bytes) ||
          __builtin_add_overflow(total, rules.taken(bytes), &total))
        return false;
    }
  return true;
}

/// Fills `plan`; false where a sum does not fit what a process can address
/// (46 bits), which a hostile manifest can bring about. `scratchBytes`: of all
/// threads together.
inline bool planMemory(const Manifest &m, const SessionSizes &sizes,
                       uint64_t scratchBytes, const AllocationRules &rules,
                       MemoryPlan &plan) {
  bool good = true;
  auto product = [&](uint64_t a, uint64_t b) {
    uint64_t out = 0;
    good &= !__builtin_mul_overflow(a, b, &out);
    return out;
  };
  auto add = [&](uint64_t &to, uint64_t bytes) {
    good &= !__builtin_add_overflow(to, bytes, &to);
  };
  /// A buffer.
  auto take = [&](uint64_t &to, uint64_t bytes) {
    good &= bytes <= ~uint64_t(0) - rules.granularity;
    add(to, rules.taken(bytes));
  };
  plan = MemoryPlan();
  plan.rules = rules;
  for (const Weight &weight : m.weights)
    take(plan.weightBytes, weight.bytes);
  if (rules.holdsWeights)
    for (const WeightTable &table : m.tables)
      take(plan.weightBytes, table.weights.size() * 8);
  good &= cacheBytesFor(m, 1, {}, plan.cacheBytesPerSequence) &&
          cacheBytesFor(m, sizes.sequences, rules, plan.cacheBytes);
  take(plan.logitsBytes, product(uint64_t(sizes.logitRows),
                                 product(uint64_t(m.model.vocabularySize), 4)));
  const uint64_t stepTokens = uint64_t(m.limits.maxStepTokens);
  bool hasMtp = false;
  uint64_t stepRow = 0, workspace = 0;
  for (const Entry &entry : m.entries) {
    for (const Specialisation &s : entry.specialisations)
      workspace = std::max(workspace, s.workspaceBytes);
    const bool isStep = entry.name == "step";
    if (!isStep && entry.name.rfind("mtp.", 0) != 0)
      continue; // of a later minor version: not run
    for (const Specialisation &s : entry.specialisations)
      take(plan.stagingBytes, InputLayout(s.maxTokens).bytes);
    hasMtp |= !isStep;
    if (isStep)
      stepRow = streamRowBytes(entry);
    for (const Port &port : entry.outputs)
      if (port.count == Count::Tokens)
        take(plan.streamsBytes,
             product(port.rowBytes, uint64_t(sizes.keptTokens)));
  }
  take(plan.workspaceBytes, workspace);
  if (hasMtp) // the input of an MTP layer
    take(plan.stagingBytes, product(stepRow, stepTokens));
  plan.scratchBytes = scratchBytes;
  uint64_t total = 0;
  for (uint64_t part :
       {plan.weightBytes, plan.cacheBytes, plan.workspaceBytes,
        plan.logitsBytes, plan.streamsBytes, plan.stagingBytes, scratchBytes})
    add(total, part);
  return good && !(total >> 46);
}

/// Cache bytes of a sequence that grow with its context, for each token.
inline double cacheBytesPerToken(const Manifest &m) {
  uint64_t growing = 0;
  for (const Cache &cache : m.caches)
    if (cache.kind == "compressed" || cache.kind == "index")
      for (const CacheComponent &c : cache.components)
        growing += cache.rows * c.rowBytes;
  return m.limits.maxContext ? double(growing) / double(m.limits.maxContext)
                             : 0;
}

/// What would fit into `memory` bytes instead.
struct Remedy {
  int64_t sequences = 0; // at this context; 0: not even one
  int64_t context = 0;   // with this many sequences; 0: none
};

inline Remedy remedyFor(const Manifest &m, const SessionSizes &sizes,
                        const MemoryPlan &plan, uint64_t memory) {
  Remedy remedy;
  const uint64_t fixed = plan.peakBytes() - plan.cacheBytes;
  if (fixed >= memory)
    return remedy;
  const uint64_t room = memory - fixed;
  if (plan.cacheBytesPerSequence) {
    remedy.sequences = int64_t(room / plan.cacheBytesPerSequence);
    uint64_t taken = 0;
    while (remedy.sequences > 0 &&
           (!cacheBytesFor(m, remedy.sequences, plan.rules, taken) ||
            taken > room))
      --remedy.sequences;
  }
  const double slope = cacheBytesPerToken(m);
  const double base =
      double(plan.cacheBytesPerSequence) - slope * double(m.limits.maxContext);
  double lost = 0; // at most, to the granularity
  for (const Cache &cache : m.caches)
    lost += double(cache.components.size() * (plan.rules.granularity - 1));
  const double each =
      (double(room) - lost) / double(std::max<int64_t>(1, sizes.sequences));
  if (slope > 0 && each > base)
    remedy.context = int64_t(std::min((each - base) / slope, 0x1p62));
  return remedy;
}

/// "9.66 GB": three digits, of powers of ten as memory is sold.
inline std::string sizeText(uint64_t bytes) {
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = double(bytes);
  int unit = 0;
  while (value >= 999.5 && unit < 5) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text),
                unit == 0 || value >= 99.95 ? "%.0f %s"
                : value >= 9.995            ? "%.1f %s"
                                            : "%.2f %s",
                value, units[unit]);
  return text;
}

/// Empty where the plan fits into `memory` bytes; otherwise why it does not and
/// what to change, one line.
inline std::string whyNot(const Manifest &m, const SessionSizes &sizes,
                          const MemoryPlan &plan, uint64_t memory) {
  if (plan.peakBytes() <= memory)
    return "";
  std::string text =
      "it needs " + sizeText(plan.peakBytes()) + " (weights " +
      sizeText(plan.weightBytes) + ", caches " + sizeText(plan.cacheBytes) +
      ", the rest " +
      sizeText(plan.peakBytes() - plan.weightBytes - plan.cacheBytes) +
      ") and there are " + sizeText(memory);
  if (plan.weightBytes >= memory)
    return text + ": the weights alone do not fit";
  const Remedy remedy = remedyFor(m, sizes, plan, memory);
  if (remedy.sequences < 1 && remedy.context < 1)
    return text + ": no context fits beside the weights; " +
           (sizes.logitRows > std::max(sizes.sequences, m.limits.maxStepTokens)
                ? "fewer rows of logits make the rest smaller (" +
                      std::to_string(sizes.logitRows) + " take " +
                      sizeText(plan.logitsBytes) + ")"
                : "a smaller --max-step-tokens makes the rest smaller");
  text += "; what fits: ";
  if (remedy.sequences >= 1)
    text += std::to_string(std::min(remedy.sequences, sizes.sequences)) +
            " sequences of " + std::to_string(m.limits.maxContext) + " tokens";
  if (remedy.sequences >= 1 && remedy.context >= 1)
    text += ", or ";
  if (remedy.context >= 1)
    text += std::to_string(sizes.sequences) + " of " +
            std::to_string(std::min(remedy.context, m.limits.maxContext)) +
            " tokens";
  return text;
}

} // namespace fathom::format
