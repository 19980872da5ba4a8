// What is printed parses again to the same text.
// RUN: fathom-opt %s | fathom-opt | FileCheck %s
// RUN: fathom-opt %s --verify-roundtrip -o %t

// CHECK: #[[$MAP:.*]] = affine_map<(d0, d1) -> ((d0 ceildiv 16) * 2, d1, 1)>
// CHECK-LABEL: tile.kernel @move
// CHECK-SAME: (%[[X:.*]]: memref<?x64xf32>, %[[Y:.*]]: memref<?x64xf32>, %[[TABLE:.*]]: !tile.table<8 of memref<64x64xf32>>, %[[N:.*]]: index)
tile.kernel @move(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %table: !tile.table<8 of memref<64x64xf32>>, %n: index) {
  // CHECK: %[[I:.*]] = tile.program_id 0
  %i = tile.program_id 0
  %c = arith.constant 3 : index
  // CHECK: tile.load %[[X]][%[[I]], %{{.*}}] : memref<?x64xf32> -> tensor<32xf32>
  %0 = tile.load %x[%i, %c] : memref<?x64xf32> -> tensor<32xf32>
  // CHECK: tile.load %[[X]][%[[I]], %{{.*}}] bounds[%[[N]], %{{.*}}] : memref<?x64xf32> -> tensor<4x64xf32>
  %1 = tile.load %x[%i, %c] bounds[%n, %c] : memref<?x64xf32> -> tensor<4x64xf32>
  // CHECK: %[[B:.*]] = tile.select_buffer %[[TABLE]][%[[I]]] : <8 of memref<64x64xf32>> -> memref<64x64xf32>
  %b = tile.select_buffer %table[%i] : <8 of memref<64x64xf32>> -> memref<64x64xf32>
  // CHECK: %[[ROWS:.*]] = tile.iota : tensor<4xi32>
  %rows = tile.iota : tensor<4xi32>
  // CHECK: tile.gather %[[B]][%[[ROWS]], %{{.*}}] : memref<64x64xf32>, tensor<4xi32> -> tensor<4x16xf32>
  %2 = tile.gather %b[%rows, %c] : memref<64x64xf32>, tensor<4xi32> -> tensor<4x16xf32>
  // CHECK: tile.gather %[[B]][%[[ROWS]]] : memref<64x64xf32>, tensor<4xi32> -> tensor<4x64xf32>
  %3 = tile.gather %b[%rows] : memref<64x64xf32>, tensor<4xi32> -> tensor<4x64xf32>
  // CHECK: tile.store %{{.*}}, %[[Y]][%[[I]], %{{.*}}] : tensor<32xf32>, memref<?x64xf32>
  tile.store %0, %y[%i, %c] : tensor<32xf32>, memref<?x64xf32>
  // CHECK: tile.store %{{.*}}, %[[Y]][%[[I]], %{{.*}}] bounds[%[[N]], %{{.*}}] : tensor<4x64xf32>, memref<?x64xf32>
  tile.store %1, %y[%i, %c] bounds[%n, %c] : tensor<4x64xf32>, memref<?x64xf32>
  // CHECK: tile.scatter %{{.*}}, %[[Y]][%[[ROWS]], %{{.*}}] : tensor<4x16xf32>, memref<?x64xf32>, tensor<4xi32>
  tile.scatter %2, %y[%rows, %c] : tensor<4x16xf32>, memref<?x64xf32>, tensor<4xi32>
  // CHECK: tile.scatter %{{.*}}, %[[Y]][%[[ROWS]]] : tensor<4x64xf32>, memref<?x64xf32>, tensor<4xi32>
  tile.scatter %3, %y[%rows] : tensor<4x64xf32>, memref<?x64xf32>, tensor<4xi32>
  // CHECK: tile.return
  tile.return
}

