// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/CubinReport.h"

#include "codegen/NVIDIA/Process.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;
using fathom::format::KernelReport;

namespace fathom::nvidia {

static bool numberAfter(StringRef text, StringRef key, uint64_t &number) {
  size_t at = text.find(key);
  return at != StringRef::npos &&
         !text.drop_front(at + key.size()).consumeInteger(10, number);
}

bool parseResources(StringRef text, KernelReport &report) {
  return numberAfter(text, "REG:", report.registers) &&
         numberAfter(text, "STACK:", report.stackBytes) &&
         numberAfter(text, "SHARED:", report.sharedBytes);
}

static bool isTensor(StringRef opcode) {
  return StringSwitch<bool>(opcode)
      .Cases({"HMMA", "HGMMA", "QGMMA", "IGMMA", "QMMA", "OMMA", "IMMA",
              "UTCHMMA", "UTCQMMA", "UTCOMMA", "UTCIMMA"},
             true)
      .Default(false);
}

namespace {
struct Instruction {
  StringRef opcode; // "STL", without suffixes
  StringRef target; // a label that it branches to
  bool wide = false; // loads 8 bytes or more a thread from global memory
};
} // namespace

/// "/*0130*/ @P0 STL.64 [R1], R4 ;"
static std::optional<Instruction> instructionIn(StringRef line) {
  line = line.ltrim();
  if (!line.consume_front("/*"))
    return std::nullopt;
  auto [address, rest] = line.split("*/");
  if (address.size() < 4 || !all_of(address, isHexDigit))
    return std::nullopt;
  rest = rest.ltrim();
  if (rest.starts_with("@"))
    rest = rest.split(' ').second.ltrim();
  Instruction found;
  found.opcode = rest.take_while([](char c) { return isAlnum(c) || c == '_'; });
  if (found.opcode.empty())
    return std::nullopt;
  StringRef whole = rest.take_until([](char c) { return c == ' '; });
  found.wide = (found.opcode == "LDG" || found.opcode == "LDGSTS") &&
               (whole.contains(".64") || whole.contains(".128") ||
                whole.contains(".256"));
  if (size_t at = rest.find(".L_x_"); at != StringRef::npos)
    found.target = rest.drop_front(at).take_while(
        [](char c) { return isAlnum(c) || c == '_' || c == '.'; });
  return found;
}

void parseListing(StringRef text, KernelReport &report) {
  std::vector<Instruction> all;
  StringMap<size_t> labels;
  SmallVector<StringRef> lines;
  text.split(lines, '\n');
  for (StringRef line : lines)
    if (line.starts_with(".L_x_"))
      labels[line.split(':').first] = all.size();
    else if (auto found = instructionIn(line))
      all.push_back(*found);

  std::vector<size_t> tensor, stores, wide;
  for (auto [i, instruction] : enumerate(all)) {
    if (isTensor(instruction.opcode)) {
      tensor.push_back(i);
      ++report.tensorInstructions[instruction.opcode.str()];
    }
    if (instruction.wide)
      wide.push_back(i);
    if (instruction.opcode == "STL")
      stores.push_back(i);
    if (instruction.opcode == "UTMALDG" || instruction.opcode == "UTMASTG")
      ++report.tmaInstructions;
  }
  report.instructions = all.size();
  report.spillStores = stores.size();

  auto within = [](const std::vector<size_t> &places, size_t from, size_t to) {
    return count_if(places, [&](size_t i) { return from <= i && i <= to; });
  };
  // Of kernels without products every loop counts.
  size_t from = 0, to = 0;
  SmallVector<bool> inLoop(all.size(), false);
  for (auto [i, instruction] : enumerate(all)) {
    if (instruction.opcode != "BRA")
      continue;
    auto label = labels.find(instruction.target);
    if (label == labels.end() || label->second >= i)
      continue;
    std::fill(inLoop.begin() + label->second, inLoop.begin() + i + 1, true);
    size_t least = std::max<size_t>(1, tensor.size() / 4);
    if (size_t(within(tensor, label->second, i)) >= least &&
        (to == 0 || i - label->second < to - from)) {
      from = label->second;
      to = i;
    }
  }
  auto inside = [&](const std::vector<size_t> &places) -> uint64_t {
    if (to)
      return within(places, from, to);
    return tensor.empty()
               ? count_if(places, [&](size_t i) { return inLoop[i]; })
               : 0;
  };
  report.loopSpillStores = inside(stores);
  report.wideLoads = inside(wide);
}

std::optional<KernelReport> inspectCubin(const Toolchain &toolchain,
                                         const std::string &file) {
  KernelReport report;
  std::string text;
  constexpr unsigned kSeconds = 300; // a listing may have megabytes
  if (!toolchain.canInspect() ||
      !runTool(toolchain.cuobjdump, {"--dump-resource-usage", file}, kSeconds,
               text) ||
      !parseResources(text, report) ||
      !runTool(toolchain.nvdisasm, {"-c", file}, kSeconds, text))
    return std::nullopt;
  parseListing(text, report);
  return report;
}

} // namespace fathom::nvidia
