// Slices along one dimension: a number for extract, concatenation or a choice for
// insert.
// REQUIRES: tileirdisasm, fathom-tile-to-cudatile
// RUN: fathom-tile-to-cudatile %s sm_90 %t && tileirdisasm %t | FileCheck %s

// CHECK-LABEL: entry @slices(
// CHECK: constant <bf16: 0.000000e+00> : tile<8x32xbf16>
// CHECK: extract {{.*}} : tile<8x32xbf16> -> tile<8x16xbf16>
// CHECK: cat {{.*}} dim = 1 : tile<8x16xbf16>, tile<8x16xbf16> -> tile<8x32xbf16>
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

// A chain of insertions at fixed places is a tree of concatenations; what it
// began with does not appear where all of it is covered.
// CHECK-LABEL: entry @covered(
// CHECK-NOT: select
// CHECK: cat [[A:%[^ ]+]], [[B:%[^ ]+]] dim = 1 : tile<8x16xbf16>, tile<8x16xbf16> -> tile<8x32xbf16>
// CHECK-NEXT: cat [[C:%[^ ]+]], {{.*}} dim = 1 : tile<8x32xbf16>, tile<8x32xbf16> -> tile<8x64xbf16>
tile.kernel @covered(%x: memref<8x32xbf16>, %y: memref<8x16xbf16>, %z: memref<8x64xbf16>) {
  %zero = arith.constant 0 : index
  %v = tile.load %x[%zero, %zero] : memref<8x32xbf16> -> tensor<8x32xbf16>
  %w = tile.load %y[%zero, %zero] : memref<8x16xbf16> -> tensor<8x16xbf16>
  %e = tensor.empty() : tensor<8x64xbf16>
  %a = tensor.insert_slice %v into %e[0, 0] [8, 32] [1, 1] : tensor<8x32xbf16> into tensor<8x64xbf16>
  %b = tensor.insert_slice %w into %a[0, 32] [8, 16] [1, 1] : tensor<8x16xbf16> into tensor<8x64xbf16>
  %c = tensor.insert_slice %w into %b[0, 48] [8, 16] [1, 1] : tensor<8x16xbf16> into tensor<8x64xbf16>
  tile.store %c, %z[%zero, %zero] : tensor<8x64xbf16>, memref<8x64xbf16>
  tile.return
}

// At a place that is not known: a choice. All of a tile lies at 0.
// CHECK-LABEL: entry @choice(
// CHECK: cmpi equal {{.*}} : tile<2xi32> -> tile<2xi1>
// CHECK: select {{.*}} : tile<2x16xi1>, tile<2x16xf32>
// CHECK-NOT: extract
// CHECK: return
tile.kernel @choice(%x: memref<16xf32>, %y: memref<32xf32>) {
  %zero = arith.constant 0 : index
  %size = arith.constant 16 : index
  %i = tile.program_id 0
  %at = arith.muli %i, %size : index
  %v = tile.load %x[%zero] : memref<16xf32> -> tensor<16xf32>
  %e = arith.constant dense<0.0> : tensor<32xf32>
  %w = tensor.insert_slice %v into %e[%at] [16] [1] : tensor<16xf32> into tensor<32xf32>
  %u = tensor.extract_slice %w[%at] [32] [1] : tensor<32xf32> to tensor<32xf32>
  tile.store %u, %y[%zero] : tensor<32xf32>, memref<32xf32>
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

// A sum is one of integers, so that no order of adding matters: 32 bits for few
// addends, 64 for more. Of two addends there is only one.
// CHECK-LABEL: entry @sums(
// CHECK: reduce {{.*}} dim=1 identities=[0.000000e+00 : f32] : tile<8x16xf32>
// CHECK: maxf {{.*}} propagate_nan
// CHECK: ftoi {{.*}} tile<8x16xf32> -> tile<8x16xi32>
// CHECK: reduce {{.*}} dim=1 identities=[0 : i32] : tile<8x16xi32>
// CHECK: itof {{.*}} -> tile<8xf32>
// CHECK: reduce {{.*}} dim=1 identities=[0.000000e+00 : f32] : tile<1x128xf32>
// CHECK: ftoi {{.*}} tile<1x128xf32> -> tile<1x128xi64>
// CHECK: reduce {{.*}} dim=1 identities=[0] : tile<1x128xi64>
// CHECK: reduce {{.*}} dim=0 identities=[0.000000e+00 : f32] : tile<2xf32>
// CHECK-NOT: ftoi
// CHECK: store_view_tko
tile.kernel @sums(%x: memref<8x16xf32>, %y: memref<8xf32>, %z: memref<1xf32>,
                  %two: memref<2xf32>) {
  %zero = arith.constant 0 : index
  %v = tile.load %x[%zero, %zero] : memref<8x16xf32> -> tensor<8x16xf32>
  %few = tile.reduce <add> %v {dim = 1} : tensor<8x16xf32>
  tile.store %few, %y[%zero] : tensor<8xf32>, memref<8xf32>
  %long = tile.reshape %v : tensor<8x16xf32> -> tensor<1x128xf32>
  %many = tile.reduce <add> %long {dim = 1} : tensor<1x128xf32>
  tile.store %many, %z[%zero] : tensor<1xf32>, memref<1xf32>
  %pair = tile.load %two[%zero] : memref<2xf32> -> tensor<2xf32>
  %both = tile.reduce <add> %pair {dim = 0} : tensor<2xf32>
  %whole = tile.reshape %both : tensor<f32> -> tensor<1xf32>
  tile.store %whole, %z[%zero] : tensor<1xf32>, memref<1xf32>
  tile.return
}

// The scale of shares waits for no largest one.
// CHECK-LABEL: entry @shares(
// CHECK-NOT: maxf
// CHECK: ftoi {{.*}} tile<64x16xf32> -> tile<64x16xi64>
// CHECK: reduce {{.*}} dim=0 identities=[0] : tile<64x16xi64>
// CHECK: itof {{.*}} -> tile<16xf32>
// CHECK-NOT: reduce
// CHECK: store_view_tko
tile.kernel @shares(%x: memref<64x16xf32>, %y: memref<16xf32>) {
  %zero = arith.constant 0 : index
  %v = tile.load %x[%zero, %zero] : memref<64x16xf32> -> tensor<64x16xf32>
  %s = tile.reduce <add> %v {dim = 0, tile.shares} : tensor<64x16xf32>
  tile.store %s, %y[%zero] : tensor<16xf32>, memref<16xf32>
  tile.return
}

// Rows of bf16 values are added up by a product with ones.
// CHECK-LABEL: entry @rows(
// CHECK: mmaf {{.*}} tile<64x32xbf16>, tile<32x16xbf16>, tile<64x16xf32>
// CHECK: reduce {{.*}} dim=1 identities=[0xFF800000 : f32] : tile<64x16xf32>
tile.kernel @rows(%x: memref<64x32xbf16>, %y: memref<64xf32>) {
  %zero = arith.constant 0 : index
  %v = tile.load %x[%zero, %zero] : memref<64x32xbf16> -> tensor<64x32xbf16>
  %w = arith.extf %v : tensor<64x32xbf16> to tensor<64x32xf32>
  %s = tile.reduce <add> %w {dim = 1} : tensor<64x32xf32>
  tile.store %s, %y[%zero] : tensor<64xf32>, memref<64xf32>
  tile.return
}
