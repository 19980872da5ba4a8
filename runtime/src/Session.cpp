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
                          engine.allocationRules(), plan))
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
  format::planMemory(m, sizesOf(o), engine.scratchBytes(),
                     engine.allocationRules(), plan);
  const uint64_t others = engine.sessionBytes();
  const uint64_t memory =
      engine.memoryLimit() - std::min(others, engine.memoryLimit());
  const std::string why = format::whyNot(m, sizesOf(o), plan, memory);
  if (why.empty())
    return Status();
  return Status(FATHOM_RESOURCES,
                "the model does not fit into memory: " + why +
                    (others ? " (beside other sessions)" : "") +
                    (engine.driver().table->sharesHostMemory
                         ? "; give a larger memory limit (--memory) to run "
                           "all the same, reading weights from the disk again "
                           "and again"
                         : ""));
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
  std::unique_ptr<Session> session(new Session());
  session->engine = std::move(engine);
  session->device = session->engine->driver();
  session->maxSequences = filled.max_sequences;
  session->maxContext = filled.max_context;
  session->maxLogitRows = filled.max_logit_rows;
  session->keptTokens = filled.kept_tokens;
  if (Status s = session->makeSession(filled); s.failed())
    return s;
  out = std::move(session);
  return Status();
}

Session::~Session() {
  std::lock_guard<std::mutex> lock(engine->deviceMutex());
  if (stream)
    (void)device.table->synchronise(device.self, stream);
  auto destroyGraphs = [&](std::vector<std::vector<void *>> &all) {
    for (std::vector<void *> &byTokens : all)
      for (void *graph : byTokens)
        if (graph)
          device.table->destroyGraph(device.self, graph);
  };
  for (Stage &stage : stageStates)
    destroyGraphs(stage.graphs);
  destroyGraphs(chains);
  for (void *event : {stopwatch.from, stopwatch.to})
    if (event)
      device.table->destroyEvent(device.self, event);
  if (stream)
    device.table->destroyStream(device.self, stream);
  for (auto [host, bytes] : hostMemory)
    device.table->releaseHost(device.self, host, bytes);
  if (!memory.empty())
    device.table->release(device.self, requests.data(), requests.size(),
                          memory.data());
  engine->countSessionBytes(-static_cast<int64_t>(ownBytes));
}

// ---- Memory -----------------------------------------------------------------

void Session::want(std::string name, uint64_t bytes, void **place) {
  requests.push_back({std::move(name), bytes});
  places.push_back(place);
}

/// Grants all that was wanted.
Status Session::allocate() {
  std::vector<void *> granted(requests.size(), nullptr);
  if (Status s = device.table->allocate(device.self, requests.data(),
                                        requests.size(), granted.data());
      s.failed())
    return s;
  memory = std::move(granted);
  for (size_t i = 0; i < memory.size(); ++i) {
    *places[i] = memory[i];
    ownBytes += engine->allocationRules().taken(requests[i].bytes);
  }
  places.clear();
  engine->countSessionBytes(static_cast<int64_t>(ownBytes));
  return Status();
}

Status Session::allocateHost(uint64_t bytes, void **out) {
  if (Status s = device.table->allocateHost(device.self, bytes, out);
      s.failed())
    return s;
  hostMemory.emplace_back(*out, bytes);
  return Status();
}

/// What format::planMemory counts.
void Session::wantAll(std::vector<std::vector<InputBlock>> &blocks) {
  const Manifest &m = engine->manifest();
  uint64_t workspace = 0;
  for (const format::Entry &entry : m.entries)
    for (const format::Specialisation &s : entry.specialisations)
      workspace = std::max(workspace, s.workspaceBytes);
  want("workspace", workspace, &buffers.workspace);
  want("logits", uint64_t(maxLogitRows) * uint64_t(m.model.vocabularySize) * 4,
       &logitsBuffer);
  buffers.caches.resize(m.caches.size());
  for (size_t i = 0; i < m.caches.size(); ++i) {
    const Cache &cache = m.caches[i];
    buffers.caches[i].resize(cache.components.size());
    for (size_t c = 0; c < cache.components.size(); ++c)
      want(cache.name + "." + cache.components[c].name,
           cache.rows * cache.components[c].rowBytes * uint64_t(maxSequences),
           &buffers.caches[i][c]);
  }
  const size_t stageCount = 1 + size_t(engine->mtpLayers());
  if (stageCount > 1)
    want("streams of the step before",
         format::streamRowBytes(m.entries[engine->stepEntry()]) *
             uint64_t(m.limits.maxStepTokens),
         &streamsInput);
  stageStates.resize(stageCount);
  blocks.resize(stageCount);
  for (size_t i = 0; i < stageCount; ++i) {
    Stage &stage = stageStates[i];
    stage.entry = i ? engine->mtpEntry(int(i) - 1) : engine->stepEntry();
    const format::Entry &entry = m.entries[stage.entry];
    stage.streamRowBytes = format::streamRowBytes(entry);
    want(entry.name + " streams", stage.streamRowBytes * uint64_t(keptTokens),
         &stage.streams);
    const std::vector<int> &layers = engine->ports(stage.entry).layers;
    stage.layers.resize(layers.size());
    for (size_t layer = 0; layer < layers.size(); ++layer)
      want(entry.name + " streams after layer " + std::to_string(layer),
           entry.outputs[layers[layer]].rowBytes * uint64_t(keptTokens),
           &stage.layers[layer]);
    blocks[i].resize(entry.specialisations.size());
    for (size_t s = 0; s < blocks[i].size(); ++s) {
      const int64_t tokens = entry.specialisations[s].maxTokens;
      blocks[i][s].maxTokens = tokens;
      want(entry.name + " inputs of up to " + std::to_string(tokens),
           format::InputLayout(tokens).bytes, &blocks[i][s].device);
    }
  }
}

