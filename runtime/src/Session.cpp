// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/src/Session.h"

#include "runtime/format/MemoryPlan.h"

#include <algorithm>
#include <limits>

namespace fathom::rt {

namespace {

using format::Cache;
using format::Manifest;

Status choose(const char *what, int64_t wanted, int64_t limit, int64_t fallback,
              int64_t &out) {
  if (wanted < 0)
    return Status(FATHOM_USAGE, std::string(what) + " is negative");
  if (limit && wanted > limit)
    return Status(FATHOM_RESOURCES,
                  std::string(what) + " " + std::to_string(wanted) +
                      " is more than the " + std::to_string(limit) +
                      " that the package was compiled for; compile the model "
                      "with a larger limit");
  out = wanted ? wanted : fallback;
  return Status();
}

Status fillOptions(const Manifest &m, const fathom_session_options &given,
                   fathom_session_options &out) {
  if (Status s =
          choose("max_sequences", given.max_sequences, m.limits.maxSequences,
                 m.limits.maxSequences, out.max_sequences);
      s.failed())
    return s;
  if (Status s = choose("max_context", given.max_context, m.limits.maxContext,
                        m.limits.maxContext, out.max_context);
      s.failed())
    return s;
  if (Status s = choose("max_logit_rows", given.max_logit_rows, 0,
                        std::max(out.max_sequences, m.limits.maxStepTokens),
                        out.max_logit_rows);
      s.failed())
    return s;
  if (Status s = choose("kept_tokens", given.kept_tokens, 0,
                        m.limits.maxStepTokens, out.kept_tokens);
      s.failed())
    return s;
  // One step's streams must fit.
  out.kept_tokens = std::max(out.kept_tokens, m.limits.maxStepTokens);
  return Status();
}

format::SessionSizes sizesOf(const fathom_session_options &o) {
  return {o.max_sequences, o.max_logit_rows, o.kept_tokens};
}

Status computeMemory(const Engine &engine, const fathom_session_options &o,
                     fathom_session_memory &out) {
  format::MemoryPlan plan;
  if (!format::planMemory(engine.manifest(), sizesOf(o), engine.scratchBytes(),
                          plan))
    return Status(FATHOM_RESOURCES,
                  "the session would need more memory than can be addressed; "
                  "ask for fewer sequences or logit rows");
  out.weight_bytes = plan.weightBytes;
  out.cache_bytes_per_sequence = plan.cacheBytesPerSequence;
  out.cache_bytes = plan.cacheBytes;
  out.workspace_bytes = plan.workspaceBytes;
  out.logits_bytes = plan.logitsBytes;
  out.streams_bytes = plan.streamsBytes;
  out.staging_bytes = plan.stagingBytes;
  out.scratch_bytes = plan.scratchBytes;
  out.total_bytes = plan.sessionBytes() + plan.scratchBytes;
  out.peak_bytes = plan.peakBytes();
  return Status();
}

/// The check that `fathomc plan` makes, against the memory that there is and
/// that no other session of the engine has.
Status checkFits(const Engine &engine, const fathom_session_options &o) {
  const Manifest &m = engine.manifest();
  format::MemoryPlan plan;
  format::planMemory(m, sizesOf(o), engine.scratchBytes(), plan);
  const uint64_t others = engine.sessionBytes();
  const uint64_t memory =
      engine.memoryLimit() - std::min(others, engine.memoryLimit());
  const std::string why = format::whyNot(m, sizesOf(o), plan, memory);
  if (why.empty())
    return Status();
  return Status(FATHOM_RESOURCES,
                "the model does not fit into memory: " + why +
                    (others ? " (beside other sessions)" : "") +
                    "; give a larger memory limit (--memory) to run all the "
                    "same, reading weights from the disk again and again");
}

} // namespace

Status Session::memoryFor(const Engine &engine,
                          const fathom_session_options &options,
                          fathom_session_memory &out) {
  fathom_session_options filled;
  if (Status s = fillOptions(engine.manifest(), options, filled); s.failed())
    return s;
  return computeMemory(engine, filled, out);
}

Status Session::create(std::shared_ptr<Engine> engine,
                       const fathom_session_options &options,
                       std::unique_ptr<Session> &out) {
  fathom_session_options filled;
  if (Status s = fillOptions(engine->manifest(), options, filled); s.failed())
    return s;
  fathom_session_memory sizes;
  if (Status s = computeMemory(*engine, filled, sizes); s.failed())
    return s;
  if (Status s = checkFits(*engine, filled); s.failed())
    return s;
  std::unique_ptr<Session> session(new Session());
  session->engine = std::move(engine);
  session->maxSequences = filled.max_sequences;
  session->maxContext = filled.max_context;
  session->maxLogitRows = filled.max_logit_rows;
  session->keptTokens = filled.kept_tokens;
  if (Status s = session->allocateAll(sizes); s.failed())
    return s;
  out = std::move(session);
  return Status();
}

Session::~Session() {
  Driver device = engine->driver();
  for (const Allocation &a : allocations)
    device.table->release(device.self, a.memory, a.bytes);
  engine->countSessionBytes(-static_cast<int64_t>(ownBytes));
}

Status Session::allocate(uint64_t bytes, void **out) {
  Driver device = engine->driver();
  if (Status s = device.table->allocate(device.self, bytes, out); s.failed())
    return s;
  allocations.push_back({*out, bytes});
  ownBytes += bytes;
  engine->countSessionBytes(static_cast<int64_t>(bytes));
  return Status();
}

Status Session::allocateAll(const fathom_session_memory &sizes) {
  const Manifest &m = engine->manifest();
  const uint64_t stepTokens = uint64_t(m.limits.maxStepTokens);
  void *memory = nullptr;
  for (int32_t **array :
       {&buffers.ids, &buffers.positions, &buffers.slots, &buffers.rows}) {
    if (Status s = allocate(stepTokens * 4, &memory); s.failed())
      return s;
    *array = static_cast<int32_t *>(memory);
  }
  if (Status s = allocate(sizes.workspace_bytes, &buffers.workspace);
      s.failed())
    return s;
  if (Status s = allocate(sizes.logits_bytes, &memory); s.failed())
    return s;
  logitsBuffer = static_cast<float *>(memory);
  for (const Cache &cache : m.caches) {
    std::vector<void *> components;
    for (const format::CacheComponent &c : cache.components) {
      if (Status s = allocate(cache.rows * c.rowBytes * uint64_t(maxSequences),
                              &memory);
          s.failed())
        return s;
      components.push_back(memory);
    }
    buffers.caches.push_back(std::move(components));
  }
  const int stageCount = 1 + engine->mtpLayers();
  if (stageCount > 1)
    if (Status s =
            allocate(format::streamRowBytes(m.entries[engine->stepEntry()]) * stepTokens,
                     &streamsInput);
        s.failed())
      return s;
  stageStates.resize(stageCount);
  for (int i = 0; i < stageCount; ++i) {
    Stage &stage = stageStates[i];
    stage.entry = i ? engine->mtpEntry(i - 1) : engine->stepEntry();
    stage.lengths.assign(maxSequences, 0);
    stage.kept.assign(maxSequences, Kept());
    stage.streamRowBytes = format::streamRowBytes(m.entries[stage.entry]);
    if (Status s = allocate(stage.streamRowBytes * uint64_t(keptTokens),
                            &stage.streams);
        s.failed())
      return s;
    const format::Entry &entry = m.entries[stage.entry];
    for (int port : engine->ports(stage.entry).layers) {
      if (Status s = allocate(entry.outputs[port].rowBytes * uint64_t(keptTokens),
                              &memory);
          s.failed())
        return s;
      stage.layers.push_back(memory);
    }
    stage.layersOfStep = stage.layers;
    stage.plans.reserve(entry.specialisations.size());
    for (const format::Specialisation &s : entry.specialisations)
      stage.plans.emplace_back(*engine, stage.entry, s, buffers);
  }
  active.assign(maxSequences, 0);
  used.assign(maxSequences, 0);
  lastMention.assign(maxSequences, 0);
  return Status();
}

// ---- Sequences ------------------------------------------------------------

Status Session::add(int32_t &slot) {
  for (int64_t i = 0; i < maxSequences; ++i) {
    if (active[i])
      continue;
    slot = static_cast<int32_t>(i);
    active[i] = 1;
    for (Stage &stage : stageStates) {
      stage.lengths[i] = 0;
      stage.kept[i] = Kept();
    }
    // A slot that is used again starts from what a fresh one holds.
    if (used[i])
      clearStates(slot);
    used[i] = 1;
    return Status();
  }
  return Status(FATHOM_RESOURCES,
                "all " + std::to_string(maxSequences) +
                    " sequence slots are taken; remove a sequence, or create "
                    "the session (and compile the package) for more");
}

void Session::clearStates(int32_t slot) {
  const Manifest &m = engine->manifest();
  for (size_t i = 0; i < m.caches.size(); ++i) {
    if (m.caches[i].kind != "state")
      continue;
    for (size_t c = 0; c < m.caches[i].components.size(); ++c) {
      const uint64_t bytes =
          m.caches[i].rows * m.caches[i].components[c].rowBytes;
      std::memset(static_cast<uint8_t *>(buffers.caches[i][c]) +
                      bytes * uint64_t(slot),
                  0, bytes);
    }
  }
}

Status Session::remove(int32_t slot) {
  if (length(slot) < 0)
    return Status(FATHOM_USAGE,
                  "slot " + std::to_string(slot) + " holds no sequence");
  active[slot] = 0;
  return Status();
}

int64_t Session::length(int32_t slot) const {
  if (slot < 0 || slot >= maxSequences || !active[slot])
    return -1;
  return stageStates[0].lengths[slot];
}

int64_t Session::mtpLength(int32_t layer, int32_t slot) const {
  if (layer < 0 || layer + 1 >= stages() || length(slot) < 0)
    return -1;
  return stageStates[layer + 1].lengths[slot];
}

namespace {

/// Valid codes of every format that mean small numbers: no NaN, no infinity.
void fillRows(const std::string &component, const std::string &format,
              uint8_t *data, uint64_t bytes) {
  if (component == "scales") { // e8m0: 2^-7
    std::memset(data, 120, bytes);
  } else if (component == "codes") {
    // e4m3 in +-[0.125, 1), or any nibbles of e2m1.
    for (uint64_t i = 0; i < bytes; ++i)
      data[i] = static_cast<uint8_t>((format == "fp8" ? 0x20 : 0x13) +
                                     (i * 7 % 24) + (i % 3 ? 0 : 0x80));
  } else if (component == "rope") { // bf16
    for (uint64_t i = 0; i + 2 <= bytes; i += 2) {
      const uint16_t value =
          static_cast<uint16_t>(0x3d00 + (i * 5 % 128) + (i % 6 ? 0 : 0x8000));
      std::memcpy(data + i, &value, 2);
    }
  } else { // f32
    for (uint64_t i = 0; i + 4 <= bytes; i += 4) {
      const float value = (i % 12 ? 0.01f : -0.02f) * float(1 + i / 4 % 7);
      std::memcpy(data + i, &value, 4);
    }
  }
}

} // namespace

Status Session::fillSynthetic(int32_t slot, int64_t target) {
  if (length(slot) != 0)
    return Status(FATHOM_USAGE, "slot " + std::to_string(slot) +
                                    " does not hold an empty sequence");
  if (target < 0 || target > maxContext)
    return Status(FATHOM_RESOURCES, "a context of " + std::to_string(target) +
                                        " tokens is more than the limit of " +
                                        std::to_string(maxContext));
  const Manifest &m = engine->manifest();
  for (size_t i = 0; i < m.caches.size(); ++i) {
    const Cache &cache = m.caches[i];
    uint64_t rows = cache.rows;
    // Rows by block: only those of visible blocks, so that no more memory is
    // touched than a real sequence of this length would touch.
    if (cache.kind == "compressed" || cache.kind == "index")
      rows = static_cast<uint64_t>(
          (__int128(cache.rows) * target + m.limits.maxContext - 1) /
          m.limits.maxContext);
    else if (cache.kind == "window")
      rows = std::min<uint64_t>(rows, uint64_t(target));
    for (size_t c = 0; c < cache.components.size(); ++c) {
      const format::CacheComponent &component = cache.components[c];
      fillRows(component.name, cache.format,
               static_cast<uint8_t *>(buffers.caches[i][c]) +
                   cache.rows * component.rowBytes * uint64_t(slot),
               rows * component.rowBytes);
    }
  }
  for (Stage &stage : stageStates)
    stage.lengths[slot] = target;
  return Status();
}

Status Session::readCache(const std::string &name, const std::string &component,
                          int32_t slot, uint64_t offset, uint64_t size,
                          void *out) const {
  if (length(slot) < 0)
    return Status(FATHOM_USAGE,
                  "slot " + std::to_string(slot) + " holds no sequence");
  const Manifest &m = engine->manifest();
  for (size_t i = 0; i < m.caches.size(); ++i)
    for (size_t c = 0; c < m.caches[i].components.size(); ++c) {
      const format::CacheComponent &found = m.caches[i].components[c];
      if (m.caches[i].name != name || found.name != component)
        continue;
      const uint64_t bytes = m.caches[i].rows * found.rowBytes;
      if (offset > bytes || size > bytes - offset)
        return Status(FATHOM_USAGE, "the component '" + component +
                                        "' of cache '" + name + "' has " +
                                        std::to_string(bytes) + " bytes");
      const uint8_t *data = static_cast<const uint8_t *>(buffers.caches[i][c]);
      Driver device = engine->driver();
      return device.table->copy(device.self, out,
                                data + bytes * uint64_t(slot) + offset, size);
    }
  return Status(FATHOM_USAGE, "the package has no cache '" + name +
                                  "' with a component '" + component + "'");
}

const void *Session::layerStreams(int32_t layer,
                                  const format::Port **port) const {
  const Stage &stage = stageStates[0];
  const std::vector<int> &ports = engine->ports(stage.entry).layers;
  const format::Entry &entry = engine->manifest().entries[stage.entry];
  // Those after the last layer are what MTP reads.
  const bool isLast = layer == int32_t(ports.size()) && !ports.empty();
  if (layer < 0 || (layer >= int32_t(ports.size()) && !isLast))
    return nullptr;
  *port = &entry.outputs[isLast ? engine->ports(stage.entry).streamsOut
                                : ports[layer]];
  return isLast ? stage.streams : stage.layers[layer];
}

// ---- Measuring ------------------------------------------------------------

void Session::profile(bool enable) {
  if (enable)
    for (Stage &stage : stageStates)
      for (Plan &plan : stage.plans)
        plan.clearTimings();
  profiling = enable;
}

std::vector<fathom_kernel_time> Session::kernelTimes() const {
  std::vector<fathom_kernel_time> out;
  for (const Stage &stage : stageStates)
    for (const Plan &plan : stage.plans) {
      const size_t first = out.size();
      for (size_t i = 0; i < plan.launchCount(); ++i) {
        const Plan::Timing &t = plan.timing(i);
        if (!t.launches)
          continue;
        const char *kernel = plan.launch(i).kernel.c_str();
        auto it = std::find_if(out.begin() + first, out.end(),
                               [&](const fathom_kernel_time &r) {
                                 return !std::strcmp(r.kernel, kernel);
                               });
        if (it == out.end()) {
          const char *entry =
              engine->manifest().entries[stage.entry].name.c_str();
          out.push_back({entry, kernel, plan.maxTokens(), 0, 0, 0, 0});
          it = out.end() - 1;
        }
        it->launches += t.launches;
        it->programs += t.programs;
        it->nanoseconds += t.nanoseconds;
        it->weight_bytes += static_cast<uint64_t>(t.weightBytes);
      }
    }
  return out;
}

} // namespace fathom::rt
