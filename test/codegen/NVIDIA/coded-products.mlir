// Activations that come as codes. From sm_100 on one instruction, whose tiles have
// at least 128 rows and 32 columns and a scale for each 32 of K; on sm_90 a product
// of codes for each block of K that has a scale, with the scales on its sums, and of
// e2m1 as e4m3; on sm_80 decoding.
// REQUIRES: tileirdisasm, fathom-tile-to-cudatile
// RUN: fathom-tile-to-cudatile %s sm_80 %t && tileirdisasm %t | FileCheck %s --check-prefix=AMPERE
// RUN: fathom-tile-to-cudatile %s sm_90 %t && tileirdisasm %t | FileCheck %s --check-prefix=HOPPER
// RUN: fathom-tile-to-cudatile %s sm_100 %t && tileirdisasm %t | FileCheck %s --check-prefix=BLACKWELL

// AMPERE-LABEL: entry @fp8(
// AMPERE-NOT: f8E4M3FN
// AMPERE: mmaf {{.*}} : tile<128x128xbf16>, tile<128x16xbf16>, tile<128x16xf32>
// AMPERE: fma {{.*}} : tile<128x16xf32>

// HOPPER-LABEL: entry @fp8(
// HOPPER: for {{.*}} -> (tile<128x16xf32>)
// HOPPER: mmaf {{.*}} : tile<128x128xf8E4M3FN>, tile<128x16xf8E4M3FN>, tile<128x16xf32>
// HOPPER: mulf {{.*}} : tile<128x16xf32>
// HOPPER: fma {{.*}} : tile<128x16xf32>

// BLACKWELL-LABEL: entry @fp8(
// BLACKWELL: for {{.*}} -> (tile<128x32xf32>)
// BLACKWELL: mmaf_scaled {{.*}} : tile<128x128xf8E4M3FN>, tile<128x32xf8E4M3FN>, tile<128x32xf32>, tile<128x4xf8E8M0FNU>, tile<4x32xf8E8M0FNU>
// BLACKWELL: extract {{.*}} : tile<128x32xf32> -> tile<128x16xf32>
tile.kernel @fp8(%w: memref<256x512xf8E4M3FN>, %s: memref<2x4xf8E8M0FNU>, %x: memref<?x512xf8E4M3FN>, %t: memref<?x4xf8E8M0FNU>, %y: memref<?x256xf32>, %n: index) {
  %zero = arith.constant 0 : index
  %k = arith.constant 512 : index
  %blocks = arith.constant 4 : index
  %step = arith.constant 128 : index
  %m = arith.constant 256 : index
  %b = tile.program_id 0
  %r = arith.muli %b, %step : index
  %init = arith.constant dense<0.0> : tensor<128x16xf32>
  %sum = scf.for %i = %zero to %k step %step iter_args(%acc = %init) -> tensor<128x16xf32> {
    %j = arith.divui %i, %step : index
    %wt = tile.load %w[%r, %i] : memref<256x512xf8E4M3FN> -> tensor<128x128xf8E4M3FN>
    %st = tile.load %s[%b, %j] : memref<2x4xf8E8M0FNU> -> tensor<1x1xf8E8M0FNU>
    %xt = tile.load %x[%zero, %i] bounds[%n, %k] : memref<?x512xf8E4M3FN> -> tensor<16x128xf8E4M3FN>
    %tt = tile.load %t[%zero, %j] bounds[%n, %blocks] : memref<?x4xf8E8M0FNU> -> tensor<16x1xf8E8M0FNU>
    %next = tile.dot_scaled %wt, %st, %xt scaled %tt, %acc : tensor<128x128xf8E4M3FN>, tensor<1x1xf8E8M0FNU>, tensor<16x128xf8E4M3FN> scaled tensor<16x1xf8E8M0FNU>, tensor<128x16xf32>
    scf.yield %next : tensor<128x16xf32>
  }
  %o = tile.transpose %sum [1, 0] : tensor<128x16xf32>
  tile.store %o, %y[%zero, %r] bounds[%n, %m] : tensor<16x128xf32>, memref<?x256xf32>
  tile.return
}

// AMPERE-LABEL: entry @fp4(
// AMPERE: mmaf {{.*}} : tile<128x128xbf16>, tile<128x16xbf16>, tile<128x16xf32>

// HOPPER-LABEL: entry @fp4(
// HOPPER: unpack {{.*}} : tile<8192xi8> -> tile<2048xi32>
// HOPPER: cat {{.*}} dim = 2 : tile<128x4x1x4xi32>, tile<128x4x1x4xi32> -> tile<128x4x2x4xi32>
// HOPPER: permute {{.*}} [0, 1, 3, 2] : tile<16x4x16x2xf8E4M3FN> -> tile<16x4x2x16xf8E4M3FN>
// HOPPER-COUNT-4: mmaf {{.*}} fast_acc : tile<128x32xf8E4M3FN>, tile<32x16xf8E4M3FN>, tile<128x16xf32>
// HOPPER-NOT: mmaf