// CHECK-LABEL: func.func @compute
func.func @compute(%a: tensor<4x16xbf16>, %b: tensor<8x16xf32>, %w: tensor<8x64xf8E4M3FN>, %w4: tensor<8x32xi8>,
                   %s: tensor<1x2xf8E8M0FNU>, %x: tensor<4x64xbf16>, %acc: tensor<4x8xf32>, %acc2: tensor<8x4xf32>, %n: tensor<4xi32>) {
  // CHECK: tile.dot <nt> %{{.*}}, %{{.*}}, %{{.*}} : tensor<4x16xbf16>, tensor<8x16xf32>, tensor<4x8xf32>
  %0 = tile.dot <nt> %a, %b, %acc : tensor<4x16xbf16>, tensor<8x16xf32>, tensor<4x8xf32>
  // CHECK: %[[T:.*]] = tile.transpose %{{.*}} [1, 0] : tensor<8x16xf32>
  %t = tile.transpose %b [1, 0] : tensor<8x16xf32>
  // CHECK: tile.dot <nn> %{{.*}}, %[[T]], %{{.*}} : tensor<4x16xbf16>, tensor<16x8xf32>, tensor<4x8xf32>
  %1 = tile.dot <nn> %a, %t, %acc : tensor<4x16xbf16>, tensor<16x8xf32>, tensor<4x8xf32>
  %ta = tile.transpose %a [1, 0] : tensor<4x16xbf16>
  // CHECK: tile.dot <tn> %{{.*}}, %[[T]], %{{.*}} : tensor<16x4xbf16>, tensor<16x8xf32>, tensor<4x8xf32>
  %2 = tile.dot <tn> %ta, %t, %acc : tensor<16x4xbf16>, tensor<16x8xf32>, tensor<4x8xf32>
  // CHECK: tile.dot_scaled %{{.*}} : tensor<8x64xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<4x64xbf16>, tensor<8x4xf32>
  %3 = tile.dot_scaled %w, %s, %x, %acc2 : tensor<8x64xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<4x64xbf16>, tensor<8x4xf32>
  // CHECK: tile.dot_scaled %{{.*}} scaled %{{.*}}, %{{.*}} : tensor<8x64xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<4x64xf8E4M3FN> scaled tensor<4x1xf8E8M0FNU>, tensor<8x4xf32>
  %codes = arith.truncf %x : tensor<4x64xbf16> to tensor<4x64xf8E4M3FN>
  %ones = arith.constant dense<1.0> : tensor<4x1xf8E8M0FNU>
  %coded = tile.dot_scaled %w, %s, %codes scaled %ones, %acc2 : tensor<8x64xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<4x64xf8E4M3FN> scaled tensor<4x1xf8E8M0FNU>, tensor<8x4xf32>
  %two = arith.constant 2 : index
  // CHECK: tile.dot <nt> %{{.*}}, %{{.*}}, %{{.*}} columns %{{.*}} : tensor<4x16xbf16>, tensor<8x16xf32>, tensor<4x8xf32>
  %some = tile.dot <nt> %a, %b, %acc columns %two : tensor<4x16xbf16>, tensor<8x16xf32>, tensor<4x8xf32>
  // CHECK: tile.dot <tn> %{{.*}}, %{{.*}}, %{{.*}} columns %[[TWO:.*]] rows %{{.*}} to %[[TWO]] : tensor<16x4xbf16>
  %zero = arith.constant 0 : index
  %part = tile.dot <tn> %ta, %t, %acc columns %two rows %zero to %two : tensor<16x4xbf16>, tensor<16x8xf32>, tensor<4x8xf32>
  // CHECK: tile.dot_scaled %{{.*}} scaled %{{.*}}, %{{.*}} columns %{{.*}} : tensor<8x64xf8E4M3FN>
  %somecoded = tile.dot_scaled %w, %s, %codes scaled %ones, %acc2 columns %two : tensor<8x64xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<4x64xf8E4M3FN> scaled tensor<4x1xf8E8M0FNU>, tensor<8x4xf32>
  // CHECK: tile.dot_scaled %{{.*}} : tensor<8x32xi8>, tensor<1x2xf8E8M0FNU>, tensor<4x64xbf16>, tensor<8x4xf32>
  %4 = tile.dot_scaled %w4, %s, %x, %acc2 : tensor<8x32xi8>, tensor<1x2xf8E8M0FNU>, tensor<4x64xbf16>, tensor<8x4xf32>
  // CHECK: %[[R:.*]] = tile.reduce <max> %{{.*}} {dim = 1 : i64} : tensor<8x16xf32>
  %5 = tile.reduce <max> %b {dim = 1} : tensor<8x16xf32>
  // CHECK: tile.scan %{{.*}} {dim = 0 : i64} : tensor<4xi32>
  %6 = tile.scan %n {dim = 0} : tensor<4xi32>
  // CHECK: tile.broadcast %[[R]] dims [0, 2] : tensor<8xf32> -> tensor<2x8x4xf32>
  %7 = tile.broadcast %5 dims [0, 2] : tensor<8xf32> -> tensor<2x8x4xf32>
  // CHECK: tile.reshape %{{.*}} : tensor<2x8x4xf32> -> tensor<64xf32>
  %8 = tile.reshape %7 : tensor<2x8x4xf32> -> tensor<64xf32>
  // CHECK: %[[E:.*]], %[[O:.*]] = tile.deinterleave %{{.*}} : tensor<64xf32>
  %e, %o = tile.deinterleave %8 : tensor<64xf32>
  // CHECK: tile.interleave %[[E]], %[[O]] : tensor<32xf32>
  %9 = tile.interleave %e, %o : tensor<32xf32>
  // CHECK: %[[U:.*]] = tile.unpack_fp4 %{{.*}} : tensor<8x32xi8> -> tensor<8x64xf32>
  %10 = tile.unpack_fp4 %w4 : tensor<8x32xi8> -> tensor<8x64xf32>
  // CHECK: tile.pack_fp4 %[[U]] : tensor<8x64xf32> -> tensor<8x32xi8>
  %11 = tile.pack_fp4 %10 : tensor<8x64xf32> -> tensor<8x32xi8>
  return
}

