// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/Remarks.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"

using namespace llvm;

namespace fathom::nvidia {

const std::string &Remark::arg(const std::string &name) const {
  static const std::string none;
  auto it = args.find(name);
  return it == args.end() ? none : it->second;
}

std::vector<Remark> parseRemarks(StringRef yaml) {
  std::vector<Remark> remarks;
  SmallVector<StringRef> lines;
  yaml.split(lines, '\n');
  for (StringRef line : lines) {
    if (line.consume_front("--- !")) {
      remarks.push_back({line.trim().str(), "", {}});
      continue;
    }
    if (remarks.empty())
      continue;
    bool isArgument = line.consume_front("  - ");
    auto [key, value] = line.split(':');
    value = value.trim();
    if (value.size() >= 2 && value.front() == '\'' && value.back() == '\'')
      value = value.drop_front().drop_back();
    if (isArgument)
      remarks.back().args[key.str()] = value.str();
    else if (key == "Name")
      remarks.back().name = value.str();
  }
  return remarks;
}

/// "[64, 256, 16]" -> "64x256x16"
static std::string shapeText(StringRef shape) {
  std::string text;
  for (char c : shape)
    if (c == ',')
      text += 'x';
    else if (c != ' ' && c != '[' && c != ']')
      text += c;
  return text;
}

/// "" where the remark tells of nothing slow.
static std::string notice(const Remark &remark, int number) {
  StringRef instruction(remark.arg("Instruction"));
  if (remark.name == "RemarkTensorCoreMMA") {
    if (remark.kind == "Failure" || instruction.contains("FMA"))
      return "matrix product on FMA instructions, " +
             shapeText(remark.arg("Shape"));
    // Warp-group instructions came with sm_90 and, others, with sm_100; sm_120
    // has neither.
    if (number >= 90 && number < 120 && instruction.ends_with("SM80"))
      return "matrix product on the instructions of sm_80";
    return "";
  }
  if (StringRef(remark.name).contains("TmaLoadFailed"))
    return "a load without TMA: " + remark.arg("Reason");
  if (remark.name == "RegisterPressure")
    return "more registers wanted than there are";
  return "";
}

std::vector<std::string> notices(ArrayRef<Remark> remarks, int number) {
  std::vector<std::pair<std::string, int>> counted;
  for (const Remark &remark : remarks) {
    std::string text = notice(remark, number);
    if (text.empty())
      continue;
    auto it = find_if(counted, [&](const auto &c) { return c.first == text; });
    if (it == counted.end())
      counted.emplace_back(text, 1);
    else
      ++it->second;
  }
  std::vector<std::string> all;
  for (const auto &[text, count] : counted)
    all.push_back(count == 1 ? text
                             : text + " (" + std::to_string(count) + " times)");
  return all;
}

} // namespace fathom::nvidia
