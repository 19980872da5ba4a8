// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/NVIDIA/CubinReport.h"

#include "codegen/Common/Process.h"
#include "codegen/Common/ToolJobs.h"

#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Path.h"

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

std::optional<uint64_t> threadsOf(StringRef cubin) {
  Expected<std::unique_ptr<object::ObjectFile>> file =
      object::ObjectFile::createELFObjectFile(MemoryBufferRef(cubin, "cubin"));
  if (!file) {
    consumeError(file.takeError());
    return std::nullopt;
  }
  for (const object::SectionRef &section : (*file)->sections()) {
    Expected<StringRef> name = section.getName();
    Expected<StringRef> content = section.getContents();
    bool wanted = name && content && name->starts_with(".nv.info.");
    StringRef left = wanted ? *content : StringRef();
    if (!name)
      consumeError(name.takeError());
    if (!content)
      consumeError(content.takeError());
    // Records: a form, an attribute, and 16 bits, which in form 4 are the bytes
    // that follow. Attribute 16 are the threads along x, y and z.
    while (left.size() >= 4) {
      const uint8_t form = left[0], attribute = left[1];
      const size_t bytes =
          form == 4 ? support::endian::read16le(left.data() + 2) : 0;
      left = left.drop_front(4);
      if (left.size() < bytes)
        break;
      if (form == 4 && attribute == 16 && bytes >= 12) {
        uint64_t threads = 1;
        for (int axis : {0, 4, 8})
          threads *= support::endian::read32le(left.data() + axis);
        return threads;
      }
      left = left.drop_front(bytes);
    }
  }
  return std::nullopt;
}

uint64_t missingRegisters(const KernelReport &report) {
  if (!report.computingRegisters)
    return 0;
  // Registers are handed over between groups of four warps; the last one loads.
  constexpr uint64_t kGroup = 128;
  const uint64_t loading = std::min(report.threads, kGroup);
  const uint64_t wanted =
      (report.threads - loading) * report.computingRegisters +
      loading * report.loadingRegisters;
  const uint64_t given = report.threads * report.registers;
  return wanted > given ? wanted - given : 0;
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
  StringRef operands;
  bool conditional = false;
  bool wide = false;  // loads 8 bytes or more a thread from global memory
  bool eight = false; // loads 8 bytes
  bool sum64 = false; // one instruction adds 64 bits, from sm_120 on
};
} // namespace

/// Whether `text` names this register, and not one whose name begins with it.
static bool names(StringRef text, StringRef reg) {
  for (size_t at = text.find(reg); at != StringRef::npos;
       at = text.find(reg, at + 1)) {
    char before = at ? text[at - 1] : ' ';
    StringRef after = text.drop_front(at + reg.size());
    if (!isAlnum(before) && (after.empty() || !isDigit(after.front())))
      return true;
  }
  return false;
}

/// Whether `use` takes the low half of a register pair as that of an address:
/// to load from, in a sum of 64 bits (whose carry is a predicate), in a
/// descriptor of TMA (without its lowest bits), or moved to where only uniform
/// numbers are.
static bool takesAddress(const Instruction &use, StringRef reg) {
  if (names(use.operands, ("[" + reg + ".64").str()))
    return true;
  if (use.sum64)
    return true;
  StringRef second = use.operands.split(',').second.ltrim();
  return StringSwitch<bool>(use.opcode)
      .Cases({"IADD3", "LEA"}, second.starts_with("P"))
      .Case("LOP3", second.contains(" 0xfffffff0,"))
      .Cases({"R2UR", "UIADD3"}, true)
      .Default(false);
}

/// Whether a load of 8 bytes is one of a pointer, such as those of a table: by
/// what first reads it in the listing.
static bool loadsPointer(ArrayRef<Instruction> all, size_t load) {
  if (!all[load].eight)
    return false;
  StringRef reg = all[load].operands.split(',').first.trim();
  for (const Instruction &next : all.drop_front(load + 1)) {
    auto [first, rest] = next.operands.split(',');
    // What has no result begins with an operand, mostly a place.
    bool reads = names(first.contains('[') ? next.operands : rest, reg);
    if (reads)
      return takesAddress(next, reg);
    if (names(first, reg))
      return false;
  }
  return false;
}

/// "/*0130*/ @P0 STL.64 [R1], R4 ;"
static std::optional<Instruction> instructionIn(StringRef line) {
  line = line.ltrim();
  if (!line.consume_front("/*"))
    return std::nullopt;
  auto [address, rest] = line.split("*/");
  if (address.size() < 4 || !all_of(address, isHexDigit))
    return std::nullopt;
  rest = rest.ltrim();
  Instruction found;
  found.conditional = rest.starts_with("@");
  if (found.conditional)
    rest = rest.split(' ').second.ltrim();
  found.opcode = rest.take_while([](char c) { return isAlnum(c) || c == '_'; });
  if (found.opcode.empty())
    return std::nullopt;
  StringRef whole = rest.take_until([](char c) { return c == ' '; });
  found.operands = rest.drop_front(whole.size()).trim();
  found.wide = (found.opcode == "LDG" || found.opcode == "LDGSTS") &&
               (whole.contains(".64") || whole.contains(".128") ||
                whole.contains(".256"));
  found.sum64 = whole.starts_with("IADD.64");
  found.eight = found.opcode == "LDG" && whole.contains(".64");
  if (size_t at = rest.find(".L_x_"); at != StringRef::npos) {
    // "BRA P0, `(.L_x_1)", "BRA.U !UP0, ...", "BRA.DIV UR4, ...".
    found.conditional |= rest.take_front(at).contains(',');
    found.target = rest.drop_front(at).take_while(
        [](char c) { return isAlnum(c) || c == '_' || c == '.'; });
  }
  return found;
}

