// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A loaded package: manifest, kernels, mapped weights, threads. Immutable once
// created, apart from the threads, which one step at a time uses.
#pragma once

#include "runtime/drivers/Drivers.h"
#include "runtime/format/MemoryPlan.h"
#include "runtime/src/Files.h"
#include "runtime/src/Status.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace fathom::rt {

/// The ports that the runtime provides, by position in an entry; -1: absent.
struct PortMap {
  int ids = -1, positions = -1, slots = -1, rows = -1, streamsIn = -1;
  int logits = -1, streamsOut = -1;
  int logitsIn = -1, idsOut = -1, positionsOut = -1; // of "greedy"
  std::vector<int> layers; // streams after layer 0, 1, ...: for looking inside
};

class Engine {
public:
  Engine() = default;
  ~Engine();
  Engine(const Engine &) = delete;
  Engine &operator=(const Engine &) = delete;

  static Status create(const std::string &package,
                       const fathom_engine_options &options,
                       std::shared_ptr<Engine> &out);

  const format::Manifest &manifest() const { return content; }
  /// The instruction-set level or architecture of the loaded kernels.
  const std::string &isa() const { return level; }
  const std::string &directory() const { return packageDirectory; }
  Driver driver() const { return device; }
  /// What the driver says of itself.
  const std::string &deviceName() const { return description; }
  int threads() const { return threadCount; }
  /// The thread that created the engine may go elsewhere again, if it calls.
  void leave() const {
    if (device.table->leave)
      device.table->leave(device.self);
  }
  uint64_t scratchBytes() const { return scratch; }
  format::AllocationRules allocationRules() const {
    return {device.table->granularity, !device.table->sharesHostMemory};
  }
  /// Held by whoever asks something of the driver, the threads included.
  /// Drivers know nothing of threads that call at the same time.
  std::mutex &deviceMutex() { return deviceLock; }

  void *kernel(const std::string &name) const { return kernels.at(name); }
  /// Address for kernels.
  const void *weight(uint32_t index) const { return weights[index]; }
  /// Address for kernels of an array of addresses, one per stacked weight.
  const void *table(uint32_t index) const { return tables[index]; }
  /// Entry "step" is number stepEntry(), MTP layer j is mtpEntry(j).
  int stepEntry() const { return step; }
  int mtpLayers() const { return static_cast<int>(mtp.size()); }
  int mtpEntry(int layer) const { return mtp[layer]; }
  /// The entry that turns logits into the next step's inputs; -1: none.
  int greedyEntry() const { return greedy; }
  const PortMap &ports(int entry) const { return portMaps[entry]; }
  /// The most tokens of a step of an entry: as compiled, or as many as the
  /// driver can launch.
  int64_t stepTokensOf(int entry) const { return stepTokens[entry]; }

  uint64_t mappedBytes() const;
  /// Bytes that weights and sessions together may take.
  uint64_t memoryLimit() const { return memory; }
  /// Of all sessions of the engine that there are.
  uint64_t sessionBytes() const { return inSessions.load(); }
  void countSessionBytes(int64_t change) { inSessions += uint64_t(change); }
  /// Weight bytes that a launch of this entry is expected to read in a step of
  /// `tokens` tokens: an expert as often as someone is expected to choose it.
  double launchWeightBytes(int entry, const format::Launch &launch,
                           int64_t tokens) const;
  uint64_t stepWeightBytes(int64_t tokens) const;
  /// Bytes per second that the device reads: over at most 1 GiB of the
  /// mapping, or of its own memory.
  Status readBandwidth(double seconds, double &bytesPerSecond);

private:
  Status loadManifest();
  Status openDriver(const fathom_engine_options &options);
  Status measureMemory(const fathom_engine_options &options);
  Status checkHost(const std::string &target) const;
  Status checkFinished() const;
  Status chooseCode(const std::string &wanted);
  Status loadImage(const format::Library &library, void **image);
  Status missingKernel(const std::string &kernel) const;
  Status loadKernels();
  Status admit(const format::Specialisation &s, int64_t tokens) const;
  Status measureSteps();
  Status mapWeights(const std::string &checkpoint);
  Status placeWeights(const fathom_engine_options &options);
  Status checkWeightsFit() const;
  Status uploadWeights(const fathom_engine_options &options);
  Status checkEntries();
  Status checkGrids();
  void prefault();
  double hostBandwidth(double seconds);
  Status deviceBandwidth(double seconds, double &bytesPerSecond);

  std::string packageDirectory;
  format::Manifest content;
  std::string level;
  int threadCount = 1;
  uint64_t memory = 0, scratch = 0, scratchPerThread = 0;
  std::atomic<uint64_t> inSessions{0};
  const DriverKind *kind = nullptr;
  Driver device;
  std::string description;
  std::mutex deviceLock;
  std::unordered_map<std::string, void *> kernels;
  std::vector<MappedFile> files;
  std::vector<const void *> weights, tables;
  /// Where the device shares the host's memory: what `tables` points to.
  std::vector<std::vector<const void *>> hostTables;
  /// Where it does not: weights, then tables.
  std::vector<BufferRequest> deviceRequests;
  std::vector<void *> deviceBuffers;
  std::vector<PortMap> portMaps;
  std::vector<int64_t> stepTokens; // by entry
  int step = -1, greedy = -1;
  std::vector<int> mtp;
};

} // namespace fathom::rt
