// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "dialects/DSV4/IR/DSV4.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fathom::dsv4;

#include "dialects/DSV4/IR/DSV4Dialect.cpp.inc"
#include "dialects/DSV4/IR/DSV4Enums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/DSV4/IR/DSV4Attrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/DSV4/IR/DSV4Types.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/DSV4/IR/DSV4Ops.cpp.inc"

void DSV4Dialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/DSV4/IR/DSV4Attrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/DSV4/IR/DSV4Types.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/DSV4/IR/DSV4Ops.cpp.inc"
      >();
}