// CHECK-LABEL: func.func @schedule
func.func @schedule(%x: memref<?x64xf32> {tile.port = "streams"}, %t: index) attributes {tile.entry = "step", tile.max_tokens = 16 : i64} {
  %y = memref.alloc(%t) : memref<?x64xf32>
  // CHECK: tile.weight "embed.weight" : memref<97x64xbf16>
  %w = tile.weight "embed.weight" : memref<97x64xbf16>
  // CHECK: %[[TABLE2:.*]] = tile.weight_table "e.{}.w" : <8 of memref<64x64xf32>>
  %table = tile.weight_table "e.{}.w" : <8 of memref<64x64xf32>>
  // CHECK: tile.cache "layers.0.window" "codes" : memref<?x64xf8E4M3FN>
  %c = tile.cache "layers.0.window" "codes" : memref<?x64xf8E4M3FN>
  // CHECK: tile.launch @move #[[$MAP]](%{{.*}}, %{{.*}}, %[[TABLE2]], %{{.*}}) : memref<?x64xf32>, memref<?x64xf32>, !tile.table<8 of memref<64x64xf32>>, index
  tile.launch @move affine_map<(t, r) -> ((t ceildiv 16) * 2, r, 1)> (%x, %y, %table, %t) : memref<?x64xf32>, memref<?x64xf32>, !tile.table<8 of memref<64x64xf32>>, index
  return
}

// CHECK-LABEL: tile.kernel @caller
tile.kernel @caller(%a: memref<?x64xf8E4M3FN>, %s: memref<?x8xf8E8M0FNU>, %b: memref<?x64xi8>, %t: memref<?x4xf8E8M0FNU>) {
  %p = tile.program_id 0
  // CHECK: tile.call @decode(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) at(%[[P:.*]], %[[P]], %[[P]]) : memref<?x64xf8E4M3FN>, memref<?x8xf8E8M0FNU>, memref<?x64xi8>, memref<?x4xf8E8M0FNU>
  tile.call @decode(%a, %s, %b, %t) at (%p, %p, %p) : memref<?x64xf8E4M3FN>, memref<?x8xf8E8M0FNU>, memref<?x64xi8>, memref<?x4xf8E8M0FNU>
  tile.return
}

// CHECK-LABEL: tile.kernel @decode
tile.kernel @decode(%a: memref<?x64xf8E4M3FN>, %s: memref<?x8xf8E8M0FNU>, %b: memref<?x64xi8>, %t: memref<?x4xf8E8M0FNU>) {
  %rows = tile.iota : tensor<4xi32>
  %c = arith.constant 64 : index
  // CHECK: tile.gather_scaled %{{.*}}, %{{.*}}[%{{.*}}] block 64 : memref<?x64xf8E4M3FN>, memref<?x8xf8E8M0FNU>, tensor<4xi32> -> tensor<4x64xbf16>
  %0 = tile.gather_scaled %a, %s[%rows] block 64 : memref<?x64xf8E4M3FN>, memref<?x8xf8E8M0FNU>, tensor<4xi32> -> tensor<4x64xbf16>
  // CHECK: tile.gather_scaled %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}] block 32 : memref<?x64xi8>, memref<?x4xf8E8M0FNU>, tensor<4xi32> -> tensor<4x32xf32>
  %1 = tile.gather_scaled %b, %t[%rows, %c] block 32 : memref<?x64xi8>, memref<?x4xf8E8M0FNU>, tensor<4xi32> -> tensor<4x32xf32>
  tile.return
}
