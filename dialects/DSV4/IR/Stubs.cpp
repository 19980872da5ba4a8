// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/IR/DSV4.h"
using namespace mlir;
using namespace fathom::dsv4;
LogicalResult IndexScoresOp::verify() { return success(); }
LogicalResult SelectTopKOp::verify() { return success(); }
LogicalResult AttentionOp::verify() { return success(); }
LogicalResult WindowInsertOp::verify() { return success(); }
LogicalResult CompressedInsertOp::verify() { return success(); }
LogicalResult CompressPoolOp::verify() { return success(); }
LogicalResult StateUpdateOp::verify() { return success(); }
LogicalResult HCExpandOp::verify() { return success(); }
LogicalResult HCPreOp::verify() { return success(); }
LogicalResult HCPostOp::verify() { return success(); }
LogicalResult HCHeadOp::verify() { return success(); }
LogicalResult AddStreamsOp::verify() { return success(); }
LogicalResult GateOp::verify() { return success(); }
LogicalResult RouteTopKOp::verify() { return success(); }
LogicalResult RouteHashOp::verify() { return success(); }
LogicalResult ExpertsOp::verify() { return success(); }
LogicalResult SwiGLUOp::verify() { return success(); }
LogicalResult MoECombineOp::verify() { return success(); }
LogicalResult ParameterOp::verify() { return success(); }
LogicalResult StackedParameterOp::verify() { return success(); }
LogicalResult EmbedOp::verify() { return success(); }
LogicalResult SelectRowsOp::verify() { return success(); }
LogicalResult RMSNormOp::verify() { return success(); }
LogicalResult HeadNormOp::verify() { return success(); }
LogicalResult LinearOp::verify() { return success(); }
LogicalResult GroupedLinearOp::verify() { return success(); }
LogicalResult ScaleOp::verify() { return success(); }
LogicalResult RopeTableOp::verify() { return success(); }
LogicalResult RopeOp::verify() { return success(); }
LogicalResult HadamardOp::verify() { return success(); }
LogicalResult FakeQuantizeOp::verify() { return success(); }
LogicalResult RopeAttr::verify(function_ref<InFlightDiagnostic()>, int64_t, FloatAttr, FloatAttr, int64_t, FloatAttr, FloatAttr) { return success(); }
LogicalResult CacheType::verify(function_ref<InFlightDiagnostic()>, CacheKind, int64_t, int64_t, int64_t, CacheFormat) { return success(); }
