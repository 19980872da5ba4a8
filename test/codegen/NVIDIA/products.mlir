// Products: tensor-core shapes, operands in bf16, accumulators kept as they are.
// REQUIRES: tileirdisasm, fathom-tile-to-cudatile
// RUN: fathom-tile-to-cudatile %s sm_80 %t && tileirdisasm %t | FileCheck %s

// 32 rows and one token become 64 and 16, and stay so through the loop. The scale
// meets the partial sums. How often the loop turns is hidden.
// CHECK-LABEL: entry @linear(
// CHECK: %[[ID:.*]], %{{.*}}, %{{.*}} = get_tile_block_id
// CHECK: %[[LATE:.*]] = shri %[[ID]], %cst_30_i32 unsigned
// CHECK: %[[END:.*]] = addi %cst_512_i32, %[[LATE]]
// CHECK: for %{{.*}} in (%cst_0_i32 to %[[END]], step %cst_128_i32) {{.*}} iter_values({{.*}}) -> (tile<64x16xf32>)
// CHECK: ori {{.*}} : tile<32x128xi16>
// CHECK: mulf {{.*}} : tile<32x128xbf16>
// CHECK: mmaf {{.*}} : tile<64x128xbf16>, tile<128x16xbf16>, tile<64x16xf32>
// CHECK: fma {{.*}} : tile<64x16xf32>
// CHECK: continue
// CHECK: extract {{.*}} : tile<64x16xf32> -> tile<32x1xf32>
tile.kernel @linear(%w: memref<256x512xf8E4M3FN>, %s: memref<2x4xf8E8M0FNU>, %x: memref<?x512xbf16>, %y: memref<?x256xf32>) {
  %zero = arith.constant 0 : index
  %k = arith.constant 512 : index
  %step = arith.constant 128 : index
  %r = tile.program_id 0
  %init = arith.constant dense<0.0> : tensor<32x1xf32>
  %sum = scf.for %i = %zero to %k step %step iter_args(%acc = %init) -> tensor<32x1xf32> {
    %wt = tile.load %w[%r, %i] : memref<256x512xf8E4M3FN> -> tensor<32x128xf8E4M3FN>
    %st = tile.load %s[%zero, %zero] : memref<2x4xf8E8M0FNU> -> tensor<1x1xf8E8M0FNU>
    %xt = tile.load %x[%zero, %i] : memref<?x512xbf16> -> tensor<1x128xbf16>
    %next = tile.dot_scaled %wt, %st, %xt, %acc : tensor<32x128xf8E4M3FN>, tensor<1x1xf8E8M0FNU>, tensor<1x128xbf16>, tensor<32x1xf32>
    scf.yield %next : tensor<32x1xf32>
  }
  %t = tile.transpose %sum [1, 0] : tensor<32x1xf32>
  tile.store %t, %y[%zero, %r] : tensor<1x32xf32>, memref<?x256xf32>
  tile.return
}

// A constant that bf16 holds is one operand, of bf16 from the start; one that it
// does not hold is three.
// CHECK-LABEL: entry @constants(
// CHECK: mmaf {{.*}} : tile<64x16xbf16>, tile<16x64xbf16>, tile<64x64xf32>
// CHECK-COUNT-3: mmaf {{.*}} : tile<64x16xbf16>, tile<16x64xbf16>, tile<64x64xf32>
// CHECK-NOT: mmaf
tile.kernel @constants(%a: memref<2x64xbf16>, %y: memref<2x64xf32>) {
  %zero = arith.constant 0 : index
  %init = arith.constant dense<0.0> : tensor<2x64xf32>
  %short = arith.constant dense<[[1.0, 1.0], [1.0, -1.0]]> : tensor<2x2xf32>
  %long = arith.constant dense<[[1.0, 1.0], [1.0, 0.1]]> : tensor<2x2xf32>
  %u = tile.load %a[%zero, %zero] : memref<2x64xbf16> -> tensor<2x64xbf16>
  %v = arith.extf %u : tensor<2x64xbf16> to tensor<2x64xf32>
  %d = tile.dot <nn> %short, %v, %init : tensor<2x2xf32>, tensor<2x64xf32>, tensor<2x64xf32>
  %e = tile.dot <nn> %long, %v, %d : tensor<2x2xf32>, tensor<2x64xf32>, tensor<2x64xf32>
  tile.store %e, %y[%zero, %zero] : tensor<2x64xf32>, memref<2x64xf32>
  tile.return
}