/// The loop that a branch back to `header` closes: all that leads to the branch
/// without passing the header. Nothing where the header does not lead there:
/// then the branch is the end of rare code that was laid out behind.
static BitVector loopOf(ArrayRef<SmallVector<size_t, 2>> before, size_t header,
                        size_t branch) {
  BitVector loop(before.size());
  bool closed = branch == header;
  SmallVector<size_t> left{branch};
  while (!left.empty()) {
    size_t at = left.pop_back_val();
    if (loop[at])
      continue;
    loop.set(at);
    closed |= at == header;
    if (at != header)
      left.append(before[at].begin(), before[at].end());
  }
  return closed ? loop : BitVector(before.size());
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
    if (instruction.wide && !loadsPointer(all, i))
      wide.push_back(i);
    if (instruction.opcode == "STL")
      stores.push_back(i);
    // "USETMAXREG.TRY_ALLOC.CTAPOOL UP0, 0xe8 ;", "....DEALLOC.CTAPOOL 0x20;"
    if (instruction.opcode == "USETMAXREG") {
      auto [success, taken] = instruction.operands.rtrim("; ").split(',');
      uint64_t &of =
          taken.empty() ? report.loadingRegisters : report.computingRegisters;
      if ((taken.empty() ? success : taken).trim().getAsInteger(0, of))
        of = 0;
    }
    if (instruction.opcode == "UTMALDG" || instruction.opcode == "UTMASTG")
      ++report.tmaInstructions;
  }
  report.instructions = all.size();
  report.spillStores = stores.size();

  std::vector<SmallVector<size_t, 2>> before(all.size());
  auto targetOf = [&](const Instruction &instruction) {
    auto label = labels.find(instruction.target);
    return label == labels.end() || label->second >= all.size()
               ? std::optional<size_t>()
               : label->second;
  };
  for (auto [i, instruction] : enumerate(all)) {
    bool ends = instruction.opcode == "BRA" || instruction.opcode == "EXIT" ||
                instruction.opcode == "RET";
    if (i + 1 < all.size() && (!ends || instruction.conditional))
      before[i + 1].push_back(i);
    if (std::optional<size_t> target = targetOf(instruction))
      before[*target].push_back(i);
  }
  auto within = [](const std::vector<size_t> &places, const BitVector &loop) {
    return size_t(count_if(places, [&](size_t i) { return loop[i]; }));
  };
  // The loops of products count: of each product the smallest one around it,
  // unless that is around another such loop, as where first or last turns stand
  // beside their loop in a loop over programs. Of kernels without products
  // every loop counts.
  std::vector<BitVector> smallest(tensor.size());
  BitVector any(all.size());
  for (auto [i, instruction] : enumerate(all)) {
    std::optional<size_t> header = targetOf(instruction);
    if (instruction.opcode != "BRA" || !header || *header > i)
      continue;
    BitVector loop = loopOf(before, *header, i);
    any |= loop;
    const size_t size = loop.count();
    for (auto [product, around] : zip(tensor, smallest))
      if (loop[product] && (around.empty() || size < around.count()))
        around = loop;
  }
  auto isAround = [](const BitVector &loop, const BitVector &other) {
    return !other.empty() && other != loop && !other.test(loop);
  };
  BitVector main(all.size());
  for (const BitVector &loop : smallest)
    if (!loop.empty() && none_of(smallest, [&](const BitVector &other) {
          return isAround(loop, other);
        }))
      main |= loop;
  auto inside = [&](const std::vector<size_t> &places) -> uint64_t {
    return within(places, tensor.empty() ? any : main);
  };
  report.loopSpillStores = inside(stores);
  report.wideLoads = inside(wide);
}

/// What a disassembler says of the cubin; nothing where it refuses.
static Expected<std::optional<std::string>>
saidOf(const std::string &file, const std::string &tool, const char *option) {
  const TimeLimit limit(3600, 300); // a listing may have megabytes
  const std::string folder = sys::path::parent_path(file).str();
  ToolRun run = runToolTwice(tool, {option, file}, limit, folder);
  if (Error error = machinesRefusal(run, tool, file, folder))
    return std::move(error);
  if (!run.good())
    return std::nullopt;
  return std::move(run.output);
}

Expected<std::optional<KernelReport>> inspectCubin(const Toolchain &toolchain,
                                                   const std::string &file) {
  if (!toolchain.canInspect())
    return std::nullopt;
  auto resources = saidOf(file, toolchain.cuobjdump, "--dump-resource-usage");
  if (!resources)
    return resources.takeError();
  KernelReport report;
  if (!*resources || !parseResources(**resources, report))
    return std::nullopt;
  auto listing = saidOf(file, toolchain.nvdisasm, "-c");
  if (!listing)
    return listing.takeError();
  if (!*listing)
    return std::nullopt;
  parseListing(**listing, report);
  report.threads = threadsOf(readBytes(file)).value_or(0);
  return report;
}

} // namespace fathom::nvidia
