// Slices along one dimension: a number for extract, a choice for insert.
// REQUIRES: tileirdisasm, fathom-tile-to-cudatile
// RUN: fathom-tile-to-cudatile %s sm_90 %t && tileirdisasm %t | FileCheck %s

// CHECK-LABEL: entry @slices(
// CHECK: cmpi equal {{.*}} : tile<2xi32> -> tile<2xi1>
// CHECK: select {{.*}} : tile<8x2x16xi1>, tile<8x2x16xbf16>
// CHECK: extract {{.*}} : tile<8x32xbf16> -> tile<8x16xbf16>
tile.kernel @slices(%x: memref<8x16xbf16>, %y: memref<8x16xbf16>) {
  %zero = arith.constant 0 : index
  %v = tile.load %x[%zero, %zero] : memref<8x16xbf16> -> tensor<8x16xbf16>
  %e = tensor.empty() : tensor<8x32xbf16>
  %w = tensor.insert_slice %v into %e[0, 16] [8, 16] [1, 1] : tensor<8x16xbf16> into tensor<8x32xbf16>
  %u = tensor.extract_slice %w[0, 16] [8, 16] [1, 1] : tensor<8x32xbf16> to tensor<8x16xbf16>
  tile.store %u, %y[%zero, %zero] : tensor<8x16xbf16>, memref<8x16xbf16>
  tile.return
}

// Even and odd elements, and back; a sum in one dimension and over a prefix.
// CHECK-LABEL: entry @pairs(
// CHECK: reshape {{.*}} -> tile<8x8x2xf32>
// CHECK-COUNT-2: extract {{.*}} : tile<8x8x2xf32> -> tile<8x8x1xf32>
// CHECK: cat {{.*}} dim = 2
// CHECK: reduce {{.*}} dim=1 identities=[0xFF800000 : f32]
// CHECK: maxf {{.*}} propagate_nan
// CHECK: scan {{.*}} dim=0 reverse=false identities=[0 : i32]
tile.kernel @pairs(%x: memref<8x16xf32>, %y: memref<8xf32>, %z: memref<8xi32>) {
  %zero = arith.constant 0 : index
  %v = tile.load %x[%zero, %zero] : memref<8x16xf32> -> tensor<8x16xf32>
  %e, %o = tile.deinterleave %v : tensor<8x16xf32>
  %w = tile.interleave %o, %e : tensor<8x8xf32>
  %m = tile.reduce <max> %w {dim = 1} : tensor<8x16xf32>
  tile.store %m, %y[%zero] : tensor<8xf32>, memref<8xf32>
  %i = tile.iota : tensor<8xi32>
  %s = tile.scan %i {dim = 0} : tensor<8xi32>
  tile.store %s, %z[%zero] : tensor<8xi32>, memref<8xi32>
  tile.return
}
