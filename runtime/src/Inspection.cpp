// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Session: looking into caches and streams, filling caches, measuring.
#include "runtime/src/Session.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fathom::rt {

using format::Cache;
using format::Manifest;

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

/// Copies all of `host` to the device, or from there, and waits. Where that
/// fails the device may still be at it: then `host`, which is not the caller's,
/// is empty, and what it held lives as long as the session.
Status Session::transfer(CopyKind kind, void *onDevice,
                         std::vector<uint8_t> &host) {
  const bool toHost = kind == CopyKind::ToHost;
  Status s =
      device.table->copy(device.self, kind, toHost ? host.data() : onDevice,
                         toHost ? onDevice : host.data(), host.size(), stream);
  if (!s.failed())
    s = device.table->synchronise(device.self, stream);
  if (s.failed())
    abandoned.push_back(std::exchange(host, {}));
  return s;
}

Status Session::fillSynthetic(int32_t slot, int64_t target) {
  if (length(slot) != 0 || broken[slot])
    return Status(FATHOM_USAGE, "slot " + std::to_string(slot) +
                                    " does not hold an empty sequence");
  if (target < 0)
    return Status(FATHOM_USAGE,
                  "a context of " + std::to_string(target) + " tokens");
  if (target > maxContext)
    return Status(FATHOM_RESOURCES, "a context of " + std::to_string(target) +
                                        " tokens is more than the limit of " +
                                        std::to_string(maxContext));
  lastMention[slot] = ++callNumber;
  std::lock_guard<std::mutex> lock(engine->deviceMutex());
  Change change(*this);
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
      uint8_t *to = static_cast<uint8_t *>(buffers.caches[i][c]) +
                    cache.rows * component.rowBytes * uint64_t(slot);
      const uint64_t bytes = rows * component.rowBytes;
      if (device.table->sharesHostMemory) {
        fillRows(component.name, cache.format, to, bytes);
        continue;
      }
      std::vector<uint8_t> pattern(bytes);
      fillRows(component.name, cache.format, pattern.data(), bytes);
      if (Status s = transfer(CopyKind::ToDevice, to, pattern); s.failed())
        return s;
    }
  }
  for (Stage &stage : stageStates)
    stage.lengths[slot] = target;
  return change.end(Status());
}

Status Session::readCache(const std::string &name, const std::string &component,
                          int32_t slot, uint64_t offset, uint64_t size,
                          void *out) {
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
      uint8_t *data = static_cast<uint8_t *>(buffers.caches[i][c]) +
                      bytes * uint64_t(slot) + offset;
      std::vector<uint8_t> copy;
      if (!device.table->sharesHostMemory) {
        copy.resize(size);
        std::lock_guard<std::mutex> lock(engine->deviceMutex());
        if (Status s = transfer(CopyKind::ToHost, data, copy); s.failed())
          return s;
        data = copy.data();
      }
      if (size)
        std::memcpy(out, data, size);
      return Status();
    }
  return Status(FATHOM_USAGE, "the package has no cache '" + name +
                                  "' with a component '" + component + "'");
}

const void *Session::layerStreams(int32_t layer, const format::Port **port) {
  const Stage &stage = stageStates[0];
  const std::vector<int> &ports = engine->ports(stage.entry).layers;
  const format::Entry &entry = engine->manifest().entries[stage.entry];
  // Those after the last layer are what MTP reads.
  const bool isLast = layer == int32_t(ports.size()) && !ports.empty();
  if (layer < 0 || (layer >= int32_t(ports.size()) && !isLast))
    return nullptr;
  *port = &entry.outputs[isLast ? engine->ports(stage.entry).streamsOut
                                : ports[layer]];
  void *rows = isLast ? stage.streams : stage.layers[layer];
  if (device.table->sharesHostMemory)
    return rows;
  layerCopies.resize(ports.size() + 1);
  std::vector<uint8_t> &copy = layerCopies[layer];
  copy.resize((*port)->rowBytes * uint64_t(keptTokens));
  std::lock_guard<std::mutex> lock(engine->deviceMutex());
  return transfer(CopyKind::ToHost, rows, copy).failed() ? nullptr
                                                         : copy.data();
}

// ---- Measuring ------------------------------------------------------------

void Session::profile(bool enable) {
  if (enable) {
    for (Stage &stage : stageStates)
      for (Plan &plan : stage.plans)
        plan.clearTimings();
    for (Plan &plan : greedyPlans)
      plan.clearTimings();
  }
  profiling = enable;
}

namespace {

/// Adds a plan's times, one record a kernel.
void collectTimes(const Plan &plan, const char *entry,
                  std::vector<fathom_kernel_time> &out) {
  const size_t first = out.size();
  for (size_t i = 0; i < plan.launchCount(); ++i) {
    const Plan::Timing &t = plan.timing(i);
    if (!t.launches)
      continue;
    const char *kernel = plan.launchRecord(i).kernel.c_str();
    auto it = std::find_if(out.begin() + first, out.end(),
                           [&](const fathom_kernel_time &r) {
                             return !std::strcmp(r.kernel, kernel);
                           });
    if (it == out.end()) {
      out.push_back({entry, kernel, plan.maxTokens(), 0, 0, 0, 0});
      it = out.end() - 1;
    }
    it->launches += t.launches;
    it->programs += t.programs;
    it->nanoseconds += t.nanoseconds;
    it->weight_bytes += static_cast<uint64_t>(t.weightBytes);
  }
}

} // namespace

std::vector<fathom_kernel_time> Session::kernelTimes() const {
  std::vector<fathom_kernel_time> out;
  auto collect = [&](const std::vector<Plan> &plans) {
    for (const Plan &plan : plans)
      collectTimes(plan,
                   engine->manifest().entries[plan.entryIndex()].name.c_str(),
                   out);
  };
  for (const Stage &stage : stageStates)
    collect(stage.plans);
  collect(greedyPlans);
  return out;
}

} // namespace fathom::rt
