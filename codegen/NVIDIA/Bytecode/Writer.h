// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writer of CUDA Tile IR bytecode 13.3. A Module holds entries; a Function
// appends operations to one of them. Operations are checked against what the
// format can hold (tile shapes, counts of operands and regions, hints); the
// first problem is kept, everything after it is without effect, and
// Module::finish() returns it. What an operation demands of its operands' types
// is for the reader (tileiras) to judge.
#pragma once

#include "codegen/NVIDIA/Bytecode/Types.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <deque>
#include <map>
#include <vector>

namespace fathom::cudatile {

enum class Op {
#define OP(name, ...) name,
#include "codegen/NVIDIA/Bytecode/Ops.def"
};
/// "load_view_tko", as the disassembler prints it.
const char *nameOf(Op op);

/// A value: its number in the function, its type. False where there is none.
struct Value {
  uint32_t id = 0;
  Type type;
  explicit operator bool() const { return type.kind != Type::Kind::None; }
};
using ValueList = llvm::SmallVector<Value, 4>;
using ValueRef = llvm::ArrayRef<Value>;

/// What an assumption states. An unsigned one is undefined behaviour if false.
struct Fact {
  enum class Kind { DivBy, Bounded, SameElements } kind = Kind::DivBy;
  uint64_t divisor = 1;
  std::optional<int64_t> every, along;  // DivBy
  std::optional<int64_t> lower, upper;  // Bounded, inclusive
  llvm::SmallVector<int64_t, 4> groups; // SameElements
};

/// The neutral element of a reduction, as the bits of its type.
struct Identity {
  Scalar scalar = Scalar::F32;
  uint64_t bits = 0;
};

/// Hints by target ("default", "sm_90"), then by name.
struct HintValue {
  int64_t value = 0;
  bool isBool = false;
};
using Hints = std::map<std::string, std::map<std::string, HintValue>>;

/// The attributes of all operations; each takes those that Ops.def names.
struct Attributes {
  Rounding rounding = Rounding::NearestEven;
  bool ftz = false, nan = false, fastAccumulation = false, reverse = false;
  bool unsignedCompare = false, ordered = true;
  Overflow overflow = Overflow::None;
  Signedness sign = Signedness::Signed, signB = Signedness::Signed;
  Comparison comparison = Comparison::EQ;
  Order order = Order::Weak;
  std::optional<Scope> scope;
  Hints hints;
  AtomicMode mode = AtomicMode::Add;
  uint32_t dim = 0;
  llvm::SmallVector<int32_t, 4> permutation;
  std::string text;     // a message, or the name of a global
  std::string constant; // little-endian elements, or one for all
  Fact fact;
  llvm::SmallVector<Identity, 2> identities;
  Value mask, padding, token;
};

/// A size or stride of a tensor view: a number or a value.
struct Size {
  int64_t fixed = 0;
  Value value;
  Size(int64_t fixed) : fixed(fixed) {}
  Size(Value value) : value(std::move(value)) {}
};

class Module;

class Function {
public:
  using Body = llvm::function_ref<void(ValueRef)>;
  struct Region {
    std::vector<Type> arguments;
    Body body;
  };

  Value argument(unsigned i) const { return arguments[i]; }

  /// Appends any operation. `operands` has a list for each letter of Ops.def
  /// that always is there (one list for p and l).
  ValueList emit(Op op, llvm::ArrayRef<Type> results,
                 llvm::ArrayRef<ValueList> operands, const Attributes &a = {},
                 llvm::ArrayRef<Region> regions = {});

