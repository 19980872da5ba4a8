// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Records of operations.
#include "codegen/NVIDIA/Bytecode/Encoding.h"
#include "codegen/NVIDIA/Bytecode/Writer.h"

#include "llvm/Support/MathExtras.h"

using namespace llvm;

namespace fathom::cudatile {

namespace {
enum class Flag {
  Ftz,
  NaN,
  FastAccumulation,
  Unsigned,
  Scope,
  Hints,
  Mask,
  Padding,
  Token
};
enum class Field {
  Rounding,
  Overflow,
  Sign,
  SignB,
  Comparison,
  Ordered,
  Text,
  Fact,
  Constant,
  Dim,
  Reverse,
  Permutation,
  Identities,
  Order,
  Scope,
  Hints,
  Mode
};
struct OpInfo {
  const char *name;
  unsigned opcode;
  bool counted;
  SmallVector<Flag, 5> flags;
  SmallVector<Field, 3> fields;
  const char *operands;
  unsigned regions;
};
} // namespace

static const OpInfo &infoOf(Op op) {
  static const OpInfo table[] = {
#define OP(id, name, opcode, counted, flags, fields, operands, regions)        \
  {name, opcode, counted, flags, fields, operands, regions},
#include "codegen/NVIDIA/Bytecode/Ops.def"
  };
  return table[static_cast<size_t>(op)];
}

const char *nameOf(Op op) { return infoOf(op).name; }

static bool isSet(Flag flag, const Attributes &a) {
  switch (flag) {
  case Flag::Ftz:
    return a.ftz;
  case Flag::NaN:
    return a.nan;
  case Flag::FastAccumulation:
    return a.fastAccumulation;
  case Flag::Unsigned:
    return a.unsignedCompare;
  case Flag::Scope:
    return a.scope.has_value();
  case Flag::Hints:
    return !a.hints.empty();
  case Flag::Mask:
    return bool(a.mask);
  case Flag::Padding:
    return bool(a.padding);
  case Flag::Token:
    return bool(a.token);
  }
  return false;
}

Function::Function(Module &module, std::string name, std::vector<Type> types,
                   Hints hints)
    : module(module), name(std::move(name)), types(std::move(types)),
      hints(std::move(hints)) {
  for (const Type &type : this->types)
    arguments.push_back({nextValue++, type});
}

void Function::fail(const std::string &problem) {
  if (module.problem.empty())
    module.problem = "entry '" + name + "': " + problem;
}

void Function::check(Op op, ArrayRef<Type> results,
                     ArrayRef<ValueList> operands, const Attributes &a,
                     ArrayRef<Region> regions) {
  const OpInfo &info = infoOf(op);
  auto refuse = [&](const Twine &why) {
    fail((Twine(info.name) + ": " + why).str());
  };
  if (terminated)
    refuse("an operation after the end of its block");
  StringRef letters = info.operands;
  size_t lists = letters.size();
  for (char letter : {'m', 'q', 't'})
    lists -= letters.count(letter);
  if (operands.size() != lists)
    return refuse("wrong number of operand lists");
  for (auto [letter, values] : zip(letters, operands))
    if (letter == 'r' && values.size() != 1)
      refuse("one operand where there are " + Twine(values.size()));
  for (const ValueList &values : operands)
    for (const Value &value : values)
      if (!value)
        refuse("an operand without a value");
      else if (value.id >= nextValue)
        refuse("an operand from a region that has ended");
  for (const Type &type : results)
    if (std::string problem = type.check(); !problem.empty())
      refuse(problem);
  size_t least = op == Op::If ? 1 : info.regions;
  if (regions.size() > info.regions || regions.size() < least)
    refuse("wrong number of regions");
  if (op == Op::JoinTokens && operands[0].size() < 2)
    refuse("fewer than two tokens");
  if (op == Op::Assume && a.fact.kind == Fact::Kind::DivBy &&
      (!a.fact.divisor || !isPowerOf2_64(a.fact.divisor)))
    refuse("the divisor " + Twine(a.fact.divisor) + " is no power of two");
  bool memory = is_contained(info.fields, Field::Order);
  if (memory && (a.order == Order::Weak) == a.scope.has_value())
    refuse(a.scope ? "a weak access has no scope"
                   : "an access that is not weak has a scope");
  for (const auto &[target, values] : a.hints)
    for (const auto &[key, hint] : values)
      if (key == "latency" ? hint.isBool || hint.value < 1 || hint.value > 10
                           : key != "allow_tma" || !hint.isBool)
        refuse("the hint '" + Twine(key) + "' cannot be " + Twine(hint.value));
  if (op == Op::Constant && !results.empty()) {
    const Type &type = results[0];
    if (!type.isTile() || type.element.pointer)
      return refuse("a constant is a tile of numbers");
    uint64_t bits = bitsOf(type.element.scalar);
    uint64_t all = divideCeil(bits * uint64_t(type.elements()), 8);
    if (a.constant.size() != all && a.constant.size() != divideCeil(bits, 8))
      refuse(Twine(a.constant.size()) + " bytes for a constant of " +
             Twine(all));
  }
}

void Function::writeAttributes(std::string &out, Op op, const Attributes &a) {
  auto number = [&](auto x) { out += varint(static_cast<uint64_t>(x)); };
  for (Field field : infoOf(op).fields)
    switch (field) {
    case Field::Rounding:
      number(a.rounding);
      break;
    case Field::Overflow:
      number(a.overflow);
      break;
    case Field::Sign:
      number(a.sign);
      break;
    case Field::SignB:
      number(a.signB);
      break;
    case Field::Comparison:
      number(a.comparison);
      break;
    case Field::Ordered:
      number(a.ordered);
      break;
    case Field::Text:
      number(module.stringOf(a.text));
      break;
    case Field::Fact:
      out += module.tagged(a.fact);
      break;
    case Field::Constant:
      number(module.constants.add(varint(a.constant.size()) + a.constant));
      break;
    case Field::Dim:
      number(a.dim);
      break;
    case Field::Reverse:
      out += fixed(a.reverse, 1);
      break;
    case Field::Permutation:
      out += list(a.permutation, 4);
      break;
    case Field::Identities:
      number(a.identities.size());
      for (const Identity &identity : a.identities)
        out += module.tagged(identity);
      break;
    case Field::Order:
      number(a.order);
      break;
    case Field::Scope:
      if (a.scope)
        number(*a.scope);
      break;
    case Field::Hints:
      if (!a.hints.empty())
        out += module.dictionary(a.hints);
      break;
    case Field::Mode:
      number(a.mode);
      break;
    }
}

void Function::writeOperands(std::string &out, Op op,
                             ArrayRef<ValueList> operands,
                             const Attributes &a) {
  auto ids = [&](ValueRef values) {
    for (const Value &value : values)
      out += varint(value.id);
  };
  auto given = operands.begin();
  for (char letter : StringRef(infoOf(op).operands))
    switch (letter) {
    case 'l':
    case 'v':
      out += varint(given->size());
      [[fallthrough]];
    case 'p':
    case 'r':
      ids(*given++);
      break;
    default: {
      const Value &value = letter == 'm'   ? a.mask
                           : letter == 'q' ? a.padding
                                           : a.token;
      if (value)
        ids(value);
    }
    }
}

void Function::writeRegions(ArrayRef<Region> regions) {
  for (const Region &region : regions) {
    std::string outer = std::move(body);
    uint32_t firstValue = nextValue, outerRecords = records;
    body.clear();
    records = 0;
    ValueList inner;
    for (const Type &type : region.arguments)
      inner.push_back({nextValue++, type});
    region.body(inner);
    if (!terminated)
      fail("a region without a terminator");
    terminated = false;
    std::string block = std::move(body);
    outer += varint(1) + varint(region.arguments.size());
    for (const Type &type : region.arguments)
      outer += varint(module.typeOf(type));
    outer += varint(records) + block;
    body = std::move(outer);
    nextValue = firstValue;
    records = outerRecords;
  }
}

ValueList Function::emit(Op op, ArrayRef<Type> results,
                         ArrayRef<ValueList> operands, const Attributes &a,
                         ArrayRef<Region> regions) {
  const OpInfo &info = infoOf(op);
  check(op, results, operands, a, regions);
  if (module.problem.empty()) {
    ++records;
    std::string out = varint(info.opcode);
    if (info.counted)
      out += varint(results.size());
    for (const Type &type : results)
      out += varint(module.typeOf(type));
    if (!info.flags.empty()) {
      unsigned bits = 0;
      for (auto [i, flag] : enumerate(info.flags))
        bits |= unsigned(isSet(flag, a)) << i;
      out += varint(bits);
    }
    writeAttributes(out, op, a);
    writeOperands(out, op, operands, a);
    body += out;
    if (info.regions) {
      body += varint(info.regions);
      writeRegions(regions);
      if (regions.size() < info.regions)
        body += varint(0);
    }
    terminated = op == Op::Break || op == Op::Continue || op == Op::Yield ||
                 op == Op::Return;
  }
  ValueList values;
  for (const Type &type : results)
    values.push_back({nextValue++, type});
  return values;
}

} // namespace fathom::cudatile
