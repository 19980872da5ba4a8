// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Builds the body of one function (@step or @mtp_j) layer by layer. Spec
// sections in comments are those of dialects/DSV4/docs/Spec.md's source, the
// model: streams (2), attention (3), compressor (4), indexer (5), experts (6).
//
// Letters: T tokens, n streams, D hidden, H heads, d head width, C the carrier
// (bf16, or f32 in f32 numerics).
#ifndef FATHOM_FRONTENDS_CHECKPOINT_FUNCTIONBUILDER_H
#define FATHOM_FRONTENDS_CHECKPOINT_FUNCTIONBUILDER_H

#include "frontends/Checkpoint/Importer.h"
#include "frontends/Checkpoint/Weights.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

#include <map>

namespace fathom {

/// One layer as the checkpoint names it: "layers.3" or "mtp.0"; `index` counts
/// MTP layers on after the others.
struct LayerId {
  std::string prefix;
  int64_t index = 0;
};

class FunctionBuilder {
public:
  FunctionBuilder(mlir::ModuleOp module, const ModelConfig &config,
                  const ImportOptions &options, Weights &weights);

  /// Adds @step, all main layers.
  void buildStep();
  /// Adds @mtp_`index`.
  void buildMtp(int64_t index);

private:
  using Value = mlir::Value;
  using Shape = llvm::ArrayRef<int64_t>;

  // FunctionBuilder.cpp: signature, frame, small things.
  void begin(llvm::StringRef name, llvm::ArrayRef<LayerId> layers,
             bool takesStreams, size_t layerOutputs = 0);
  void finish(Value streams, llvm::StringRef headPrefix,
              const std::string &normName,
              llvm::ArrayRef<Value> afterLayers = {});
  mlir::Location at(llvm::StringRef name);
  /// tensor<?x shape> of the carrier, of f32, of i32.
  mlir::RankedTensorType carrierType(Shape inner);
  mlir::RankedTensorType f32Type(Shape inner);
  mlir::RankedTensorType i32Type(Shape inner);
  Value plainParameter(const std::string &name, Shape shape);
  Value cache(const LayerId &layer, llvm::StringRef kind);
  bool isPublished() const;
  bool isF32() const;

  // LinearBuilder.cpp: linears, norms, quantisation points, rope.
  /// y = x W^T; in published numerics x is quantised first if W is.
  Value linear(Value x, const std::string &name, int64_t n, int64_t k,
               Shape resultInner);
  /// A linear whose input is never quantised; result of `type`.
  Value plainLinear(Value x, const std::string &weightName, int64_t n,
                    int64_t k, mlir::RankedTensorType type);
  Value apply(Value x, const LinearWeight &weight, llvm::StringRef name,
              mlir::RankedTensorType type);
  Value quantiseInput(Value x, const LinearWeight &weight);
  Value fakeQuantize(Value x, dsv4::QuantFormat format, int64_t block,
                     int64_t channels, llvm::StringRef name);
  Value rmsNorm(Value x, const std::string &name, int64_t width);
  Value rope(Value x, int64_t ratio, int64_t block, bool inverse,
             llvm::StringRef name);
  /// Cosines and sines, computed once a function for each kind of layer
  /// (compressed or not) and block.
  std::pair<Value, Value> ropeTable(bool compressed, int64_t block);

  // StreamsBuilder.cpp: one layer, hyper-connections, embedding, head.
  Value embed(Value tokenIds, llvm::StringRef name);
  Value layer(Value streams, const LayerId &id);
  struct Mixed {
    Value x, post, comb;
  };
  Mixed hyperPre(Value streams, const std::string &prefix);
  Value hyperPost(Value y, Value streams, const Mixed &mixed,
                  llvm::StringRef name);
  Value mtpInput(Value streams, const std::string &prefix);

  // AttentionBuilder.cpp
  Value attention(Value x, const LayerId &id);
  /// `kind` is "" or "indexer."; returns nothing, fills the cache.
  void compress(Value x, const LayerId &id, bool indexer, int64_t ratio);
  Value selectBlocks(Value x, Value queryRank, const LayerId &id);

  // MoEBuilder.cpp
  Value experts(Value x, const LayerId &id);
  std::pair<Value, Value> route(Value x, const LayerId &id);
  Value sharedExperts(Value x, const std::string &prefix);

  mlir::ModuleOp module;
  const ModelConfig &config;
  const ImportOptions &options;
  Weights &weights;
  mlir::OpBuilder builder;
  mlir::Type carrier;

  // Of the function being built.
  Value ids, positions, slots, rows, streamsArgument;
  llvm::StringMap<Value> caches;
  std::map<std::pair<bool, int64_t>, std::pair<Value, Value>> ropeTables;
  llvm::DenseMap<Value, Value> quantisedInputs;
  mlir::func::FuncOp function;
};

/// The caches of a layer in the order of its operations.
std::vector<std::pair<std::string, dsv4::CacheType>>
cachesOf(mlir::MLIRContext *context, const ModelConfig &config,
         const ImportOptions &options, const LayerId &layer);

} // namespace fathom

#endif // FATHOM_FRONTENDS_CHECKPOINT_FUNCTIONBUILDER_H
