// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tables, attributes and sections of a file.
#include "codegen/NVIDIA/Bytecode/Encoding.h"
#include "codegen/NVIDIA/Bytecode/Writer.h"

#include "llvm/Support/MathExtras.h"

using namespace llvm;

namespace fathom::cudatile {

//===-- Tables -----------------------------------------------------------===//

uint32_t Module::Table::add(const std::string &blob) {
  auto [at, fresh] = numbers.try_emplace(blob, blobs.size());
  if (fresh)
    blobs.push_back(blob);
  return at->second;
}

std::string Module::Table::payload(unsigned width) const {
  std::string out = varint(blobs.size());
  padTo(out, width);
  uint64_t at = 0;
  for (const std::string &blob : blobs) {
    out += fixed(at, width);
    at += blob.size();
  }
  for (const std::string &blob : blobs)
    out += blob;
  return out;
}

uint32_t Module::typeOf(Scalar scalar) {
  return types.add(varint(static_cast<unsigned>(scalar)));
}

uint32_t Module::typeOf(Element element) {
  uint32_t scalar = typeOf(element.scalar);
  return element.pointer ? types.add(varint(12) + varint(scalar)) : scalar;
}

uint32_t Module::typeOf(const Type &type) {
  auto padding = [&] {
    return type.padding ? varint(static_cast<unsigned>(*type.padding)) : "";
  };
  switch (type.kind) {
  case Type::Kind::None:
    problem = problem.empty() ? "a value without a type" : problem;
    return 0;
  case Type::Kind::Token:
    return types.add(varint(17));
  case Type::Kind::Tile: {
    uint32_t element = typeOf(type.element);
    return types.add(varint(13) + varint(element) + list(type.shape, 8));
  }
  case Type::Kind::TensorView: {
    uint32_t element = typeOf(type.element);
    return types.add(varint(14) + varint(element) + list(type.shape, 8) +
                     list(type.strides, 8));
  }
  case Type::Kind::PartitionView: {
    uint32_t tensor = typeOf(*type.tensor);
    return types.add(varint(15) + varint(type.padding.has_value()) +
                     list(type.shape, 4) + varint(tensor) +
                     list(type.dimMap, 4) + padding());
  }
  case Type::Kind::GatherView: {
    uint32_t tensor = typeOf(*type.tensor);
    return types.add(varint(20) + varint(type.padding.has_value()) +
                     list(type.shape, 4) + varint(tensor) +
                     varint(type.sparseDim) + padding());
  }
  case Type::Kind::StridedView: {
    uint32_t tensor = typeOf(*type.tensor);
    return types.add(varint(21) + varint(type.padding.has_value()) +
                     list(type.shape, 4) + list(type.traversal, 4) +
                     varint(tensor) + list(type.dimMap, 4) + padding());
  }
  }
  return 0;
}

//===-- Attributes -------------------------------------------------------===//

std::string Module::tagged(const Fact &fact) const {
  auto optional = [](std::optional<int64_t> a, std::optional<int64_t> b) {
    std::string out(1, static_cast<char>(a.has_value() | b.has_value() << 1));
    return out + (a ? zigzag(*a) : "") + (b ? zigzag(*b) : "");
  };
  switch (fact.kind) {
  case Fact::Kind::DivBy:
    return varint(8) + varint(fact.divisor) + optional(fact.every, fact.along);
  case Fact::Kind::Bounded:
    return varint(12) + optional(fact.lower, fact.upper);
  case Fact::Kind::SameElements:
    return varint(9) + list(fact.groups, 8);
  }
  return "";
}

std::string Module::tagged(const Identity &identity) {
  std::string type = varint(typeOf(identity.scalar));
  unsigned bits = bitsOf(identity.scalar);
  uint64_t value =
      bits == 64 ? identity.bits : identity.bits & ((uint64_t(1) << bits) - 1);
  if (!isFloat(identity.scalar))
    return varint(1) + type + varint(value);
  return varint(2) + type +
         (bits <= 8 ? fixed(value, 1) : zigzag(static_cast<int64_t>(value)));
}

std::string Module::dictionary(const Hints &hints) {
  std::string out = varint(hints.size());
  for (const auto &[target, values] : hints) {
    out += varint(stringOf(target)) + varint(10) + varint(values.size());
    for (const auto &[name, hint] : values) {
      out += varint(stringOf(name));
      out += hint.isBool ? varint(3) + fixed(hint.value != 0, 1)
                         : varint(1) + varint(typeOf(Scalar::I32)) +
                               varint(static_cast<uint32_t>(hint.value));
    }
  }
  return out;
}

//===-- The file ---------------------------------------------------------===//

Function &Module::entry(const std::string &name, std::vector<Type> arguments,
                        Hints hints) {
  auto note = [&](std::string text) {
    if (problem.empty())
      problem = "entry '" + name + "': " + text;
  };
  if (name.empty())
    note("it has no name");
  for (const Function &other : functions)
    if (other.name == name)
      note("there is another one of this name");
  for (const Type &type : arguments)
    if (!type.isTile() || !type.shape.empty())
      note("arguments are tiles of rank 0");
  for (const auto &[target, values] : hints)
    for (const auto &[key, hint] : values) {
      bool cga = key == "num_cta_in_cga",
           warps = key == "num_worker_warps_per_cta";
      if (!cga && !warps && key != "occupancy")
        note("no entry has the hint '" + key + "'");
      else if (hint.value < 1 || hint.value > (cga ? 16 : 32) ||
               ((cga || warps) && !isPowerOf2_64(hint.value)))
        note("the hint '" + key + "' cannot be " + std::to_string(hint.value));
    }
  functions.push_back(
      Function(*this, name, std::move(arguments), std::move(hints)));
  return functions.back();
}

void Module::global(const std::string &name, const Type &tile,
                    const std::string &bytes, uint64_t alignment) {
  if (!tile.isTile() || !isPowerOf2_64(alignment)) {
    problem = problem.empty() ? "global '" + name + "' is malformed" : problem;
    return;
  }
  uint32_t data = constants.add(varint(bytes.size()) + bytes);
  globals.push_back(varint(stringOf(name)) + varint(typeOf(tile)) +
                    varint(data) + varint(alignment) + varint(1) + varint(1));
}

Expected<std::string> Module::finish() {
  std::string code = varint(functions.size());
  for (Function &f : functions) {
    if (!f.terminated)
      f.fail("it does not end with a return");
    std::string type = varint(16) + varint(f.types.size());
    for (const Type &t : f.types)
      type += varint(typeOf(t));
    type += varint(0);
    constexpr unsigned kKernel = 2, kHints = 4;
    code += varint(stringOf(f.name)) + varint(types.add(type));
    code += fixed(kKernel | (f.hints.empty() ? 0 : kHints), 1) + varint(0);
    if (!f.hints.empty())
      code += varint(11) + dictionary(f.hints);
    code += varint(f.body.size()) + f.body;
  }
  if (!problem.empty())
    return createStringError(inconvertibleErrorCode(), problem);

  enum { kString = 1, kFunction, kDebug, kConstant, kType, kGlobal, kProducer };
  constexpr unsigned kAligned = 128;
  std::string file("\x7FTileIR\0\x0D\x03\0\0", 12);
  auto section = [&](unsigned id, const std::string &payload, unsigned align) {
    file += static_cast<char>(id | (align > 1 ? kAligned : 0));
    file += varint(payload.size());
    if (align > 1) {
      file += varint(align);
      padTo(file, align);
    }
    file += payload;
  };
  if (!globals.empty()) {
    std::string payload = varint(globals.size());
    for (const std::string &global : globals)
      payload += global;
    section(kGlobal, payload, 1);
  }
  std::string producerId = producer.empty() ? "" : varint(stringOf(producer));
  section(kFunction, code, 8);
  if (!constants.blobs.empty())
    section(kConstant, constants.payload(8), 8);
  section(kType, types.payload(4), 4);
  if (!producer.empty())
    section(kProducer, producerId, 1);
  section(kString, strings.payload(4), 4);
  file += '\0';
  return file;
}

} // namespace fathom::cudatile
