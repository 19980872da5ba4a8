// RUN: fathom-opt --fathom-cpu-lower-kernels --fathom-tile-to-linalg %s | FileCheck %s

// One generic: the broadcast, the constant and both steps are fused.
// CHECK-LABEL: func.func @fused
// CHECK: tile.load
// CHECK: tile.load
// CHECK: linalg.generic
// CHECK-NEXT: ^bb0
// CHECK: arith.mulf
// CHECK: arith.addf
// CHECK-NOT: linalg.generic
// CHECK: tile.store
tile.kernel @fused(%a: memref<8x32xf32>, %c: memref<8xf32>, %o: memref<8x32xf32>) {
  %zero = arith.constant 0 : index
  %two = arith.constant dense<2.0> : tensor<8x32xf32>
  %x = tile.load %a[%zero, %zero] : memref<8x32xf32> -> tensor<8x32xf32>
  %y = tile.load %c[%zero] : memref<8xf32> -> tensor<8xf32>
  %m = arith.mulf %x, %two : tensor<8x32xf32>
  %b = tile.broadcast %y dims [1] : tensor<8xf32> -> tensor<8x32xf32>
  %s = arith.addf %m, %b : tensor<8x32xf32>
  tile.store %s, %o[%zero, %zero] : tensor<8x32xf32>, memref<8x32xf32>
  tile.return
}

// A function is not computed again for every element of a broadcast.
// CHECK-LABEL: func.func @costly
// CHECK: linalg.generic
// CHECK: math.exp
// CHECK: linalg.generic
// CHECK: arith.mulf
tile.kernel @costly(%a: memref<8x32xf32>, %c: memref<8xf32>, %o: memref<8x32xf32>) {
  %zero = arith.constant 0 : index
  %x = tile.load %a[%zero, %zero] : memref<8x32xf32> -> tensor<8x32xf32>
  %y = tile.load %c[%zero] : memref<8xf32> -> tensor<8xf32>
  %e = math.exp %y : tensor<8xf32>
  %b = tile.broadcast %e dims [1] : tensor<8xf32> -> tensor<8x32xf32>
  %s = arith.mulf %x, %b : tensor<8x32xf32>
  tile.store %s, %o[%zero, %zero] : tensor<8x32xf32>, memref<8x32xf32>
  tile.return
}
