// Result types that are not written follow from the operands.
// RUN: fathom-opt %s -mlir-print-op-generic | FileCheck %s

func.func @infer(%x: tensor<4x16x8xf32>, %b: tensor<2x8xbf16>) {
  // CHECK: "tile.reduce"({{.*}}) <{dim = 0 : i64, kind = #tile.kind<add>}> : (tensor<4x16x8xf32>) -> tensor<16x8xf32>
  %0 = tile.reduce <add> %x {dim = 0} : tensor<4x16x8xf32>
  // CHECK: "tile.reduce"({{.*}}) -> tensor<4x16xf32>
  %1 = tile.reduce <min> %x {dim = 2} : tensor<4x16x8xf32>
  // CHECK: "tile.transpose"({{.*}}) {{.*}} -> tensor<8x4x16xf32>
  %2 = tile.transpose %x [2, 0, 1] : tensor<4x16x8xf32>
  // CHECK: "tile.deinterleave"({{.*}}) : (tensor<2x8xbf16>) -> (tensor<2x4xbf16>, tensor<2x4xbf16>)
  %e, %o = tile.deinterleave %b : tensor<2x8xbf16>
  // CHECK: "tile.interleave"({{.*}}) : (tensor<2x4xbf16>, tensor<2x4xbf16>) -> tensor<2x8xbf16>
  %3 = tile.interleave %e, %o : tensor<2x4xbf16>
  return
}
