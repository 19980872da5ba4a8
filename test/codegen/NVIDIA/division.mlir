// Dividing by a power of two, which a scale is, multiplies with its reciprocal: the
// same bits, and no slow path for each element. Any other division stays one.
// REQUIRES: tileirdisasm, fathom-tile-to-cudatile
// RUN: fathom-tile-to-cudatile %s sm_90 %t && tileirdisasm %t | FileCheck %s

// CHECK-LABEL: entry @scale(
// CHECK-NOT: divf
// CHECK: subi {{.*}} : tile<4xi32>
// CHECK: maxi {{.*}} : tile<4xi32>
// CHECK: bitcast {{.*}} : tile<4xi32> -> tile<4xf32>
// CHECK: broadcast {{.*}} -> tile<4x32xf32>
// CHECK: mulf {{.*}} : tile<4x32xf32>
// CHECK-NOT: divf
// CHECK: return
tile.kernel @scale(%x: memref<4x32xf32>, %s: memref<4xf32>, %y: memref<4x32xf32>) {
  %zero = arith.constant 0 : index
  %mask = arith.constant dense<-8388608> : tensor<4xi32>
  %v = tile.load %x[%zero, %zero] : memref<4x32xf32> -> tensor<4x32xf32>
  %f = tile.load %s[%zero] : memref<4xf32> -> tensor<4xf32>
  %b = arith.bitcast %f : tensor<4xf32> to tensor<4xi32>
  %m = arith.andi %b, %mask : tensor<4xi32>
  %p = arith.bitcast %m : tensor<4xi32> to tensor<4xf32>
  %w = tile.broadcast %p dims [1] : tensor<4xf32> -> tensor<4x32xf32>
  %d = arith.divf %v, %w : tensor<4x32xf32>
  tile.store %d, %y[%zero, %zero] : tensor<4x32xf32>, memref<4x32xf32>
  tile.return
}

// CHECK-LABEL: entry @other(
// CHECK: divf {{.*}} : tile<4x32xf32>
tile.kernel @other(%x: memref<4x32xf32>, %s: memref<4xf32>, %y: memref<4x32xf32>) {
  %zero = arith.constant 0 : index
  %mask = arith.constant dense<-65536> : tensor<4xi32>
  %v = tile.load %x[%zero, %zero] : memref<4x32xf32> -> tensor<4x32xf32>
  %f = tile.load %s[%zero] : memref<4xf32> -> tensor<4xf32>
  %b = arith.bitcast %f : tensor<4xf32> to tensor<4xi32>
  %m = arith.andi %b, %mask : tensor<4xi32>
  %p = arith.bitcast %m : tensor<4xi32> to tensor<4xf32>
  %w = tile.broadcast %p dims [1] : tensor<4xf32> -> tensor<4x32xf32>
  %d = arith.divf %v, %w : tensor<4x32xf32>
  tile.store %d, %y[%zero, %zero] : tensor<4x32xf32>, memref<4x32xf32>
  tile.return
}
