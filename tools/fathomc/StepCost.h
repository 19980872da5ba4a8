// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The cost of a forward pass of a module, by operation and in all, and how long
// a device would take.
#ifndef FATHOM_TOOLS_FATHOMC_STEPCOST_H
#define FATHOM_TOOLS_FATHOMC_STEPCOST_H

#include "dialects/DSV4/Cost/Cost.h"
#include "tools/fathomc/Devices.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

#include <algorithm>
#include <string>
#include <vector>

namespace fathom {

/// What holds an operation back on a device.
enum class Bound { Compute, Memory, Launch };
llvm::StringRef boundName(Bound bound);

struct OperationCost {
  std::string name;  // "linear", or "fused experts"
  std::string place; // "layers.3.attn.wkv"
  int64_t layer = -1; // -1: outside of layers
  double kernels = 0; // launches of a step
  Cost cost;          // of all steps
};

/// Of the operations and groups of function @step, in their order. `kernelsAt`:
/// launches of a step by place; operations of one place share them.
std::vector<OperationCost>
operationCosts(mlir::ModuleOp module, const Workload &workload,
               const llvm::StringMap<int64_t> &kernelsAt);

/// Of @step, in all.
Cost totalCost(mlir::ModuleOp module, const Workload &workload);

struct Prediction {
  double compute = 0, memory = 0, launch = 0; // seconds
  double seconds() const { return std::max({compute, memory, launch}); }
  Bound bound() const;
};
/// `published`: products with weights run in the weights' FP8, not in BF16.
Prediction predict(const Cost &cost, double launches, const Device &device,
                   bool published);

/// The name that the importer gave an operation as its location, and the layer
/// in it; "" and -1 where there is none.
std::string placeOf(mlir::Location location);
int64_t layerOf(llvm::StringRef place);

/// How the technical report counts: operations in FP8, BF16 attention twice,
/// the FP4 indexer half.
inline double fp8EquivalentFlops(const Cost &cost) {
  return cost.weightFlops + 2 * cost.attentionFlops + cost.indexFlops / 2;
}

/// DeepSeek-V3.2, which the report compares with: 37e9 active parameters, 61
/// layers of 128 heads over 2048 chosen keys of 576 + 512, and an indexer of 64
/// heads of 128 in FP8 over all of them; a key takes 656 bytes and the
/// indexer's 132.
inline double v32Flops(double tokens) {
  return 2 * 37e9 + 61 * 64 * 128 * 2 * tokens +
         2 * (61. * 128 * 2048 * (576 + 512) * 2);
}
constexpr double kV32CacheBytesPerToken = 61 * (656 + 132);

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOMC_STEPCOST_H
