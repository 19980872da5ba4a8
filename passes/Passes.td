// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_PASSES
#define FATHOM_PASSES
include "mlir/Pass/PassBase.td"

def DSV4ToTilePass : Pass<"fathom-dsv4-to-tile", "::mlir::ModuleOp"> {
  let summary = "turn what the model computes into step schedules and kernels";
  let description = [{
    Every function of dsv4 operations becomes step schedules for at most 1, at
    most 16 and at most `max_step_tokens` tokens, and for as many as streams are
    taken together where those are fewer than 16, over kernels of the tile
    dialect that the schedules of a module share.
  }];
  let dependentDialects = [
    "::fathom::tile::TileDialect", "::mlir::arith::ArithDialect",
    "::mlir::func::FuncDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"];
  let options = [ListOption<"buckets", "buckets", "int64_t",
      "tokens of a step that schedules are made for, ascending; by default 1, 8 "
      "on a CPU, 16 and the model's max_step_tokens">,
    Option<"target", "target", "std::string", /*default=*/"\"cpu\"",
      "whose tile shapes the kernels have: cpu, cuda, ascend or ascend-codes">,
    Option<"checkKernels", "check-kernels", "bool", /*default=*/"false",
      "write a shared kernel anew for every launch and fail where it differs: "
      "its name and argument types have to say all that its body depends on">];
}

def FuseSparseAttentionPass : Pass<"fathom-fuse-sparse-attention", "::mlir::ModuleOp"> {
  let summary = "one group of an attention with its selection and inverse rope";
  let description = [{
    Groups `attention` with the `rope` that turns its result back and with the
    `select_topk`, `index_scores` and `scale` that give its indices, each where
    nothing else uses the results between. The group becomes two kernels for the
    indexer (one where all blocks are few), which keep the best blocks of each
    part of the cache and never the scores of all, and one for attention.
    No sum changes its order: results are bit for bit those of the members.
  }];
  let dependentDialects = ["::fathom::dsv4::DSV4Dialect"];
}

class FusionPass<string flag, string anchor = "::mlir::ModuleOp">
    : Pass<flag, anchor> {
  let dependentDialects = ["::fathom::dsv4::DSV4Dialect"];
}

def FuseHyperConnectionPass : FusionPass<"fathom-fuse-hyper-connection", "::mlir::func::FuncOp"> {
  let summary = "group what stands between two sub-layers";
  let description = [{
    The matrix that makes a sub-layer's output, the post-mix, the next mix, its
    norm, its quantisation point and the router's scores. Two kernels: the
    matrix with the post-mix and, for every block of channels, the block's share
    of the next mix's sums; then the rest, a program a token. The sums of a mix
    go over blocks of channels, ascending, where the operation by itself goes
    over chunks of the flat streams: results differ by rounding of f32 sums. All
    other sums have the order of the operations one by one.
  }];
}

def FuseExpertsPass : FusionPass<"fathom-fuse-experts", "::mlir::func::FuncOp"> {
  let summary = "group routed and shared experts with the choice of experts";
  let description = [{
    Choice of experts, routed and shared experts and their sum, with the
    post-mix that takes the sum and the group that this is in, which is
    dissolved. For one token two kernels: gate and up of all, where each program
    makes the choice again; down of all, their sum in ascending id, and the
    post-mix. For several tokens the choice and the grouping of tokens by expert
    come first and the sum is a kernel of its own. The order of sums is that of
    the operations one by one.
  }];
}

def FuseAttentionInputPass : FusionPass<"fathom-fuse-attention-input"> {
  let summary = "group what makes queries and window rows";
  let description = [{
    Two groups a layer. Queries: the norm of the low rank, its quantisation
    point, and all projections to heads (attention's and the indexer's) with
    head norm, rotation, Hadamard transform and quantisation behind each; one
    program makes a head. Window row: norm, rotation, quantisation and insertion
    of the token's row; one program a token. The order of sums is that of the
    operations one by one.
  }];
}

def FuseCompressedAttentionPass : FusionPass<"fathom-fuse-compressed-attention"> {
  let summary = "group the compressor from pooling to the stored block";
  let description = [{
    Pooling, norm, rotation, Hadamard transform, quantisation and insertion; one
    program a token, of which a block's last one works and the others return.
    The state's update stays apart and behind: rows that a step's later tokens
    overwrite are those that its earlier blocks still read. The order of sums
    is that of the operations one by one.
  }];
}

def FuseHeadPass : FusionPass<"fathom-fuse-head"> {
  let summary = "group what turns streams into logits";
  let description = [{
    Selection of rows, the final mix, the norm and the vocabulary's matrix: a
    small kernel with one program a row, and the product. The order of sums is
    that of the operations one by one.
  }];
}

def MergeLaunchesPass : Pass<"fathom-merge-launches", "::mlir::ModuleOp"> {
  let summary = "run independent launches as one";
  let description = [{
    For every function with `tile.entry`: orders the launches by level (one
    after the last launch that it depends on) and turns the launches of a level
    into one launch of a new kernel, whose programs are those of all parts, long
    ones first. A program does what it did before, so no bit changes. Kernels of
    equal parts are shared; kernels that nothing names any more go. A level
    stays apart where the copies in its kernel would become too long, or those in
    all merged kernels longer than four times the kernels without. A schedule
    that holds other operations with effects stays as it is. Stands before
    memory planning: all parts of a launch are alive together.
  }];
  let options = [Option<"calls", "calls", "bool", /*default=*/"false",
      "merged kernels call their parts: for targets whose kernels can">];
  let dependentDialects = [
    "::fathom::tile::TileDialect", "::mlir::arith::ArithDialect",
    "::mlir::func::FuncDialect", "::mlir::scf::SCFDialect"];
}

def PlanMemoryPass : Pass<"fathom-plan-memory", "::mlir::ModuleOp"> {
  let summary = "place the intermediates of step schedules in a workspace";
  let description = [{
    For every function with `tile.entry`: finds from which launch to which each
    `memref.alloc` is used, through views, and packs the allocs into one
    workspace. Sizes are those at `tile.max_tokens` tokens; offsets are
    multiples of 64 bytes. Sets `tile.offset` on allocs and
    `tile.workspace_bytes` on the function. An alloc whose rows a kernel takes
    by number must have fewer than 2^31 of them.
  }];
  let dependentDialects = [];
}

#endif