  // Shorter ways to write the common ones.
  Value one(Op op, const Type &result, ValueRef operands,
            const Attributes &a = {});
  Value unary(Op op, const Value &x, const Attributes &a = {}) {
    return one(op, x.type, {x}, a);
  }
  Value binary(Op op, const Value &x, const Value &y,
               const Attributes &a = {}) {
    return one(op, x.type, {x, y}, a);
  }
  /// One number for all elements, by its bits or by its value.
  Value splatBits(Scalar scalar, uint64_t bits,
                  llvm::ArrayRef<int64_t> shape = {});
  Value splatInt(Scalar scalar, int64_t value,
                 llvm::ArrayRef<int64_t> shape = {});
  Value splatFloat(Scalar scalar, double value,
                   llvm::ArrayRef<int64_t> shape = {});
  Value compareInt(Comparison c, Signedness sign, const Value &x,
                   const Value &y);
  Value compareFloat(Comparison c, bool ordered, const Value &x,
                     const Value &y);
  Value select(const Value &condition, const Value &x, const Value &y);
  Value reshape(const Value &x, llvm::ArrayRef<int64_t> shape);
  /// Equal rank; dimensions of 1 are repeated.
  Value broadcast(const Value &x, llvm::ArrayRef<int64_t> shape);
  /// A scalar in every element.
  Value spread(const Value &x, llvm::ArrayRef<int64_t> shape);
  Value permute(const Value &x, llvm::ArrayRef<int32_t> permutation);
  Value cat(const Value &x, const Value &y, uint32_t dim);
  /// The slice of `shape` with these slice numbers.
  Value extract(const Value &x, ValueRef slice, llvm::ArrayRef<int64_t> shape);
  Value extract(const Value &x, llvm::ArrayRef<int64_t> slice,
                llvm::ArrayRef<int64_t> shape);
  Value bitcast(const Value &x, Scalar scalar);
  Value convertFloat(const Value &x, Scalar scalar,
                     Rounding rounding = Rounding::NearestEven);
  Value extendInt(const Value &x, Scalar scalar, Signedness sign);
  Value truncateInt(const Value &x, Scalar scalar);
  Value iota(int64_t n);
  Value assume(const Value &x, const Fact &fact);
  Value assumeDivBy(const Value &x, uint64_t divisor);
  Value assumeBounded(const Value &x, std::optional<int64_t> lower,
                      std::optional<int64_t> upper);
  ValueList blockIds();
  Value makeToken();
  Value tensorView(const Value &base, llvm::ArrayRef<Size> shape,
                   llvm::ArrayRef<Size> strides);
  Value partitionView(const Value &tensor, llvm::ArrayRef<int64_t> tile,
                      std::optional<Padding> padding = {},
                      llvm::ArrayRef<int32_t> dimMap = {});
  Value gatherView(const Value &tensor, llvm::ArrayRef<int64_t> tile,
                   uint32_t sparseDim, std::optional<Padding> padding = {});
  Value stridedView(const Value &tensor, llvm::ArrayRef<int64_t> tile,
                    llvm::ArrayRef<int32_t> traversal,
                    std::optional<Padding> padding = {});
  /// Tile and token.
  std::pair<Value, Value> loadView(const Value &view, ValueRef index,
                                   const Attributes &a = {});
  Value storeView(const Value &tile, const Value &view, ValueRef index,
                  const Attributes &a = {});
  std::pair<Value, Value> loadPtr(const Value &pointers,
                                  const Attributes &a = {});
  Value storePtr(const Value &pointers, const Value &tile,
                 const Attributes &a = {});
  Value offset(const Value &pointers, const Value &elements);
  /// `fastAccumulation`: the tensor core's own sums, never added up apart.
  Value mma(const Value &a, const Value &b, const Value &acc,
            bool fastAccumulation = false);
  using Combiner = llvm::function_ref<Value(const Value &, const Value &)>;
  /// combine(element, accumulator).
  Value reduce(const Value &x, uint32_t dim, Identity identity,
               Combiner combine);
  Value scan(const Value &x, uint32_t dim, bool reverse, Identity identity,
             Combiner combine);
  using LoopBody = llvm::function_ref<ValueList(const Value &, ValueRef)>;
  ValueList forLoop(const Value &lower, const Value &upper, const Value &step,
                    ValueRef init, LoopBody body);
  using BranchBody = llvm::function_ref<ValueList()>;
  ValueList ifElse(const Value &condition, llvm::ArrayRef<Type> results,
                   BranchBody then, BranchBody otherwise);
  void ret() { emit(Op::Return, {}, {{}}); }

  /// Notes a problem of the caller's own, as one of the format.
  void fail(const std::string &problem);

private:
  friend class Module;
  Function(Module &module, std::string name, std::vector<Type> types,
           Hints hints);
  void writeAttributes(std::string &out, Op op, const Attributes &a);
  void writeOperands(std::string &out, Op op,
                     llvm::ArrayRef<ValueList> operands, const Attributes &a);
  void writeRegions(llvm::ArrayRef<Region> regions);
  void check(Op op, llvm::ArrayRef<Type> results,
             llvm::ArrayRef<ValueList> operands, const Attributes &a,
             llvm::ArrayRef<Region> regions);

  Module &module;
  std::string name;
  std::vector<Type> types;
  Hints hints;
  ValueList arguments;
  std::string body;
  uint32_t nextValue = 0, records = 0;
  bool terminated = false;
};

class Module {
public:
  /// `producer` names who wrote the file.
  explicit Module(std::string producer) : producer(std::move(producer)) {}
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  /// A kernel: arguments are tiles of rank 0. It must end with ret().
  Function &entry(const std::string &name, std::vector<Type> arguments,
                  Hints hints = {});
  /// A constant in global memory, private to the module.
  void global(const std::string &name, const Type &tile,
              const std::string &bytes, uint64_t alignment = 16);
  /// The file, or the first problem.
  llvm::Expected<std::string> finish();

private:
  friend class Function;
  /// Distinct blobs, numbered in the order of their appearance.
  struct Table {
    std::map<std::string, uint32_t> numbers;
    std::vector<std::string> blobs;
    uint32_t add(const std::string &blob);
    /// `width` bytes an offset.
    std::string payload(unsigned width) const;
  };
  uint32_t typeOf(const Type &type);
  uint32_t typeOf(Scalar scalar);
  uint32_t typeOf(Element element);
  uint32_t stringOf(const std::string &text) { return strings.add(text); }
  std::string tagged(const Fact &fact) const;
  std::string tagged(const Identity &identity);
  std::string dictionary(const Hints &hints);

  std::string producer;
  Table strings, types, constants;
  std::deque<Function> functions;
  std::vector<std::string> globals;
  std::string problem;
};

} // namespace fathom::cudatile
