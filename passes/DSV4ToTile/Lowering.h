// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// State of lowering one function of dsv4 operations to a schedule, shared by
// the files that know the operation groups.
#pragma once

#include "passes/DSV4ToTile/KernelBuilder.h"
#include "passes/DSV4ToTile/TileShapes.h"

#include "llvm/ADT/StringMap.h"

namespace fathom {

/// Kernels of a module, one for every key; schedules share them.
class KernelCache {
public:
  /// `check`: kernels asked for again are written again and compared.
  explicit KernelCache(mlir::ModuleOp module, bool check = false);
  /// The kernel for these argument types and parameters; `write` fills a new
  /// one. `params` tells apart what argument types do not, and is part of the
  /// name: letters, digits and underscores.
  tile::KernelOp get(llvm::StringRef base, const std::string &params,
                     mlir::TypeRange arguments,
                     llvm::function_ref<void(KernelBuilder &)> write);
  unsigned size() const { return kernels.size(); }
  /// False after a check that failed; the error has been reported.
  bool consistent() const { return !inconsistent; }

private:
  mlir::ModuleOp module;
  bool check, inconsistent = false;
  llvm::StringMap<tile::KernelOp> kernels;
  llvm::StringMap<unsigned> names;
};

class Lowering {
public:
  Lowering(KernelCache &kernels, OpBuilder &builder, const TileShapes &shapes,
           int64_t maxTokens)
      : kernels(kernels), b(builder), shapes(shapes), maxTokens(maxTokens) {}

  /// A buffer and what its leading dimension counts.
  struct Buffer {
    Value memref;
    bool rows = false; // logits rows, not tokens
    Value scales = {}; // of codes
  };

  void bind(Value tensor, Value memref, bool rows = false) {
    buffers[tensor] = {memref, rows};
  }
  void bindCount(Value tokens, Value rowCount) {
    this->tokens = tokens;
    this->rowCount = rowCount;
  }
  Value buffer(Value tensor);
  /// What products take: values; of a quantised tensor that nothing else takes,
  /// on targets that multiply codes, e4m3 codes and their scales, one for each
  /// block of channels.
  struct Activation {
    Value rows, scales;
  };
  Activation activation(Value tensor);
  /// The buffers that a quantisation point fills, made when first asked for;
  /// with scales only where the result is codes.
  Activation quantised(dsv4::FakeQuantizeOp op, Value like);
  bool countsRows(Value tensor) { return buffers.lookup(tensor).rows; }
  /// Buffer of a result: the output it is returned as, or a new one. `like`
  /// decides what the leading dimension counts.
  Value result(Value tensor, Value like);
  /// Workspace of count(like) * multiple rows of `shape`.
  Value workspace(Value like, int64_t multiple, Shape shape, Type element);
  /// Workspace of count(like) * multiple rows of `width` channels for products;
  /// codes where the target multiplies them and `block` channels, which share a
  /// scale, fit.
  Activation activationSpace(Value like, int64_t multiple, int64_t width,
                             Type carrier, std::optional<int64_t> block);
  Value count(Value like) { return countsRows(like) ? rowCount : tokens; }
  /// View [T, a, b] as [T, a*b] or [T*a*b]: `groups` as in collapse_shape.
  Value collapse(Value memref,
                 llvm::ArrayRef<mlir::ReassociationIndices> groups);
  Value flat(Value memref);
  Value expand(Value memref, Shape inner);
  Value cache(Value cacheArgument, llvm::StringRef component, Type element,
              int64_t width);

  /// Launches `kernel` over ceil(count(like)/perProgram) * multiply programs
  /// along axis `tokenAxis`, and `others` (in order) along the other axes.
  struct Grid {
    Value like;
    int tokenAxis = 0;
    int64_t perProgram = 1, multiply = 1;
    int64_t others[2] = {1, 1};
  };
  void launch(tile::KernelOp kernel, const Grid &grid, ValueRange operands);

  mlir::LogicalResult lower(mlir::Operation *op);
  /// The members of a group one by one, as if there were no group.
  mlir::LogicalResult lowerMembers(dsv4::FusedOp group);

  KernelCache &kernels;
  OpBuilder &b;
  const TileShapes &shapes;
  int64_t maxTokens;
  unsigned launches = 0;
  /// Of the operation that is being lowered: launches carry it, so that tools
  /// can tell which part of the model a launch is for.
  Location loc() { return location; }
  /// For a group whose launches belong to different parts.
  void setLocation(Location place) { location = place; }
  /// Tokens that one program of a matrix kernel takes.
  int64_t tokenTile() const {
    return maxTokens == 1    ? 1
           : maxTokens <= 16 ? shapes.fewTokens
                             : shapes.manyTokens;
  }

private:
  bool storesCodes(dsv4::FakeQuantizeOp op) const;
  mlir::LogicalResult lowerGroup(dsv4::FusedOp group);

