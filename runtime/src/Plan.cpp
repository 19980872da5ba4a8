// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/src/Plan.h"

namespace fathom::rt {

namespace {

uint64_t address(const void *pointer) {
  return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer));
}

int64_t countOf(format::Count count, int64_t tokens, int64_t rows) {
  switch (count) {
  case format::Count::One:
    return 1;
  case format::Count::Tokens:
    return tokens;
  case format::Count::Rows:
    return rows;
  }
  return 0;
}

/// Loading has checked that no sum and no product overflows.
int64_t programsAlong(const format::GridAxis &axis, int64_t tokens,
                      int64_t rows) {
  int64_t sum = 0;
  for (const format::GridTerm &term : axis) {
    const int64_t divide = static_cast<int64_t>(term.divide);
    sum += (countOf(term.count, tokens, rows) + divide - 1) / divide *
           static_cast<int64_t>(term.multiply);
  }
  return sum;
}

} // namespace

ArgKind kindOf(const format::Arg &arg) {
  switch (arg.kind) {
  case format::Arg::Kind::Weight:
    return ArgKind::Constant;
  case format::Arg::Kind::Table:
    return ArgKind::Table;
  case format::Arg::Kind::Count:
    return ArgKind::Count;
  default:
    return ArgKind::Buffer;
  }
}

int64_t gridOf(const format::Launch &launch, int64_t tokens, int64_t rows,
               int64_t (&grid)[3]) {
  int64_t programs = 1;
  for (int axis = 0; axis < 3; ++axis) {
    grid[axis] = programsAlong(launch.grid[axis], tokens, rows);
    programs *= grid[axis];
  }
  return programs;
}

Plan::Plan(Engine &engine, int entry, const format::Specialisation &source,
           const SessionBuffers &buffers, const InputBlock &inputs)
    : engine(engine), entry(entry), specialisation(&source),
      layout(inputs.maxTokens), block(inputs) {
  for (const format::Launch &launch : source.launches)
    for (const format::Arg &arg : launch.args) {
      args.push_back(resolve(arg, buffers));
      kinds.push_back(kindOf(arg));
      firsts.push_back(firstOf(arg));
    }
  size_t first = 0;
  for (const format::Launch &launch : source.launches) {
    records.push_back({engine.kernel(launch.kernel),
                       launch.kernel.c_str(),
                       args.data() + first,
                       kinds.data() + first,
                       firsts.data() + first,
                       static_cast<uint32_t>(launch.args.size()),
                       {}});
    first += launch.args.size();
  }
  timings.resize(records.size());
}

uint64_t Plan::firstOf(const format::Arg &arg) const {
  if (arg.kind != format::Arg::Kind::Table)
    return 0;
  const std::vector<uint32_t> &weights =
      engine.manifest().tables[arg.index].weights;
  return weights.empty() ? 0 : address(engine.weight(weights.front()));
}

/// The value of an argument that changes: a patch, and 0 until then.
uint64_t Plan::patch(Changing what, size_t layer) {
  patches.push_back({args.size(), what, layer});
  return 0;
}

uint64_t Plan::inputAddress(uint64_t offset) const {
  return address(block.device) + offset;
}

uint64_t Plan::resolveInput(int index) {
  const PortMap &ports = engine.ports(entry);
  if (index == ports.ids)
    return inputAddress(format::InputLayout::ids);
  if (index == ports.positions)
    return inputAddress(layout.positions);
  if (index == ports.slots)
    return inputAddress(layout.slots);
  if (index == ports.rows)
    return inputAddress(layout.rows);
  return patch(index == ports.logitsIn ? Changing::Logits
                                       : Changing::StreamsIn);
}

uint64_t Plan::resolveOutput(int index) {
  const PortMap &ports = engine.ports(entry);
  if (index == ports.idsOut)
    return inputAddress(format::InputLayout::ids);
  if (index == ports.positionsOut)
    return inputAddress(layout.positions);
  for (size_t layer = 0; layer < ports.layers.size(); ++layer)
    if (ports.layers[layer] == index)
      return patch(Changing::Layer, layer);
  return patch(index == ports.logits ? Changing::Logits : Changing::StreamsOut);
}

