// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/ascend/Arguments.h"

namespace fathom::rt {

Status AscendKernelFacts::read(const KernelRequest &request) {
  int64_t isMix = 0, hasFlags = 0, bytes = 0;
  const std::pair<const char *, int64_t *> wanted[] = {
      {"mix", &isMix},
      {"flags", &hasFlags},
      {"blocks", &blocks},
      {"workspaceBytes", &bytes}};
  for (auto [name, value] : wanted) {
    auto it = request.configuration.find(name);
    if (it == request.configuration.end())
      return Status(FATHOM_BAD_FILE,
                    std::string("the package does not say '") + name +
                        "' of kernel '" + request.name +
                        "'; compile the model again with a fathomc of this "
                        "version");
    *value = it->second;
  }
  mix = isMix != 0;
  flags = hasFlags != 0;
  workspaceBytes = uint64_t(bytes);
  return Status();
}

size_t packArguments(const AscendKernelFacts &facts, const LaunchRecord &record,
                     const AscendAddresses &addresses, uint64_t *words) {
  size_t count = 0;
  if (facts.flags)
    words[count++] = addresses.flags;
  words[count++] = 0; // the lock: for atomic updates, which no kernel has
  words[count++] = facts.workspaceBytes ? addresses.workspace : 0;
  for (uint32_t i = 0; i < record.argCount; ++i) {
    if (record.kinds[i] == ArgKind::Table)
      words[count++] = record.firsts[i];
    words[count++] = record.args[i];
  }
  uint32_t grid[4] = {};
  for (int axis = 0; axis < 3; ++axis)
    grid[axis] = uint32_t(record.grid[axis]);
  std::memcpy(&words[count], grid, sizeof(grid));
  return count + 2;
}

} // namespace fathom::rt
