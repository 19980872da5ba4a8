// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef FATHOM_DSV4_OPS
#define FATHOM_DSV4_OPS

include "dialects/DSV4/IR/DSV4Base.td"
include "dialects/DSV4/IR/TensorOps.td"
include "dialects/DSV4/IR/HyperConnectionOps.td"
include "dialects/DSV4/IR/CacheOps.td"
include "dialects/DSV4/IR/AttentionOps.td"
include "dialects/DSV4/IR/MoEOps.td"
include "dialects/DSV4/IR/FusedOps.td"

#endif