  llvm::DenseMap<Value, Buffer> buffers;
  Value tokens, rowCount;
  Location location = b.getUnknownLoc();
};

/// Lowers a group as a whole, by its kind: Fused.cpp. False where the members
/// are not what the fused kernels expect; nothing has been made then.
bool lowerFused(Lowering &, dsv4::FusedOp);
/// What every fused kernel asks of its group, since what it does not know it
/// would leave out: no members but these (null: none), no results but these.
bool hasOnly(dsv4::FusedOp, llvm::ArrayRef<mlir::Operation *> members);
bool yieldsOnly(dsv4::FusedOp, llvm::ArrayRef<Value> results);
/// Whether the values have one element type. Operations may change the carrier;
/// a fused kernel that rounds to one would round in other places.
bool haveOneCarrier(llvm::ArrayRef<Value> values);
bool lowerHyperConnection(Lowering &, dsv4::FusedOp);
bool lowerFusedExperts(Lowering &, dsv4::FusedOp);
bool lowerAttentionInput(Lowering &, dsv4::FusedOp);
bool lowerCompressor(Lowering &, dsv4::FusedOp);
bool lowerHead(Lowering &, dsv4::FusedOp);

// One function per operation; each in the file of its group.
void lowerEmbed(Lowering &, dsv4::EmbedOp);
void lowerSelectRows(Lowering &, dsv4::SelectRowsOp);
void lowerRMSNorm(Lowering &, dsv4::RMSNormOp);
void lowerHeadNorm(Lowering &, dsv4::HeadNormOp);
void lowerScale(Lowering &, dsv4::ScaleOp);
void lowerAddStreams(Lowering &, dsv4::AddStreamsOp);
void lowerSwiGLU(Lowering &, dsv4::SwiGLUOp);
void lowerMoECombine(Lowering &, dsv4::MoECombineOp);
void lowerRopeTable(Lowering &, dsv4::RopeTableOp);
void lowerRope(Lowering &, dsv4::RopeOp);
void lowerHadamard(Lowering &, dsv4::HadamardOp);
void lowerFakeQuantize(Lowering &, dsv4::FakeQuantizeOp);
void lowerLinear(Lowering &, dsv4::LinearOp);
void lowerGroupedLinear(Lowering &, dsv4::GroupedLinearOp);
void lowerGate(Lowering &, dsv4::GateOp);
void lowerHCExpand(Lowering &, dsv4::HCExpandOp);
void lowerHCPre(Lowering &, dsv4::HCPreOp);
void lowerHCPost(Lowering &, dsv4::HCPostOp);
void lowerHCHead(Lowering &, dsv4::HCHeadOp);
void lowerWindowInsert(Lowering &, dsv4::WindowInsertOp);
void lowerCompressedInsert(Lowering &, dsv4::CompressedInsertOp);
void lowerCompressPool(Lowering &, dsv4::CompressPoolOp);
void lowerStateUpdate(Lowering &, dsv4::StateUpdateOp);
void lowerIndexScores(Lowering &, dsv4::IndexScoresOp);
void lowerSelectTopK(Lowering &, dsv4::SelectTopKOp);
void lowerAttention(Lowering &, dsv4::AttentionOp);
void lowerRouteTopK(Lowering &, dsv4::RouteTopKOp);
void lowerRouteHash(Lowering &, dsv4::RouteHashOp);
void lowerExperts(Lowering &, dsv4::ExpertsOp);

// Pieces that several groups use.

/// The bits of a constant as a number, for a kernel's parameters.
std::string number(double v);

/// Rotates the adjacent pairs of the last dimension of x f32, w wide, by the
/// angles whose cosines and sines are [w/2], or as many as there are pairs;
/// `inverse` negates the angles.
Value rotatePairs(KernelBuilder &k, Value x, Value cos, Value sin,
                  bool inverse);

/// 1 / sqrt(mean + eps) of the rows whose squares, or sums of squares, are
/// `squares` [n, *], of `width` elements; [n], every step rounded to
/// `rounding`.
Value inverseRms(KernelBuilder &k, Value squares, int64_t width, double eps,
                 Type rounding);

/// Quantise-dequantise pieces of one block row: scale of each row of `x`
/// ([n, block] f32) and the values over the scale, clipped, not yet rounded.
struct ScaledBlock {
  Value scale;  // [n]
  Value scaled; // [n, block], within the format's range
};
ScaledBlock scaleBlock(KernelBuilder &k, Value x, dsv4::QuantFormat format);
/// Rounds `x` f32 to the grid of the format and back.
Value roundToGrid(KernelBuilder &k, Value x, dsv4::QuantFormat format);
/// Sylvester's matrix of size n, without its factor, as a constant.
Value hadamardMatrix(KernelBuilder &k, int64_t n);

/// Elements of a cache row that share a scale.
constexpr int64_t kFP8Block = 64, kFP4Block = 32;
/// What tells cache types apart in the name of a kernel.
std::string cacheName(dsv4::CacheType type);
/// Component buffers of a state cache: kv, gate.
llvm::SmallVector<Value> stateOperands(Lowering &, Value state);

/// A tile of cache rows [rows, width], exact in the type that it comes in (f32
/// or bf16): columns `column` .. of the rows in `rows`. `column` and `width` do
/// not straddle the rope part.
struct CacheReader {
  dsv4::CacheType type;
  unsigned firstArg; // kernel argument of its first component
  static llvm::SmallVector<Value> operands(Lowering &, Value cache);
  unsigned components() const;
  Value read(KernelBuilder &k, Value rows, int64_t column, int64_t width) const;
  /// The same with a column that is not known: of the rope part if `rope`
  /// (which is apart if hasRope()), else of the others.
  Value read(KernelBuilder &k, Value rows, Value column, int64_t width,
             bool rope) const;
  bool hasRope() const { return type.getFormat() == dsv4::CacheFormat::FP8; }
  int64_t ropeColumn() const { return type.getWidth() - type.getRope(); }
};

} // namespace fathom
