// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// AscendNPU-IR does not look at the scales of its product of codes; we do.
// REQUIRES: fathom-tile-to-adapter
// RUN: split-file %s %t
// RUN: fathom-tile-to-adapter --verify %t/good.mlir
// RUN: not fathom-tile-to-adapter --verify %t/scale-columns.mlir 2>&1 | FileCheck %s --check-prefix=SCALES
// RUN: not fathom-tile-to-adapter --verify %t/scale-rows.mlir 2>&1 | FileCheck %s --check-prefix=SCALES
// RUN: not fathom-tile-to-adapter --verify %t/scale-type.mlir 2>&1 | FileCheck %s --check-prefix=SCALES
// RUN: not fathom-tile-to-adapter --verify %t/turned.mlir 2>&1 | FileCheck %s --check-prefix=TILES
// RUN: not fathom-tile-to-adapter --verify %t/odd.mlir 2>&1 | FileCheck %s --check-prefix=ODD
// RUN: not fathom-tile-to-adapter --verify %t/codes.mlir 2>&1 | FileCheck %s --check-prefix=CODES
// RUN: not fathom-tile-to-adapter --verify %t/start.mlir 2>&1 | FileCheck %s --check-prefix=START
// RUN: not fathom-tile-to-adapter --verify %t/operands.mlir 2>&1 | FileCheck %s --check-prefix=OPERANDS
// SCALES: hfusion.matmul_mx: its scales are i8, Mx(K/32) and Nx(K/32)
// TILES: hfusion.matmul_mx: its tiles are MxK, KxN and MxN
// ODD: hfusion.matmul_mx: K is a multiple of 32
// CODES: hfusion.matmul_mx: its operands are f8E4M3FN
// START: hfusion.matmul_mx: its start and its result are f32, of one shape
// OPERANDS: hfusion.matmul_mx: takes two tiles of codes

//--- good.mlir
func.func @f(%0: tensor<64x128xf8E4M3FN>, %1: tensor<128x16xf8E4M3FN>, %2: tensor<64x4xi8>, %3: tensor<16x4xi8>, %4: tensor<64x16xf32>) -> tensor<64x16xf32> {
  %r = "hfusion.matmul_mx"(%0, %1, %2, %3, %4) : (tensor<64x128xf8E4M3FN>, tensor<128x16xf8E4M3FN>, tensor<64x4xi8>, tensor<16x4xi8>, tensor<64x16xf32>) -> tensor<64x16xf32>
  return %r : tensor<64x16xf32>
}

//--- scale-columns.mlir
func.func @f(%0: tensor<64x128xf8E4M3FN>, %1: tensor<128x16xf8E4M3FN>, %2: tensor<64x4xi8>, %3: tensor<16x2xi8>, %4: tensor<64x16xf32>) -> tensor<64x16xf32> {
  %r = "hfusion.matmul_mx"(%0, %1, %2, %3, %4) : (tensor<64x128xf8E4M3FN>, tensor<128x16xf8E4M3FN>, tensor<64x4xi8>, tensor<16x2xi8>, tensor<64x16xf32>) -> tensor<64x16xf32>
  return %r : tensor<64x16xf32>
}

//--- scale-rows.mlir
func.func @f(%0: tensor<64x128xf8E4M3FN>, %1: tensor<128x16xf8E4M3FN>, %2: tensor<1x4xi8>, %3: tensor<16x4xi8>, %4: tensor<64x16xf32>) -> tensor<64x16xf32> {
  %r = "hfusion.matmul_mx"(%0, %1, %2, %3, %4) : (tensor<64x128xf8E4M3FN>, tensor<128x16xf8E4M3FN>, tensor<1x4xi8>, tensor<16x4xi8>, tensor<64x16xf32>) -> tensor<64x16xf32>
  return %r : tensor<64x16xf32>
}

//--- scale-type.mlir
func.func @f(%0: tensor<64x128xf8E4M3FN>, %1: tensor<128x16xf8E4M3FN>, %2: tensor<64x4xf32>, %3: tensor<16x4xi8>, %4: tensor<64x16xf32>) -> tensor<64x16xf32> {
  %r = "hfusion.matmul_mx"(%0, %1, %2, %3, %4) : (tensor<64x128xf8E4M3FN>, tensor<128x16xf8E4M3FN>, tensor<64x4xf32>, tensor<16x4xi8>, tensor<64x16xf32>) -> tensor<64x16xf32>
  return %r : tensor<64x16xf32>
}

//--- turned.mlir
func.func @f(%0: tensor<64x128xf8E4M3FN>, %1: tensor<16x128xf8E4M3FN>, %2: tensor<64x4xi8>, %3: tensor<16x4xi8>, %4: tensor<64x16xf32>) -> tensor<64x16xf32> {
  %r = "hfusion.matmul_mx"(%0, %1, %2, %3, %4) : (tensor<64x128xf8E4M3FN>, tensor<16x128xf8E4M3FN>, tensor<64x4xi8>, tensor<16x4xi8>, tensor<64x16xf32>) -> tensor<64x16xf32>
  return %r : tensor<64x16xf32>
}

//--- odd.mlir
func.func @f(%0: tensor<64x16xf8E4M3FN>, %1: tensor<16x16xf8E4M3FN>, %2: tensor<64x1xi8>, %3: tensor<16x1xi8>, %4: tensor<64x16xf32>) -> tensor<64x16xf32> {
  %r = "hfusion.matmul_mx"(%0, %1, %2, %3, %4) : (tensor<64x16xf8E4M3FN>, tensor<16x16xf8E4M3FN>, tensor<64x1xi8>, tensor<16x1xi8>, tensor<64x16xf32>) -> tensor<64x16xf32>
  return %r : tensor<64x16xf32>
}

//--- codes.mlir
func.func @f(%0: tensor<64x128xi8>, %1: tensor<128x16xf8E4M3FN>, %2: tensor<64x4xi8>, %3: tensor<16x4xi8>, %4: tensor<64x16xf32>) -> tensor<64x16xf32> {
  %r = "hfusion.matmul_mx"(%0, %1, %2, %3, %4) : (tensor<64x128xi8>, tensor<128x16xf8E4M3FN>, tensor<64x4xi8>, tensor<16x4xi8>, tensor<64x16xf32>) -> tensor<64x16xf32>
  return %r : tensor<64x16xf32>
}

//--- start.mlir
func.func @f(%0: tensor<64x128xf8E4M3FN>, %1: tensor<128x16xf8E4M3FN>, %2: tensor<64x4xi8>, %3: tensor<16x4xi8>, %4: tensor<64x16xf32>) -> tensor<64x16xf32> {
  %r = "hfusion.matmul_mx"(%0, %1, %2, %3, %4) : (tensor<64x128xf8E4M3FN>, tensor<128x16xf8E4M3FN>, tensor<64x4xi8>, tensor<16x4xi8>, tensor<64x16xf32>) -> tensor<64x16xbf16>
  return %4 : tensor<64x16xf32>
}

//--- operands.mlir
func.func @f(%0: tensor<64x128xf8E4M3FN>, %1: tensor<128x16xf8E4M3FN>, %2: tensor<64x4xi8>, %3: tensor<16x4xi8>) -> tensor<64x16xf32> {
  %r = "hfusion.matmul_mx"(%0, %1, %2, %3) : (tensor<64x128xf8E4M3FN>, tensor<128x16xf8E4M3FN>, tensor<64x4xi8>, tensor<16x4xi8>) -> tensor<64x16xf32>
  return %r : tensor<64x16xf32>
}
