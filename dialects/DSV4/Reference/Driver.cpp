// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/Reference/Driver.h"
#include "dialects/DSV4/IR/DSV4.h"
#include "dialects/DSV4/Reference/Evaluation.h"
#include "dialects/DSV4/Reference/NpyIO.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace fathom;
using namespace llvm;
using fathom::ref::DType;
using fathom::ref::HostTensor;

static Error makeError(const Twine &message,
                       std::error_code code = inconvertibleErrorCode()) {
  return createStringError(code, "%s", message.str().c_str());
}

/// A file's tensor in the argument's element type, where that loses nothing
/// but the rounding to bf16.
static Expected<HostTensor> readArgument(StringRef path, mlir::Type type) {
  Expected<HostTensor> tensor = readNpy(path);
  auto ranked = dyn_cast<mlir::RankedTensorType>(type);
  if (!tensor || !ranked)
    return tensor;
  if (tensor->dtype == DType::F32 && ranked.getElementType().isBF16())
    return HostTensor::fromFloats(DType::BF16, tensor->shape, tensor->floats());
  if (tensor->dtype == DType::I64 && ranked.getElementType().isInteger(32)) {
    for (int64_t i = 0, e = tensor->numElements(); i < e; ++i)
      if (!isInt<32>(tensor->loadInt(i)))
        return makeError(path + ": " + Twine(tensor->loadInt(i)) +
                         " at index " + Twine(i) + " is not a 32-bit integer");
    return HostTensor::fromInts(tensor->shape, tensor->ints());
  }
  return tensor;
}

static Error createDirectory(StringRef path) {
  if (std::error_code error = sys::fs::create_directories(path))
    return makeError("cannot create the directory " + path + ": " +
                         error.message(),
                     std::make_error_code(kRefused));
  return Error::success();
}

/// "00012-linear-layers.0.attn.wq_a": legal in a file name, unique by number.
static std::string probeName(mlir::OpResult result, unsigned number) {
  std::string name;
  raw_string_ostream stream(name);
  stream << format("%05u-", number)
         << result.getOwner()->getName().stripDialect();
  if (auto loc = dyn_cast<mlir::NameLoc>(result.getOwner()->getLoc()))
    stream << "-" << loc.getName().getValue();
  if (result.getOwner()->getNumResults() > 1)
    stream << "-" << result.getResultNumber();
  for (char &c : name)
    if (!isAlnum(c) && c != '.' && c != '-' && c != '_')
      c = '_';
  return name;
}

Error fathom::interpretFunction(mlir::ModuleOp module,
                                ParameterSource &parameters,
                                const InterpretFunctionOptions &options) {
  auto function = module.lookupSymbol<mlir::func::FuncOp>(options.function);
  if (!function)
    return makeError("the module has no function @" + options.function);
  std::vector<HostTensor> inputs;
  size_t next = 0;
  for (mlir::Type type : function.getArgumentTypes()) {
    if (isa<dsv4::CacheType>(type) || next == options.inputs.size())
      continue; // Interpreter::call names what is missing
    Expected<HostTensor> tensor = readArgument(options.inputs[next++], type);
    if (!tensor)
      return tensor.takeError();
    inputs.push_back(std::move(*tensor));
  }
  if (next != options.inputs.size())
    return makeError("@" + options.function + " takes " + Twine(next) +
                     " inputs besides its caches, but " +
                     Twine(options.inputs.size()) + " files were given");
  if (Error error = createDirectory(options.outputDir))
    return error;

  Interpreter interpreter(module, parameters, options.slots);
  Error probeError = Error::success();
  if (!options.probeDir.empty()) {
    if (Error error = createDirectory(options.probeDir))
      return joinErrors(std::move(probeError), std::move(error));
    interpreter.setProbe([&, number = 0u](mlir::OpResult result,
                                          const HostTensor &value) mutable {
      StringRef op = result.getOwner()->getName().stripDialect();
      if (op == "parameter" || op == "stacked_parameter")
        return;
      SmallString<128> path(options.probeDir);
      sys::path::append(path, probeName(result, number++) + ".npy");
      probeError = joinErrors(std::move(probeError), writeNpy(path, value));
    });
  }
  Expected<SmallVector<HostTensor>> results =
      interpreter.call(options.function, inputs);
  if (!results)
    return joinErrors(std::move(probeError), results.takeError());
  for (auto [index, result] : llvm::enumerate(*results)) {
    SmallString<128> path(options.outputDir);
    sys::path::append(path, "result" + Twine(index) + ".npy");
    probeError = joinErrors(std::move(probeError), writeNpy(path, result));
  }
  return probeError;
}
