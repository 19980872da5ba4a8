// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Session::feed: checks a call, cuts it into steps, runs them.
#include "runtime/src/Session.h"

#include <algorithm>

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
  if (lastMention[slot] == callNumber)
    return Status(FATHOM_USAGE, slotName(slot) + " occurs twice in one call");
  lastMention[slot] = callNumber;
  if (sequence.count < 0 || (sequence.count > 0 && !sequence.ids))
    return Status(FATHOM_USAGE, slotName(slot) + ": no tokens given");
  if (sequence.logits < 0 || sequence.logits > sequence.count)
    return Status(FATHOM_USAGE, slotName(slot) + ": logits wanted of " +
                                    std::to_string(sequence.logits) + " of " +
                                    std::to_string(sequence.count) + " tokens");
  const int64_t vocabulary = engine->manifest().model.vocabularySize;
  for (int64_t i = 0; i < sequence.count; ++i)
    if (sequence.ids[i] < 0 || sequence.ids[i] >= vocabulary)
      return Status(FATHOM_USAGE,
                    "token id " + std::to_string(sequence.ids[i]) +
                        " (number " + std::to_string(i) + " for " +
                        slotName(slot) + ") is out of range: the vocabulary " +
                        "has ids 0 to " + std::to_string(vocabulary - 1));
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
  Driver device = engine->driver();
  return device.table->copy(
      device.self, static_cast<uint8_t *>(streamsInput) + uint64_t(toRow) * row,
      static_cast<const uint8_t *>(from.streams) +
          uint64_t(kept.row + position - kept.position) * row,
      uint64_t(count) * row);
}

/// Takes the next tokens of the call, at most a step's worth, into the input
/// arrays. Their streams will lie from row `keepAt` on.
Status Session::buildPiece(int stageIndex, const fathom_tokens *sequences,
                           size_t count, Cursor &cursor, int64_t keepAt,
                           int64_t &tokens, int64_t &rows) {
  Stage &stage = stageStates[stageIndex];
  const int64_t limit = engine->manifest().limits.maxStepTokens;
  tokens = rows = 0;
  while (cursor.sequence < count && tokens < limit) {
    const fathom_tokens &s = sequences[cursor.sequence];
    const int64_t take = std::min(limit - tokens, s.count - cursor.offset);
    const int64_t position = stage.lengths[s.slot];
    if (stageIndex > 0 && take > 0)
      if (Status status = gatherStreams(stageStates[stageIndex - 1], s.slot,
                                        position, take, tokens);
          status.failed())
        return status;
    Kept &kept = stage.kept[s.slot];
    // A sequence that goes on where it was cut off keeps both parts, if the
    // first one was not overwritten.
    const bool goesOn =
        kept.count > 0 && tokens == 0 && kept.row + kept.count == keepAt;
    if (!goesOn)
      kept = Kept{position, keepAt + tokens, 0};
    kept.count += take;
    for (int64_t i = 0; i < take; ++i, ++tokens) {
      buffers.ids[tokens] = s.ids[cursor.offset + i];
      buffers.positions[tokens] = static_cast<int32_t>(position + i);
      buffers.slots[tokens] = s.slot;
      if (cursor.offset + i >= s.count - s.logits)
        buffers.rows[rows++] = static_cast<int32_t>(tokens);
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
  float *out = logits ? logits : logitsBuffer;
  if (firstRow)
    *firstRow = out;
  Stage &stage = stageStates[stageIndex];
  for (Kept &kept : stage.kept)
    kept = Kept();
  // All streams of the call if they fit, else those of each step in turn.
  const bool keepAll = allTokens <= keptTokens;
  const int64_t vocabulary = engine->manifest().model.vocabularySize;
  std::lock_guard<std::mutex> lock(engine->stepMutex());
  Cursor cursor;
  int64_t done = 0;
  while (done < allTokens) {
    const int64_t keepAt = keepAll ? done : 0;
    if (!keepAll)
      for (Kept &kept : stage.kept)
        kept = Kept();
    StepValues values;
    if (Status s = buildPiece(stageIndex, sequences, count, cursor, keepAt,
                              values.tokens, values.rows);
        s.failed())
      return s;
    values.logits = out;
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
    Plan *use = &stage.plans.back();
    for (Plan &plan : stage.plans)
      if (plan.maxTokens() >= values.tokens) {
        use = &plan;
        break;
      }
    if (Status s = use->run(engine->driver(), values, profiling); s.failed())
      return s;
    out += values.rows * vocabulary;
    done += values.tokens;
  }
  return Status();
}

} // namespace fathom::rt