// BLACKWELL-LABEL: entry @fp4(
// BLACKWELL: unpack {{.*}} : tile<8192xi8> -> tile<16384xf4E2M1FN>
// BLACKWELL: ftof {{.*}} : tile<128x128xf4E2M1FN> -> tile<128x128xf8E4M3FN>
// BLACKWELL: mmaf_scaled {{.*}} : tile<128x128xf8E4M3FN>, tile<128x32xf8E4M3FN>, tile<128x32xf32>, tile<128x4xf8E8M0FNU>, tile<4x32xf8E8M0FNU>
tile.kernel @fp4(%w: memref<256x256xi8>, %s: memref<256x16xf8E8M0FNU>, %x: memref<?x512xf8E4M3FN>, %t: memref<?x4xf8E8M0FNU>, %y: memref<?x256xf32>, %n: index) {
  %zero = arith.constant 0 : index
  %k = arith.constant 512 : index
  %blocks = arith.constant 4 : index
  %step = arith.constant 128 : index
  %c2 = arith.constant 2 : index
  %c32 = arith.constant 32 : index
  %m = arith.constant 256 : index
  %b = tile.program_id 0
  %r = arith.muli %b, %step : index
  %init = arith.constant dense<0.0> : tensor<128x16xf32>
  %sum = scf.for %i = %zero to %k step %step iter_args(%acc = %init) -> tensor<128x16xf32> {
    %j = arith.divui %i, %step : index
    %byte = arith.divui %i, %c2 : index
    %scale = arith.divui %i, %c32 : index
    %wt = tile.load %w[%r, %byte] : memref<256x256xi8> -> tensor<128x64xi8>
    %st = tile.load %s[%r, %scale] : memref<256x16xf8E8M0FNU> -> tensor<128x4xf8E8M0FNU>
    %xt = tile.load %x[%zero, %i] bounds[%n, %k] : memref<?x512xf8E4M3FN> -> tensor<16x128xf8E4M3FN>
    %tt = tile.load %t[%zero, %j] bounds[%n, %blocks] : memref<?x4xf8E8M0FNU> -> tensor<16x1xf8E8M0FNU>
    %next = tile.dot_scaled %wt, %st, %xt scaled %tt, %acc : tensor<128x64xi8>, tensor<128x4xf8E8M0FNU>, tensor<16x128xf8E4M3FN> scaled tensor<16x1xf8E8M0FNU>, tensor<128x16xf32>
    scf.yield %next : tensor<128x16xf32>
  }
  %o = tile.transpose %sum [1, 0] : tensor<128x16xf32>
  tile.store %o, %y[%zero, %r] bounds[%n, %m] : tensor<16x128xf32>, memref<?x256xf32>
  tile.return
}

// Tokens that are gathered for a product come by TMA, also on sm_90, where it takes
// them one by one.
// HOPPER-LABEL: entry @gathered(
// HOPPER: gather_scatter_view
// HOPPER-NOT: load_ptr_tko
// HOPPER: mmaf

// BLACKWELL-LABEL: entry @gathered(
// BLACKWELL: gather_scatter_view
tile.kernel @gathered(%w: memref<256x512xf8E4M3FN>, %s: memref<2x4xf8E8M0FNU>, %x: memref<?x512xbf16>, %rows: memref<16xi32>, %y: memref<256x16xf32>) {
  %zero = arith.constant 0 : index
  %k = arith.constant 512 : index
  %step = arith.constant 128 : index
  %b = tile.program_id 0
  %r = arith.muli %b, %step : index
  %init = arith.constant dense<0.0> : tensor<128x16xf32>
  %which = tile.load %rows[%zero] : memref<16xi32> -> tensor<16xi32>
  %sum = scf.for %i = %zero to %k step %step iter_args(%acc = %init) -> tensor<128x16xf32> {
    %j = arith.divui %i, %step : index
    %wt = tile.load %w[%r, %i] : memref<256x512xf8E4M3FN> -> tensor<128x128xf8E4M3FN>
    %st = tile.load %s[%b, %j] : memref<2x4xf8E8M0FNU> -> tensor<1x1xf8E8M0FNU>
    %xt = tile.gather %x[%which, %i] : memref<?x512xbf16>, tensor<16xi32> -> tensor<16x128xbf16>
    %next = tile.dot_scaled %wt, %st, %xt, %acc : tensor<128x128xf8E4M3FN>, tensor<1x1xf8E8M0FNU>, tensor<16x128xbf16>, tensor<128x16xf32>
    scf.yield %next : tensor<128x16xf32>
  }
  tile.store %sum, %y[%r, %zero] : tensor<128x16xf32>, memref<256x16xf32>
  tile.return
}

// Those of a sum come through pointers there.
// HOPPER-LABEL: entry @summed(
// HOPPER-NOT: gather_scatter_view
// HOPPER: load_ptr_tko {{.*}} -> tile<32x64xbf16>
// HOPPER: return

// BLACKWELL-LABEL: entry @summed(
// BLACKWELL: gather_scatter_view
tile.kernel @summed(%x: memref<?x512xbf16>, %rows: memref<32xi32>, %sum: memref<32x64xf32>, %y: memref<32x64xf32>) {
  %zero = arith.constant 0 : index
  %which = tile.load %rows[%zero] : memref<32xi32> -> tensor<32xi32>
  %part = tile.gather %x[%which, %zero] : memref<?x512xbf16>, tensor<32xi32> -> tensor<32x64xbf16>
  %wide = arith.extf %part : tensor<32x64xbf16> to tensor<32x64xf32>
  %before = tile.load %sum[%zero, %zero] : memref<32x64xf32> -> tensor<32x64xf32>
  %all = arith.addf %before, %wide : tensor<32x64xf32>
  tile.store %all, %y[%zero, %zero] : tensor<32x64xf32>, memref<32x64xf32>
  tile.return
}
