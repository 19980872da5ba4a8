// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/src/Plan.h"

#include <time.h>

namespace fathom::rt {

namespace {

uint64_t address(const void *pointer) {
  return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer));
}

int64_t countOf(format::Count count, const StepValues &values) {
  switch (count) {
  case format::Count::One:
    return 1;
  case format::Count::Tokens:
    return values.tokens;
  case format::Count::Rows:
    return values.rows;
  }
  return 0;
}

/// Loading has checked that no sum and no product overflows.
int64_t programsAlong(const format::GridAxis &axis, const StepValues &values) {
  int64_t sum = 0;
  for (const format::GridTerm &term : axis) {
    const int64_t divide = static_cast<int64_t>(term.divide);
    sum += (countOf(term.count, values) + divide - 1) / divide *
           static_cast<int64_t>(term.multiply);
  }
  return sum;
}

uint64_t nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}

} // namespace

Plan::Plan(Engine &engine, int entry, const format::Specialisation &source,
           const SessionBuffers &buffers)
    : engine(engine), entry(entry), specialisation(&source) {
  launches.reserve(source.launches.size());
  for (const format::Launch &launch : source.launches) {
    launches.push_back({engine.kernel(launch.kernel), args.size(), {}});
    for (const format::Arg &arg : launch.args)
      args.push_back(resolve(arg, buffers));
  }
}

void Plan::patch(Changing what, size_t layer) {
  patches.push_back({args.size(), what, layer});
}

/// The value of an argument, or 0 and a patch where it changes.
uint64_t Plan::resolve(const format::Arg &arg, const SessionBuffers &buffers) {
  const PortMap &ports = engine.ports(entry);
  const int index = static_cast<int>(arg.index);
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
    if (index == ports.ids)
      return address(buffers.ids);
    if (index == ports.positions)
      return address(buffers.positions);
    if (index == ports.slots)
      return address(buffers.slots);
    if (index == ports.rows)
      return address(buffers.rows);
    patch(Changing::StreamsIn);
    return 0;
  case format::Arg::Kind::Output:
    for (size_t layer = 0; layer < ports.layers.size(); ++layer)
      if (ports.layers[layer] == index) {
        patch(Changing::Layer, layer);
        return 0;
      }
    patch(index == ports.logits ? Changing::Logits : Changing::StreamsOut);
    return 0;
  case format::Arg::Kind::Count:
    if (arg.count == format::Count::One)
      return 1;
    patch(arg.count == format::Count::Tokens ? Changing::Tokens
                                             : Changing::Rows);
    return 0;
  }
  return 0;
}

Status Plan::run(Driver device, const StepValues &values, bool timed) {
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
  for (size_t i = 0; i < launches.size(); ++i) {
    Resolved &launch = launches[i];
    int64_t grid[3], programs = 1;
    for (int axis = 0; axis < 3; ++axis) {
      grid[axis] =
          programsAlong(specialisation->launches[i].grid[axis], values);
      programs *= grid[axis];
    }
    if (programs == 0)
      continue;
    const uint64_t start = timed ? nanoseconds() : 0;
    if (Status s = device.table->launch(device.self, launch.kernel,
                                        args.data() + launch.firstArg, grid);
        s.failed())
      return s;
    if (!timed)
      continue;
    if (Status s = device.table->synchronise(device.self); s.failed())
      return s;
    launch.timing.launches += 1;
    launch.timing.programs += static_cast<uint64_t>(programs);
    launch.timing.nanoseconds += nanoseconds() - start;
    launch.timing.weightBytes += engine.launchWeightBytes(
        entry, specialisation->launches[i], values.tokens);
  }
  return device.table->synchronise(device.self);
}

void Plan::clearTimings() {
  for (Resolved &launch : launches)
    launch.timing = Timing();
}

} // namespace fathom::rt
