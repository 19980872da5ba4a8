// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the fusion passes share: making a group of operations without changing
// what the function computes, and the table of all fusions.
#pragma once

#include "passes/Passes.h"

namespace fathom {

/// Puts `members`, operations of one block in any order, into a group where the
/// last of them stands. Operations between them that depend on a member, by
/// value or through a cache, move behind the group. Returns null and changes
/// nothing where a member depends on such an operation, where there are fewer
/// than two members, or where one of them is in a group or is one.
dsv4::FusedOp fuse(dsv4::FusionKind kind,
                   llvm::ArrayRef<mlir::Operation *> members);

/// Undoes a group: its members stand where it stood. Returns them.
llvm::SmallVector<mlir::Operation *> dissolve(dsv4::FusedOp group);

/// The only user of `value` if it is an `Op`; null otherwise.
template <typename Op> Op onlyUser(mlir::Value value) {
  return value.hasOneUse() ? llvm::dyn_cast<Op>(*value.user_begin()) : Op();
}

/// The fusions in the order in which they run; `name` is what
/// --disable-fusion takes. `keepsSums`: the fused kernels add in the order of
/// the unfused ones, so that results are the same bits with and without it.
struct Fusion {
  dsv4::FusionKind kind;
  llvm::StringRef name, summary;
  bool keepsSums;
  std::unique_ptr<mlir::Pass> (*create)();
};
llvm::ArrayRef<Fusion> fusions();

/// All fusions but those in `disabled` (names of `fusions()`, or "all").
void addFusionPasses(mlir::OpPassManager &passes,
                     llvm::ArrayRef<std::string> disabled = {});

/// What is done to launches after the lowering to tile programs: independent
/// ones become one, unless `disabled` says kMergeLaunches or "all". `calls`:
/// whether kernels of the target can call others.
constexpr llvm::StringLiteral kMergeLaunches = "merge_launches";
void addLaunchPasses(mlir::OpPassManager &passes, bool calls,
                     llvm::ArrayRef<std::string> disabled = {});

} // namespace fathom
