// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products of codes: the 950's cube unit takes them with a scale for every 32
// along K, and a weight in e2m1 as e4m3; the others decode to bf16.
// REQUIRES: fathom-tile-to-adapter, mlir-opt
// RUN: rm -rf %t && fathom-tile-to-adapter %s 950 %t/950 && fathom-tile-to-adapter %s 910b %t/910b
// RUN: mlir-opt --allow-unregistered-dialect %t/950/fp8.mlir | FileCheck %s --check-prefix=FP8
// RUN: mlir-opt --allow-unregistered-dialect %t/950/fp4.mlir | FileCheck %s --check-prefix=FP4
// RUN: mlir-opt --allow-unregistered-dialect %t/950/values.mlir | FileCheck %s --check-prefix=VALUES
// RUN: mlir-opt %t/910b/fp8.mlir | FileCheck %s --check-prefix=DECODED
// RUN: mlir-opt %t/910b/fp4.mlir | FileCheck %s --check-prefix=DECODED

// FP8: func.func @fp8(
// FP8-DAG: arith.bitcast %{{.*}} : tensor<64x128xi8> to tensor<64x128xf8E4M3FN>
// FP8-DAG: arith.bitcast %{{.*}} : tensor<16x128xi8> to tensor<16x128xf8E4M3FN>
// FP8: %[[P:.*]] = "hfusion.matmul_mx"({{.*}}) : (tensor<64x128xf8E4M3FN>, tensor<128x16xf8E4M3FN>, tensor<64x4xi8>, tensor<16x4xi8>, tensor<64x16xf32>) -> tensor<64x16xf32>
// FP8: arith.addf %{{.*}}, %[[P]] : tensor<64x16xf32>
// DECODED-NOT: hfusion
// DECODED: linalg.matmul {{.*}} ins({{.*}} : tensor<64x128xbf16>, tensor<128x16xbf16>)
tile.kernel @fp8(%w: memref<64x128xf8E4M3FN>, %s: memref<1x1xf8E8M0FNU>, %x: memref<?x128xf8E4M3FN>, %xs: memref<?x1xf8E8M0FNU>, %start: memref<64x16xf32>, %y: memref<64x16xf32>) {
  %zero = arith.constant 0 : index
  %acc = tile.load %start[%zero, %zero] : memref<64x16xf32> -> tensor<64x16xf32>
  %a = tile.load %w[%zero, %zero] : memref<64x128xf8E4M3FN> -> tensor<64x128xf8E4M3FN>
  %e = tile.load %s[%zero, %zero] : memref<1x1xf8E8M0FNU> -> tensor<1x1xf8E8M0FNU>
  %b = tile.load %x[%zero, %zero] : memref<?x128xf8E4M3FN> -> tensor<16x128xf8E4M3FN>
  %f = tile.load %xs[%zero, %zero] : memref<?x1xf8E8M0FNU> -> tensor<16x1xf8E8M0FNU>
  %c = tile.dot_scaled %a, %e, %b scaled %f, %acc : tensor<64x128xf8E4M3FN>, tensor<1x1xf8E8M0FNU>, tensor<16x128xf8E4M3FN> scaled tensor<16x1xf8E8M0FNU>, tensor<64x16xf32>
  tile.store %c, %y[%zero, %zero] : tensor<64x16xf32>, memref<64x16xf32>
  tile.return
}

// FP4: func.func @fp4(
// FP4: arith.trunci %{{.*}} : tensor<64x128xi16> to tensor<64x128xi8>
// FP4: "hfusion.matmul_mx"({{.*}}) : (tensor<64x128xf8E4M3FN>, tensor<128x16xf8E4M3FN>, tensor<64x4xi8>, tensor<16x4xi8>, tensor<64x16xf32>) -> tensor<64x16xf32>
tile.kernel @fp4(%w: memref<64x64xi8>, %s: memref<64x4xf8E8M0FNU>, %x: memref<?x128xf8E4M3FN>, %xs: memref<?x1xf8E8M0FNU>, %y: memref<64x16xf32>) {
  %zero = arith.constant 0 : index
  %acc = arith.constant dense<0.0> : tensor<64x16xf32>
  %a = tile.load %w[%zero, %zero] : memref<64x64xi8> -> tensor<64x64xi8>
  %e = tile.load %s[%zero, %zero] : memref<64x4xf8E8M0FNU> -> tensor<64x4xf8E8M0FNU>
  %b = tile.load %x[%zero, %zero] : memref<?x128xf8E4M3FN> -> tensor<16x128xf8E4M3FN>
  %f = tile.load %xs[%zero, %zero] : memref<?x1xf8E8M0FNU> -> tensor<16x1xf8E8M0FNU>
  %c = tile.dot_scaled %a, %e, %b scaled %f, %acc : tensor<64x64xi8>, tensor<64x4xf8E8M0FNU>, tensor<16x128xf8E4M3FN> scaled tensor<16x1xf8E8M0FNU>, tensor<64x16xf32>
  tile.store %c, %y[%zero, %zero] : tensor<64x16xf32>, memref<64x16xf32>
  tile.return
}

// Tokens that are values are multiplied as such.
// VALUES: func.func @values(
// VALUES-NOT: hfusion
// VALUES: linalg.matmul {{.*}} ins({{.*}} : tensor<64x128xbf16>, tensor<128x16xbf16>)
tile.kernel @values(%w: memref<64x64xi8>, %s: memref<64x4xf8E8M0FNU>, %x: memref<?x128xbf16>, %y: memref<64x16xf32>) {
  %zero = arith.constant 0 : index
  %acc = arith.constant dense<0.0> : tensor<64x16xf32>
  %a = tile.load %w[%zero, %zero] : memref<64x64xi8> -> tensor<64x64xi8>
  %e = tile.load %s[%zero, %zero] : memref<64x4xf8E8M0FNU> -> tensor<64x4xf8E8M0FNU>
  %b = tile.load %x[%zero, %zero] : memref<?x128xbf16> -> tensor<16x128xbf16>
  %c = tile.dot_scaled %a, %e, %b, %acc : tensor<64x64xi8>, tensor<64x4xf8E8M0FNU>, tensor<16x128xbf16>, tensor<64x16xf32>
  tile.store %c, %y[%zero, %zero] : tensor<64x16xf32>, memref<64x16xf32>
  tile.return
}
