// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What fathomc explain finds out, apart from how it is shown.
#ifndef FATHOM_TOOLS_FATHOMC_EXPLAIN_H
#define FATHOM_TOOLS_FATHOMC_EXPLAIN_H

#include "passes/Fusion.h"
#include "tools/fathomc/Compilation.h"
#include "tools/fathomc/StepCost.h"

namespace fathom {

/// Launches of one decoded token, and the bytes that they write to memory.
struct Work {
  int64_t kernels = 0, bytes = 0;
  void operator+=(const Work &other) {
    kernels += other.kernels;
    bytes += other.bytes;
  }
};

/// Layers of one compression ratio.
struct KindRow {
  std::string kind;
  int64_t layers = 0;
  Work before, after; // of the layer with the most kernels
};

/// A fusion, and what it saves by itself for each token.
struct FusionSaving {
  std::string name, summary;
  bool keepsSums = false;
  Work saved;
};

/// Operations of one name in a forward pass, or all of them.
struct CostGroup {
  std::string name;
  int64_t operations = 0;
  double kernels = 0; // launches of all steps
  Cost cost;
  double seconds = 0;
  double boundSeconds[3] = {}; // of them, by what bounds
  Bound bound() const;
  void add(const OperationCost &one, double steps, const Prediction &time);
};

/// One way of running the model.
struct PhaseCost {
  std::string name; // "decode", "prefill"
  Workload workload;
  std::vector<OperationCost> operations;
  std::vector<CostGroup> byName;  // the slowest first
  std::vector<CostGroup> byLayer; // by kind of layer
  CostGroup total;
};

/// Tensors whose names differ in numbers only.
struct TensorGroup {
  std::string pattern; // "layers.*.attn.wkv.weight"
  std::string type;    // "F8_E4M3 [512, 4096]"; the first one's
  int64_t count = 0;
  uint64_t bytes = 0;
  std::vector<std::string> kernels; // that read them in a decoded token
};

struct Explanation {
  std::string model, numerics, target;
  std::vector<std::string> notices;
  int64_t context = 0, batch = 0;
  Device device;
  bool published = false; // numerics: products in FP8
  Work before, after;     // a decoded token in all
  std::vector<KindRow> kinds;
  std::vector<FusionSaving> fusions;
  std::vector<PhaseCost> phases;
  std::vector<TensorGroup> tensors, leftOut;
};

/// "compressed, sparse (ratio 4)"
std::string kindOfRatio(int64_t ratio);

/// Costs of decode and prefill. `fused`: the module after fusion; `kernelsAt`:
/// launches of a decoded token by place.
void explainCosts(mlir::ModuleOp fused, const llvm::StringMap<int64_t> &kernelsAt,
                  Explanation &out);
/// Where each tensor of the checkpoint went. `planned`: lowered for one token,
/// with memory planned.
bool explainTensors(mlir::ModuleOp planned, Compilation &run, Explanation &out);

/// What each fusion saves, in Markdown, as passes/Fusions.md has it.
void printFusionTable(const Explanation &what, llvm::raw_ostream &os);
void printExplanation(const Explanation &what, llvm::raw_ostream &os);
void printExplanationJson(const Explanation &what, llvm::raw_ostream &os);
/// One page without anything from outside.
std::string explanationPage(const Explanation &what);

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOMC_EXPLAIN_H
