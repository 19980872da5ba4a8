// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Session::feed: checks a call, cuts it into steps, runs them.
#include "runtime/format/MemoryPlan.h"
#include "runtime/src/Session.h"

#include <algorithm>
#include <cstring>

namespace fathom::rt {

namespace {

std::string slotName(int32_t slot) { return "slot " + std::to_string(slot); }

} // namespace

Status Session::checkSequence(int stage, const fathom_tokens &sequence) {
  const int32_t slot = sequence.slot;
  if (length(slot) < 0)
    return Status(FATHOM_USAGE, slotName(slot) +
                                    " holds no sequence (slots "
                                    "are 0 to " +
                                    std::to_string(maxSequences - 1) +
                                    ", taken by fathom_session_add)");
  if (broken[slot])
    return Status(FATHOM_USAGE,
                  slotName(slot) +
                      " holds a sequence that a call broke off half-way; "
                      "remove it (fathom_session_remove) and feed its tokens "
                      "to a new one");
  if (lastMention[slot] == callNumber)
    return Status(FATHOM_USAGE, slotName(slot) + " occurs twice in one call");
  lastMention[slot] = callNumber;
  if (sequence.count < 0 || (sequence.count > 0 && !sequence.ids))
    return Status(FATHOM_USAGE, slotName(slot) + ": no tokens given");
  if (sequence.logits < 0 || sequence.logits > sequence.count)
    return Status(FATHOM_USAGE, slotName(slot) + ": logits wanted of " +
                                    std::to_string(sequence.logits) + " of " +
                                    std::to_string(sequence.count) + " tokens");
  // Before the ids are read: a count that is no count ends here.
  const int64_t held = stageStates[stage].lengths[slot];
  if (sequence.count > maxContext - held)
    return Status(FATHOM_RESOURCES,
                  "context overrun: " + slotName(slot) + " holds " +
                      std::to_string(held) + " tokens, " +
                      std::to_string(sequence.count) +
                      " more exceed the limit of " +
                      std::to_string(maxContext) +
                      "; compile with a larger --max-context or shorten the "
                      "input");
  const int64_t vocabulary = engine->manifest().model.vocabularySize;
  for (int64_t i = 0; i < sequence.count; ++i)
    if (sequence.ids[i] < 0 || sequence.ids[i] >= vocabulary)
      return Status(FATHOM_USAGE,
                    "token id " + std::to_string(sequence.ids[i]) +
                        " (number " + std::to_string(i) + " for " +
                        slotName(slot) + ") is out of range: the vocabulary " +
                        "has ids 0 to " + std::to_string(vocabulary - 1));
  if (stage == 0 || sequence.count == 0)
    return Status();
  const Kept &kept = stageStates[stage - 1].kept[slot];
  if (held < kept.position ||
      held + sequence.count > kept.position + kept.count)
    return Status(
        FATHOM_USAGE,
        "MTP layer " + std::to_string(stage - 1) + " needs the streams of " +
            slotName(slot) + " at positions " + std::to_string(held) + " to " +
            std::to_string(held + sequence.count - 1) +
            ", the call before kept " + std::to_string(kept.position) + " to " +
            std::to_string(kept.position + kept.count) +
            " (exclusive); call it after each step, of at most " +
            std::to_string(keptTokens) + " tokens (kept_tokens)");
  return Status();
}

Status Session::check(int stage, const fathom_tokens *sequences, size_t count,
                      int64_t &tokens, int64_t &rows) {
  ++callNumber;
  if (count && !sequences)
    return Status(FATHOM_USAGE, "no sequences given");
  if (count > static_cast<size_t>(maxSequences))
    return Status(FATHOM_RESOURCES,
                  std::to_string(count) + " sequences in one step, the " +
                      "session has " + std::to_string(maxSequences) + " slots");
  tokens = rows = 0;
  for (size_t i = 0; i < count; ++i) {
    if (Status s = checkSequence(stage, sequences[i]); s.failed())
      return s;
    tokens += sequences[i].count;
    rows += sequences[i].logits;
  }
  return Status();
}

/// Copies kept streams of a slot to the input of the next stage.
Status Session::gatherStreams(const Stage &from, int32_t slot, int64_t position,
                              int64_t count, int64_t toRow) {
  const Kept &kept = from.kept[slot];
  const uint64_t row = from.streamRowBytes;
  return device.table->copy(
      device.self, CopyKind::WithinDevice,
      static_cast<uint8_t *>(streamsInput) + uint64_t(toRow) * row,
      static_cast<const uint8_t *>(from.streams) +
          uint64_t(kept.row + position - kept.position) * row,
      uint64_t(count) * row, stream);
}

/// Of the sequences of the call, and waits for what is queued.
void Session::breakOff() {
  for (size_t slot = 0; slot < broken.size(); ++slot)
    if (lastMention[slot] == callNumber)
      broken[slot] = 1;
  try {
    (void)device.table->synchronise(device.self, stream);
  } catch (const std::exception &) { // no memory for words on a failure
  }
}

/// How many of the next tokens of the call are a step: as many as one takes,
/// and no more rows of logits than a device that hands them on has room for.
int64_t Session::measurePiece(const Stage &stage,
                              const fathom_tokens *sequences, size_t count,
                              Cursor cursor) const {
  const int64_t limit = engine->stepTokensOf(stage.entry);
  int64_t tokens = 0;
  int64_t room = device.table->sharesHostMemory ? limit : maxLogitRows;
  for (; cursor.sequence < count && tokens < limit; ++cursor.sequence) {
    const fathom_tokens &s = sequences[cursor.sequence];
    const int64_t silent =
        std::max<int64_t>(0, s.count - s.logits - cursor.offset);
    const int64_t left = s.count - cursor.offset;
    const int64_t take = std::min({limit - tokens, left, silent + room});
    tokens += take;
    room -= std::max<int64_t>(0, take - silent);
    if (take < left)
      break;
    cursor.offset = 0;
  }
  return tokens;
}

/// Takes the next `tokens` tokens of the call into the inputs of a step. Their
/// streams will lie from row `keepAt` on.
Status Session::buildPiece(int stageIndex, Plan &plan,
                           const fathom_tokens *sequences, Cursor &cursor,
                           int64_t keepAt, int64_t tokens, int64_t &rows) {
  Stage &stage = stageStates[stageIndex];
  int32_t *ids = plan.ids(), *positions = plan.positions(),
          *slots = plan.slots(), *wanted = plan.rows();
  rows = 0;
  for (int64_t at = 0; at < tokens;) {
    const fathom_tokens &s = sequences[cursor.sequence];
    const int64_t take = std::min(tokens - at, s.count - cursor.offset);
    const int64_t position = stage.lengths[s.slot];
    if (stageIndex > 0 && take > 0)
      if (Status status = gatherStreams(stageStates[stageIndex - 1], s.slot,
                                        position, take, at);
          status.failed())
        return status;
    Kept &kept = stage.kept[s.slot];
    // A sequence that goes on where it was cut off keeps both parts: the first
    // one ends where this piece begins, and is none if it was overwritten.
    if (kept.count == 0)
      kept = Kept{position, keepAt + at, 0};
    kept.count += take;
    for (int64_t i = 0; i < take; ++i, ++at) {
      ids[at] = s.ids[cursor.offset + i];
      positions[at] = static_cast<int32_t>(position + i);
      slots[at] = s.slot;
      if (cursor.offset + i >= s.count - s.logits)
        wanted[rows++] = static_cast<int32_t>(at);
    }
    stage.lengths[s.slot] += take;
    cursor.offset += take;
    if (cursor.offset < s.count)
      break;
    ++cursor.sequence;
    cursor.offset = 0;
  }
  return Status();
}

size_t Session::planFor(const Stage &stage, int64_t tokens) const {
  size_t plan = 0;
  while (stage.plans[plan].maxTokens() < tokens)
    ++plan;
  return plan;
}

/// The addresses of a step whose streams are kept from row `keepAt` on.
StepValues Session::valuesAt(Stage &stage, int64_t keepAt) {
  StepValues values;
  values.logits = logitsBuffer;
  values.streamsIn = streamsInput;
  values.streamsOut = static_cast<uint8_t *>(stage.streams) +
                      uint64_t(keepAt) * stage.streamRowBytes;
  const PortMap &ports = engine->ports(stage.entry);
  const format::Entry &entry = engine->manifest().entries[stage.entry];
  for (size_t layer = 0; layer < stage.layers.size(); ++layer)
    stage.layersOfStep[layer] =
        static_cast<uint8_t *>(stage.layers[layer]) +
        uint64_t(keepAt) * entry.outputs[ports.layers[layer]].rowBytes;
  values.layers = stage.layersOfStep.data();
  return values;
}

/// Makes a graph of what `queue` queues.
template <typename Queue> Status Session::record(void *&graph, Queue queue) {
  const DriverTable &table = *device.table;
  if (Status s = table.beginRecording(device.self, stream); s.failed())
    return s;
  Status queued = queue();
  void *made = nullptr;
  Status ended = table.endRecording(device.self, stream, &made);
  if (queued.failed() || ended.failed()) {
    if (made)
      table.destroyGraph(device.self, made);
    return queued.failed() ? queued : ended;
  }
  graph = made;
  return Status();
}

/// Before the first step, so that none has to wait or takes memory: every step
/// of one token each of up to as many sequences as there are, where every
/// argument is what it is in all such steps.
Status Session::recordGraphs() {
  const DriverTable &table = *device.table;
  if (!table.recordsGraphs || !table.beginRecording)
    return Status();
  for (Stage &stage : stageStates) {
    const int64_t most = std::min(
        {maxSequences, maxLogitRows, engine->stepTokensOf(stage.entry)});
    for (int64_t tokens = 1; tokens <= most; ++tokens) {
      const size_t plan = planFor(stage, tokens);
      StepValues values = valuesAt(stage, 0);
      values.tokens = values.rows = tokens;
      if (Status s =
              record(stage.graphs[plan][tokens],
                     [&] { return queueStep(stage, plan, values, nullptr); });
          s.failed())
        return s;
      if (&stage != &stageStates[0] || greedyPlans.empty() ||
          tokens > mostChosen())
        continue;
      if (Status s = record(chains[plan][tokens],
                            [&] { return queueChosen(plan, values, nullptr); });
          s.failed())
        return s;
    }
  }
  return table.synchronise(device.self, stream);
}

Status Session::queueStep(Stage &stage, size_t plan, const StepValues &values,
                          const Stopwatch *watch) {
  if (Status s = stage.plans[plan].upload(stream); s.failed())
    return s;
  return stage.plans[plan].launch(stream, values, watch);
}

/// Queues one step: where there is one, as a graph.
Status Session::runPiece(Stage &stage, size_t plan, const StepValues &values,
                         bool isFirst) {
  // A graph copies what is there when it runs.
  stage.plans[plan].setCounts(values);
  void *graph =
      isFirst && values.rows == values.tokens && values.tokens <= maxSequences
          ? stage.graphs[plan][values.tokens]
          : nullptr;
  if (graph && !profiling)
    return device.table->replay(device.self, graph, stream);
  return queueStep(stage, plan, values, profiling ? &stopwatch : nullptr);
}

Status Session::feed(int stageIndex, const fathom_tokens *sequences,
                     size_t count, float *logits, const float **firstRow) {
  int64_t allTokens = 0, allRows = 0;
  if (Status s = check(stageIndex, sequences, count, allTokens, allRows);
      s.failed())
    return s;
  if (!logits && allRows > maxLogitRows)
    return Status(FATHOM_RESOURCES,
                  "logits of " + std::to_string(allRows) +
                      " tokens wanted, the session has room for " +
                      std::to_string(maxLogitRows) + " (max_logit_rows)");
  if (firstRow)
    *firstRow = logits ? logits : logitsHost;
  std::lock_guard<std::mutex> lock(engine->deviceMutex());
  Change change(*this);
  return change.end(
      feedPieces(stageIndex, sequences, count, allTokens, logits));
}

Status Session::feedPieces(int stageIndex, const fathom_tokens *sequences,
                           size_t count, int64_t allTokens, float *logits) {
  const bool shared = device.table->sharesHostMemory;
  float *out = logits ? logits : logitsHost;
  Stage &stage = stageStates[stageIndex];
  for (Kept &kept : stage.kept)
    kept = Kept();
  // All streams of the call if they fit, else those of each step in turn.
  const bool keepAll = allTokens <= keptTokens;
  const int64_t vocabulary = engine->manifest().model.vocabularySize;
  Cursor cursor;
  for (int64_t done = 0; done < allTokens;) {
    const int64_t keepAt = keepAll ? done : 0;
    if (!keepAll)
      for (Kept &kept : stage.kept)
        kept = Kept();
    const int64_t tokens = measurePiece(stage, sequences, count, cursor);
    const size_t plan = planFor(stage, tokens);
    StepValues values = valuesAt(stage, keepAt);
    values.tokens = tokens;
    if (shared)
      values.logits = out;
    if (Status s = buildPiece(stageIndex, stage.plans[plan], sequences, cursor,
                              keepAt, tokens, values.rows);
        s.failed())
      return s;
    if (Status s = runPiece(stage, plan, values, keepAt == 0); s.failed())
      return s;
    // What has to be brought to `out`. The caller's memory takes no copy that
    // may be under way after a failure.
    const uint64_t bytes =
        shared ? 0 : uint64_t(values.rows * vocabulary) * sizeof(float);
    float *read = logits ? logitsHost : out;
    if (bytes)
      if (Status s = device.table->copy(device.self, CopyKind::ToHost, read,
                                        logitsBuffer, bytes, stream);
          s.failed())
        return s;
    if (Status s = device.table->synchronise(device.self, stream); s.failed())
      return s;
    if (bytes && logits)
      std::memcpy(out, read, bytes);
    out += values.rows * vocabulary;
    done += tokens;
  }
  return Status();
}

// ---- Steps that choose their own next tokens
// ----------------------------------

/// Queues a step and the choice that its logits lead to, which becomes the
/// inputs of the next one.
Status Session::queueChosen(size_t plan, const StepValues &values,
                            const Stopwatch *watch) {
  if (Status s = stageStates[0].plans[plan].launch(stream, values, watch);
      s.failed())
    return s;
  return greedyPlans[plan].launch(stream, values, watch);
}

Status Session::generate(const int32_t *slots, const int32_t *ids, size_t count,
                         int64_t steps, int32_t *chosen) {
  if (greedyPlans.empty())
    return Status(FATHOM_UNSUPPORTED,
                  "the package cannot choose tokens itself; compile the model "
                  "again with a fathomc of this version");
  if (steps < 0)
    return Status(FATHOM_USAGE,
                  std::to_string(steps) + " steps; give 0 or more");
  if (count && (!slots || !ids || (steps && !chosen)))
    return Status(FATHOM_USAGE, "no sequences, or no place for what is chosen");
  if (int64_t(count) > maxSequences)
    return Status(FATHOM_RESOURCES,
                  std::to_string(count) + " sequences, the session has " +
                      std::to_string(maxSequences) + " slots");
  ++callNumber;
  Stage &stage = stageStates[0];
  for (size_t i = 0; i < count; ++i) {
    const fathom_tokens one = {slots[i], &ids[i], 1, 1};
    if (Status s = checkSequence(0, one); s.failed())
      return s;
    if (steps > maxContext - stage.lengths[slots[i]])
      return Status(FATHOM_RESOURCES,
                    "context overrun: " + slotName(slots[i]) + " holds " +
                        std::to_string(stage.lengths[slots[i]]) + " tokens, " +
                        std::to_string(steps) + " more exceed the limit of " +
                        std::to_string(maxContext));
  }
  if (!count || !steps)
    return Status();
  std::lock_guard<std::mutex> lock(engine->deviceMutex());
  Change change(*this);
  // One group after the other: no sequence depends on another one.
  const size_t most = size_t(mostChosen());
  for (size_t at = 0; at < count; at += most)
    if (Status s =
            generateGroup(slots + at, ids + at, std::min(most, count - at),
                          steps, chosen + int64_t(at) * steps);
        s.failed())
      return s;
  return change.end(Status());
}

/// How many sequences go on together by themselves.
int64_t Session::mostChosen() const {
  return std::min({maxLogitRows, engine->stepTokensOf(stageStates[0].entry),
                   engine->stepTokensOf(engine->greedyEntry())});
}

Status Session::generateGroup(const int32_t *slots, const int32_t *ids,
                              size_t count, int64_t steps, int32_t *chosen) {
  Stage &stage = stageStates[0];
  const size_t index = planFor(stage, int64_t(count));
  Plan &plan = stage.plans[index];
  StepValues values = valuesAt(stage, 0);
  values.tokens = values.rows = int64_t(count);
  for (Kept &kept : stage.kept)
    kept = Kept();
  for (size_t i = 0; i < count; ++i) {
    plan.ids()[i] = ids[i];
    plan.positions()[i] = static_cast<int32_t>(stage.lengths[slots[i]]);
    plan.slots()[i] = slots[i];
    plan.rows()[i] = static_cast<int32_t>(i);
    stage.lengths[slots[i]] += steps;
    // The last step's streams stay.
    stage.kept[slots[i]] = {stage.lengths[slots[i]] - 1, int64_t(i), 1};
  }
  plan.setCounts(values);
  if (Status s = plan.upload(stream); s.failed())
    return s;
  void *graph = chains[index][count];
  const uint8_t *next = static_cast<const uint8_t *>(plan.inputs().device) +
                        format::InputLayout::ids;
  for (int64_t done = 0; done < steps;) {
    const int64_t batch = std::min(steps - done, kChosenSteps);
    for (int64_t k = 0; k < batch; ++k) {
      Status queued =
          graph && !profiling
              ? device.table->replay(device.self, graph, stream)
              : queueChosen(index, values, profiling ? &stopwatch : nullptr);
      if (queued.failed())
        return queued;
      if (Status s = device.table->copy(device.self, CopyKind::ToHost,
                                        chosenHost + k * int64_t(count), next,
                                        count * 4, stream);
          s.failed())
        return s;
    }
    if (Status s = device.table->synchronise(device.self, stream); s.failed())
      return s;
    for (size_t i = 0; i < count; ++i)
      for (int64_t k = 0; k < batch; ++k)
        chosen[int64_t(i) * steps + done + k] =
            chosenHost[k * int64_t(count) + int64_t(i)];
    done += batch;
  }
  return Status();
}

} // namespace fathom::rt