// An f32 operand is three bf16 tiles; of six products the small come first. One
// that comes from bf16 is bf16.
// CHECK-LABEL: entry @split(
// CHECK-COUNT-3: mmaf
// CHECK-NOT: mmaf
// CHECK-LABEL: entry @split_both(
// CHECK-COUNT-6: mmaf
// CHECK-NOT: mmaf
// CHECK: return
tile.kernel @split(%a: memref<64x64xf32>, %b: memref<64x64xbf16>, %y: memref<64x64xf32>) {
  %zero = arith.constant 0 : index
  %init = arith.constant dense<0.0> : tensor<64x64xf32>
  %u = tile.load %a[%zero, %zero] : memref<64x64xf32> -> tensor<64x64xf32>
  %v = tile.load %b[%zero, %zero] : memref<64x64xbf16> -> tensor<64x64xbf16>
  %w = arith.extf %v : tensor<64x64xbf16> to tensor<64x64xf32>
  %d = tile.dot <nn> %u, %w, %init : tensor<64x64xf32>, tensor<64x64xf32>, tensor<64x64xf32>
  tile.store %d, %y[%zero, %zero] : tensor<64x64xf32>, memref<64x64xf32>
  tile.return
}
tile.kernel @split_both(%a: memref<64x64xf32>, %y: memref<64x64xf32>) {
  %zero = arith.constant 0 : index
  %init = arith.constant dense<0.0> : tensor<64x64xf32>
  %u = tile.load %a[%zero, %zero] : memref<64x64xf32> -> tensor<64x64xf32>
  %d = tile.dot <tn> %u, %u, %init : tensor<64x64xf32>, tensor<64x64xf32>, tensor<64x64xf32>
  tile.store %d, %y[%zero, %zero] : tensor<64x64xf32>, memref<64x64xf32>
  tile.return
}

// Packed e2m1: two codes a byte, which become the two halves of a word; one scale
// for each 32.
// CHECK-LABEL: entry @fp4(
// CHECK-COUNT-2: muli {{.*}} : tile<64x32xi32>
// CHECK: pack {{.*}} : tile<2048xi32> -> tile<8192xi8>
// CHECK: unpack {{.*}} : tile<8192xi8> -> tile<4096xbf16>
// CHECK: reshape {{.*}} -> tile<64x64xbf16>
// CHECK: broadcast {{.*}} : tile<64x1x2x1xbf16> -> tile<64x1x2x32xbf16>
// CHECK: mmaf {{.*}} : tile<64x64xbf16>, tile<64x16xbf16>, tile<64x16xf32>
tile.kernel @fp4(%w: memref<64x32xi8>, %s: memref<64x2xf8E8M0FNU>, %x: memref<16x64xbf16>, %y: memref<64x16xf32>) {
  %zero = arith.constant 0 : index
  %init = arith.constant dense<0.0> : tensor<64x16xf32>
  %wt = tile.load %w[%zero, %zero] : memref<64x32xi8> -> tensor<64x32xi8>
  %st = tile.load %s[%zero, %zero] : memref<64x2xf8E8M0FNU> -> tensor<64x2xf8E8M0FNU>
  %xt = tile.load %x[%zero, %zero] : memref<16x64xbf16> -> tensor<16x64xbf16>
  %d = tile.dot_scaled %wt, %st, %xt, %init : tensor<64x32xi8>, tensor<64x2xf8E8M0FNU>, tensor<16x64xbf16>, tensor<64x16xf32>
  tile.store %d, %y[%zero, %zero] : tensor<64x16xf32>, memref<64x16xf32>
  tile.return
}

// What two bf16 values multiply to has 16 bits: two tiles.
// CHECK-LABEL: entry @squares(
// CHECK-COUNT-2: ftof {{.*}} -> tile<64x64xbf16>
// CHECK-NOT: ftof {{.*}} -> tile<64x64xbf16>
// CHECK-COUNT-2: mmaf {{.*}} : tile<64x64xbf16>, tile<64x64xbf16>, tile<64x64xf32>
// CHECK-NOT: mmaf
// CHECK: return
tile.kernel @squares(%a: memref<64x64xbf16>, %b: memref<64x64xbf16>, %y: memref<64x64xf32>) {
  %zero = arith.constant 0 : index
  %at = tile.load %a[%zero, %zero] : memref<64x64xbf16> -> tensor<64x64xbf16>
  %bt = tile.load %b[%zero, %zero] : memref<64x64xbf16> -> tensor<64x64xbf16>
  %aw = arith.extf %at : tensor<64x64xbf16> to tensor<64x64xf32>
  %bw = arith.extf %bt : tensor<64x64xbf16> to tensor<64x64xf32>
  %square = arith.mulf %bw, %bw : tensor<64x64xf32>
  %init = arith.constant dense<0.0> : tensor<64x64xf32>
  %d = tile.dot <nt> %aw, %square, %init : tensor<64x64xf32>, tensor<64x64xf32>, tensor<64x64xf32>
  tile.store %d, %y[%zero, %zero] : tensor<64x64xf32>, memref<64x64xf32>
  tile.return
}