/// The host's side of inputs and results.
Status
Session::allocateHostParts(std::vector<std::vector<InputBlock>> &blocks) {
  void *place = nullptr;
  if (Status s = allocateHost(
          uint64_t(kChosenSteps) * uint64_t(maxSequences) * 4, &place);
      s.failed())
    return s;
  chosenHost = static_cast<int32_t *>(place);
  if (device.table->sharesHostMemory) {
    logitsHost = static_cast<float *>(logitsBuffer);
    for (std::vector<InputBlock> &ofStage : blocks)
      for (InputBlock &block : ofStage)
        block.host = static_cast<uint8_t *>(block.device);
    return Status();
  }
  if (Status s = allocateHost(
          uint64_t(maxLogitRows) *
              uint64_t(engine->manifest().model.vocabularySize) * 4,
          &place);
      s.failed())
    return s;
  logitsHost = static_cast<float *>(place);
  for (std::vector<InputBlock> &ofStage : blocks)
    for (InputBlock &block : ofStage) {
      if (Status s =
              allocateHost(format::InputLayout(block.maxTokens).bytes, &place);
          s.failed())
        return s;
      block.host = static_cast<uint8_t *>(place);
    }
  return Status();
}

void Session::makePlans(const std::vector<std::vector<InputBlock>> &blocks) {
  const Manifest &m = engine->manifest();
  for (size_t i = 0; i < stageStates.size(); ++i) {
    Stage &stage = stageStates[i];
    const format::Entry &entry = m.entries[stage.entry];
    stage.lengths.assign(maxSequences, 0);
    stage.kept.assign(maxSequences, Kept());
    stage.layersOfStep = stage.layers;
    stage.plans.reserve(entry.specialisations.size());
    for (size_t s = 0; s < entry.specialisations.size(); ++s)
      stage.plans.emplace_back(*engine, stage.entry, entry.specialisations[s],
                               buffers, blocks[i][s]);
    stage.graphs.assign(stage.plans.size(),
                        std::vector<void *>(size_t(maxSequences) + 1));
  }
  if (engine->greedyEntry() < 0)
    return;
  // The choice reads and writes the inputs of the step that it follows.
  const format::Entry &greedy = m.entries[engine->greedyEntry()];
  for (const Plan &plan : stageStates[0].plans)
    for (const format::Specialisation &s : greedy.specialisations)
      if (s.maxTokens >= plan.maxTokens()) {
        greedyPlans.emplace_back(*engine, engine->greedyEntry(), s, buffers,
                                 plan.inputs());
        break;
      }
  chains = stageStates[0].graphs;
}

Status Session::makeSession(const fathom_session_options &filled) {
  std::lock_guard<std::mutex> lock(engine->deviceMutex());
  if (Status s = checkFits(*engine, filled); s.failed())
    return s;
  if (Status s = device.table->createStream(device.self, &stream); s.failed())
    return s;
  for (void **event : {&stopwatch.from, &stopwatch.to})
    if (Status s = device.table->createEvent(device.self, event); s.failed())
      return s;
  std::vector<std::vector<InputBlock>> blocks;
  wantAll(blocks);
  if (Status s = allocate(); s.failed())
    return s;
  if (Status s = allocateHostParts(blocks); s.failed())
    return s;
  makePlans(blocks);
  active.assign(maxSequences, 0);
  used.assign(maxSequences, 0);
  broken.assign(maxSequences, 0);
  lastMention.assign(maxSequences, 0);
  return recordGraphs();
}

// ---- Sequences ------------------------------------------------------------

Status Session::add(int32_t &slot) {
  for (int64_t i = 0; i < maxSequences; ++i) {
    if (active[i])
      continue;
    // A slot that is used again starts from what a fresh one holds. It is free
    // until it does.
    if (used[i])
      if (Status s = clearStates(int32_t(i)); s.failed())
        return s;
    for (Stage &stage : stageStates) {
      stage.lengths[i] = 0;
      stage.kept[i] = Kept();
    }
    active[i] = used[i] = 1;
    broken[i] = 0;
    slot = static_cast<int32_t>(i);
    return Status();
  }
  return Status(FATHOM_RESOURCES,
                "all " + std::to_string(maxSequences) +
                    " sequence slots are taken; remove a sequence, or create "
                    "the session (and compile the package) for more");
}

Status Session::clearStates(int32_t slot) {
  std::lock_guard<std::mutex> lock(engine->deviceMutex());
  const Manifest &m = engine->manifest();
  for (size_t i = 0; i < m.caches.size(); ++i) {
    if (m.caches[i].kind != "state")
      continue;
    for (size_t c = 0; c < m.caches[i].components.size(); ++c) {
      const uint64_t bytes =
          m.caches[i].rows * m.caches[i].components[c].rowBytes;
      if (Status s =
              device.table->fill(device.self,
                                 static_cast<uint8_t *>(buffers.caches[i][c]) +
                                     bytes * uint64_t(slot),
                                 0, bytes, stream);
          s.failed())
        return s;
    }
  }
  return Status();
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

} // namespace fathom::rt
