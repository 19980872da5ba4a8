// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs functions of a dsv4 module with the reference kernels: the executable
// form of the dialect's specification, and the oracle of everything compiled.
//
//   Interpreter interpreter(module, parameters);
//   auto results = interpreter.call("step", {ids, positions, slots, rows});
//
// A walk over SSA: every operation is evaluated through ReferenceOpInterface;
// one without it is an error that names it. Caches are objects of the
// interpreter, bound to function arguments of cache type by the argument's
// dsv4.cache_name, and live from call to call: functions that name the same
// cache share it. One interpreter is used by one thread at a time.
#ifndef FATHOM_DIALECTS_DSV4_REFERENCE_INTERPRETER_H
#define FATHOM_DIALECTS_DSV4_REFERENCE_INTERPRETER_H

#include "dialects/DSV4/Reference/Kernels/HostTensor.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <memory>

namespace fathom {

/// Gives the bytes of checkpoint tensors.
class ParameterSource {
public:
  virtual ~ParameterSource();
  /// The tensor as stored: its element format (packed e2m1 is I8 [N, K/2]),
  /// shape and bytes. The interpreter compares format and shape with the
  /// type of the parameter operation and asks for each tensor once.
  virtual llvm::Expected<ref::HostTensor> load(llvm::StringRef name) = 0;
};

/// A module without parameters: every load is an error.
class NoParameters : public ParameterSource {
public:
  llvm::Expected<ref::HostTensor> load(llvm::StringRef name) override;
};

/// Adds the reference models of all dsv4 operations to the dialect in this
/// context; the constructor of Interpreter does it by itself.
void attachReferenceModels(mlir::MLIRContext &context);

class Interpreter {
public:
  /// `module` and `parameters` outlive the interpreter. `slots` is the number
  /// of sequences that every cache holds; 0 takes max_sequences of the
  /// module's dsv4.model, or 1 where there is none.
  Interpreter(mlir::ModuleOp module, ParameterSource &parameters,
              int64_t slots = 0);
  ~Interpreter();

  /// Calls `function` with one tensor for every argument that is not a cache,
  /// in order. Errors: no such function, wrong number, type or shape of
  /// inputs, a cache argument without a name, an operation without reference
  /// meaning, a parameter that the source does not have, values that a
  /// contract excludes (token ids, positions, slots out of range).
  llvm::Expected<llvm::SmallVector<ref::HostTensor>>
  call(llvm::StringRef function, llvm::ArrayRef<ref::HostTensor> inputs);

  /// Empties all caches, as before the first call.
  void resetCaches();

  int64_t slots() const;

  /// Called with every result of every operation, as it is computed; for
  /// tests that look inside a layer. An empty function: none.
  using Probe = std::function<void(mlir::OpResult, const ref::HostTensor &)>;
  void setProbe(Probe probe);

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace fathom

#endif // FATHOM_DIALECTS_DSV4_REFERENCE_INTERPRETER_H
