// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The form of a launch's grid: how many programs run along an axis, as a
// function of the counts of a step.
#pragma once

#include "mlir/IR/AffineExpr.h"
#include "llvm/ADT/SmallVector.h"

#include <optional>

namespace fathom::tile {

/// ceil(count / divide) * multiply programs; `dim` is the count's dimension of
/// the grid map (0 tokens, 1 logits rows), -1 for a count of one.
struct GridTerm {
  int dim = -1;
  int64_t divide = 1, multiply = 1;
};

/// A result of a grid map as a sum of c, d or c * (d ceildiv k), with positive
/// c and k; nothing for another form. Several terms are the parts of a merged
/// kernel.
std::optional<llvm::SmallVector<GridTerm>> gridTerms(mlir::AffineExpr expr);

} // namespace fathom::tile