uint64_t Plan::resolveCount(format::Count count) {
  if (engine.driver().table->recordsGraphs)
    return inputAddress(count == format::Count::One ? format::InputLayout::one
                        : count == format::Count::Tokens
                            ? format::InputLayout::tokens
                            : format::InputLayout::rowCount);
  if (count == format::Count::One)
    return 1;
  return patch(count == format::Count::Tokens ? Changing::Tokens
                                              : Changing::Rows);
}

uint64_t Plan::resolve(const format::Arg &arg, const SessionBuffers &buffers) {
  switch (arg.kind) {
  case format::Arg::Kind::Weight:
    return address(engine.weight(arg.index));
  case format::Arg::Kind::Table:
    return address(engine.table(arg.index));
  case format::Arg::Kind::Cache:
    return address(buffers.caches[arg.index][arg.component]);
  case format::Arg::Kind::Workspace:
    return address(static_cast<uint8_t *>(buffers.workspace) + arg.offset);
  case format::Arg::Kind::Input:
    return resolveInput(static_cast<int>(arg.index));
  case format::Arg::Kind::Output:
    return resolveOutput(static_cast<int>(arg.index));
  case format::Arg::Kind::Count:
    return resolveCount(arg.count);
  }
  return 0;
}

void Plan::fillIn(const StepValues &values) {
  for (const Patch &p : patches) {
    switch (p.what) {
    case Changing::Tokens:
      args[p.at] = static_cast<uint64_t>(values.tokens);
      break;
    case Changing::Rows:
      args[p.at] = static_cast<uint64_t>(values.rows);
      break;
    case Changing::Logits:
      args[p.at] = address(values.logits);
      break;
    case Changing::StreamsOut:
      args[p.at] = address(values.streamsOut);
      break;
    case Changing::StreamsIn:
      args[p.at] = address(values.streamsIn);
      break;
    case Changing::Layer:
      args[p.at] = address(values.layers[p.layer]);
      break;
    }
  }
}

void Plan::setCounts(const StepValues &values) {
  *array(format::InputLayout::tokens) = static_cast<int32_t>(values.tokens);
  *array(format::InputLayout::rowCount) = static_cast<int32_t>(values.rows);
  *array(format::InputLayout::one) = 1;
}

Status Plan::upload(void *stream) {
  const Driver device = engine.driver();
  if (device.table->sharesHostMemory)
    return Status();
  return device.table->copy(device.self, CopyKind::ToDevice, block.device,
                            block.host, layout.bytes, stream);
}

Status Plan::launch(void *stream, const StepValues &values,
                    const Stopwatch *stopwatch) {
  const Driver device = engine.driver();
  fillIn(values);
  for (size_t i = 0; i < records.size(); ++i) {
    LaunchRecord &record = records[i];
    const int64_t programs = gridOf(specialisation->launches[i], values.tokens,
                                    values.rows, record.grid);
    if (programs == 0)
      continue;
    if (!stopwatch) {
      if (Status s = device.table->launch(device.self, record, stream);
          s.failed())
        return s;
      continue;
    }
    uint64_t took = 0;
    Status s = device.table->recordEvent(device.self, stopwatch->from, stream);
    if (!s.failed())
      s = device.table->launch(device.self, record, stream);
    if (!s.failed())
      s = device.table->recordEvent(device.self, stopwatch->to, stream);
    if (!s.failed())
      s = device.table->synchronise(device.self, stream);
    if (!s.failed())
      s = device.table->elapsed(device.self, stopwatch->from, stopwatch->to,
                                &took);
    if (s.failed()) // whose fault it was is known here alone
      return s.message().find(record.name) != std::string::npos
                 ? s
                 : Status(s.code(), std::string("kernel '") + record.name +
                                        "': " + s.message());
    Timing &timing = timings[i];
    timing.launches += 1;
    timing.programs += static_cast<uint64_t>(programs);
    timing.nanoseconds += took;
    timing.weightBytes += engine.launchWeightBytes(
        entry, specialisation->launches[i], values.tokens);
  }
  return Status();
}

void Plan::clearTimings() {
  for (Timing &timing : timings)
    timing = Timing();
}

} // namespace fathom::rt
