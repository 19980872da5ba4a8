// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whole sequences through @step and @mtp_0: the reference of `fathom logits`.
#include "dialects/DSV4/IR/DSV4.h"
#include "dialects/DSV4/Reference/Driver.h"
#include "dialects/DSV4/Reference/NpyIO.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"

#include <algorithm>
#include <cstring>

using namespace fathom;
using namespace llvm;
using fathom::ref::DType;
using fathom::ref::HostTensor;

static Error makeError(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), "%s",
                           message.str().c_str());
}

using Sequence = std::vector<int32_t>;

static Expected<std::vector<Sequence>>
readSequences(StringRef path, int64_t vocabulary, int64_t maxContext) {
  auto buffer = MemoryBuffer::getFile(path);
  if (!buffer)
    return createStringError(
        std::make_error_code(whyUnread(buffer.getError())),
        path + ": cannot be read: " + buffer.getError().message());
  std::vector<Sequence> sequences;
  SmallVector<StringRef> lines;
  (*buffer)->getBuffer().rtrim().split(lines, '\n');
  for (auto [index, line] : llvm::enumerate(lines)) {
    Sequence sequence;
    SmallVector<StringRef> parts;
    line.trim().split(parts, ',');
    for (StringRef part : parts) {
      int64_t id;
      if (part.trim().getAsInteger(10, id) || id < 0 || id >= vocabulary)
        return makeError(path + ", line " + Twine(index + 1) + ": '" +
                         part.trim() + "' is not a token id in [0, " +
                         Twine(vocabulary) +
                         "); a line is one sequence of comma-separated ids");
      sequence.push_back(static_cast<int32_t>(id));
    }
    if (static_cast<int64_t>(sequence.size()) > maxContext)
      return makeError(path + ", line " + Twine(index + 1) + ": " +
                       Twine(sequence.size()) +
                       " tokens do not fit in the module's max_context of " +
                       Twine(maxContext) + "; import with a larger one");
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

namespace {
/// A sequence on its way: its slot is its index in the group.
struct Progress {
  const Sequence *ids;
  int64_t firstRow; // of its logits in the output
  int64_t done = 0; // tokens stepped
};

/// The tensors of a step, token by token.
struct StepBatch {
  std::vector<int32_t> ids, positions, slots;
  std::vector<int64_t> outputRows, streamRows;

  void add(int32_t id, int64_t position, size_t slot, int64_t outputRow,
           int64_t streamRow) {
    ids.push_back(id);
    positions.push_back(static_cast<int32_t>(position));
    slots.push_back(static_cast<int32_t>(slot));
    outputRows.push_back(outputRow);
    streamRows.push_back(streamRow);
  }
  SmallVector<HostTensor> inputs() const {
    int64_t count = static_cast<int64_t>(ids.size());
    std::vector<int32_t> rows(count);
    for (int64_t i = 0; i < count; ++i)
      rows[i] = static_cast<int32_t>(i);
    return {HostTensor::fromInts({count}, ids),
            HostTensor::fromInts({count}, positions),
            HostTensor::fromInts({count}, slots),
            HostTensor::fromInts({count}, rows)};
  }
};

class TokenRun {
public:
  TokenRun(Interpreter &interpreter, const InterpretTokensOptions &options,
           dsv4::ModelAttr model, HostTensor &output)
      : interpreter(interpreter), options(options), model(model),
        output(output) {}

  Error runGroup(MutableArrayRef<Progress> group);

private:
  Error step(MutableArrayRef<Progress> group);
  Error mtp(const StepBatch &batch, const HostTensor &streams);
  void storeLogits(const HostTensor &logits, const StepBatch &batch);

  Interpreter &interpreter;
  const InterpretTokensOptions &options;
  dsv4::ModelAttr model;
  HostTensor &output;
};
} // namespace

static HostTensor gatherRows(const HostTensor &x, ArrayRef<int64_t> rows) {
  HostTensor result;
  result.dtype = x.dtype;
  result.shape = x.shape;
  result.shape[0] = static_cast<int64_t>(rows.size());
  int64_t bytes = x.rowElements() * ref::elementBytes(x.dtype);
  result.bytes.resize(rows.size() * bytes);
  for (auto [to, from] : llvm::enumerate(rows))
    std::memcpy(result.bytes.data() + to * bytes, x.bytes.data() + from * bytes,
                bytes);
  return result;
}

void TokenRun::storeLogits(const HostTensor &logits, const StepBatch &batch) {
  int64_t bytes = logits.rowElements() * 4;
  for (auto [from, to] : llvm::enumerate(batch.outputRows))
    std::memcpy(output.bytes.data() + to * bytes,
                logits.bytes.data() + from * bytes, bytes);
}

Error TokenRun::mtp(const StepBatch &batch, const HostTensor &streams) {
  if (batch.ids.empty())
    return Error::success();
  SmallVector<HostTensor> inputs = batch.inputs();
  inputs.insert(inputs.begin(), gatherRows(streams, batch.streamRows));
  Expected<SmallVector<HostTensor>> results = interpreter.call("mtp_0", inputs);
  if (!results)
    return results.takeError();
  storeLogits((*results)[0], batch);
  return Error::success();
}

/// One step: of every unfinished sequence up to `chunk` tokens, together no
/// more than the module's limit.
Error TokenRun::step(MutableArrayRef<Progress> group) {
  StepBatch batch, draft;
  int64_t room = model.getMaxStepTokens();
  for (auto [slot, sequence] : llvm::enumerate(group)) {
    int64_t length = static_cast<int64_t>(sequence.ids->size());
    int64_t count = std::min(length - sequence.done, room);
    if (options.chunk > 0)
      count = std::min(count, options.chunk);
    room -= count;
    for (int64_t end = sequence.done + count; sequence.done < end;
         ++sequence.done) {
      int64_t t = sequence.done, streamRow = int64_t(batch.ids.size());
      batch.add((*sequence.ids)[t], t, slot, sequence.firstRow + t, streamRow);
      if (options.mtp && t + 1 < length)
        draft.add((*sequence.ids)[t + 1], t, slot, sequence.firstRow + t,
                  streamRow);
    }
  }
  Expected<SmallVector<HostTensor>> results =
      interpreter.call("step", batch.inputs());
  if (!results)
    return results.takeError();
  if (options.mtp)
    return mtp(draft, (*results)[1]);
  storeLogits((*results)[0], batch);
  return Error::success();
}

Error TokenRun::runGroup(MutableArrayRef<Progress> group) {
  interpreter.resetCaches();
  auto unfinished = [](const Progress &p) {
    return p.done < static_cast<int64_t>(p.ids->size());
  };
  while (llvm::any_of(group, unfinished))
    if (Error error = step(group))
      return error;
  return Error::success();
}

Error fathom::interpretTokens(mlir::ModuleOp module,
                              ParameterSource &parameters,
                              const InterpretTokensOptions &options) {
  auto model = module->getAttrOfType<dsv4::ModelAttr>(dsv4::kModelAttrName);
  if (!model)
    return makeError("the module has no dsv4.model; only an imported module "
                     "can be run on tokens");
  if (options.chunk < 0)
    return makeError("a chunk of " + Twine(options.chunk) +
                     " tokens is impossible; 0 means all at once");
  for (StringRef name : {"step", "mtp_0"}) {
    if (name == "mtp_0" && !options.mtp)
      continue;
    auto function = module.lookupSymbol<mlir::func::FuncOp>(name);
    if (!function || function.getNumResults() != 2)
      return makeError("the module has no function @" + name +
                       " with logits and streams as results" +
                       (options.mtp ? "; the model has no MTP layer" : ""));
  }
  Expected<std::vector<Sequence>> sequences = readSequences(
      options.tokensFile, model.getVocabulary(), model.getMaxContext());
  if (!sequences)
    return sequences.takeError();

  std::vector<Progress> progress;
  int64_t rows = 0;
  for (const Sequence &sequence : *sequences) {
    progress.push_back({&sequence, rows});
    rows += static_cast<int64_t>(sequence.size()) - (options.mtp ? 1 : 0);
  }
  HostTensor output(DType::F32, {rows, model.getVocabulary()});
  Interpreter interpreter(module, parameters);
  TokenRun run(interpreter, options, model, output);
  size_t slots = static_cast<size_t>(interpreter.slots());
  for (size_t at = 0; at < progress.size(); at += slots)
    if (Error error = run.runGroup(MutableArrayRef<Progress>(progress).slice(
            at, std::min(slots, progress.size() - at))))
      return error;
  return writeNpy(options.output, output);
}
