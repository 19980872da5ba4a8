// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tiles that no plan of a core's memories can hold are refused by name, before
// AscendNPU-IR sees them.
// REQUIRES: fathom-tile-to-adapter
// RUN: not fathom-tile-to-adapter %s 910b %t 2>&1 | FileCheck %s
// RUN: not fathom-tile-to-adapter %s a3 %t 2>&1 | FileCheck %s --check-prefix=A3
// RUN: fathom-tile-to-adapter %s 950 %t fits_950
// RUN: not fathom-tile-to-adapter %s a3 %t codes 2>&1 | FileCheck %s --check-prefix=CODES
// RUN: fathom-tile-to-adapter %s 950 %t codes

// CHECK: unsupported on 910b: tile.load: a tile of 262144 bytes, and the vector unit has 196608; take smaller tiles
// A3: unsupported on a3: tile.load: a tile of 262144 bytes, and the vector unit has 196608
tile.kernel @wide(%x: memref<?x256xf32>, %y: memref<?x256xf32>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %v = tile.load %x[%i, %zero] : memref<?x256xf32> -> tensor<256x256xf32>
  tile.store %v, %y[%i, %zero] : tensor<256x256xf32>, memref<?x256xf32>
  tile.return
}

// CHECK: unsupported on 910b: tile.dot: a result of 262144 bytes, and the cube unit's accumulator has 131072
tile.kernel @fits_950(%x: memref<?x64xbf16>, %w: memref<256x64xbf16>, %y: memref<?x256xf32>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %acc = arith.constant dense<0.0> : tensor<256x256xf32>
  %a = tile.load %w[%zero, %zero] : memref<256x64xbf16> -> tensor<256x64xbf16>
  %b = tile.load %x[%i, %zero] : memref<?x64xbf16> -> tensor<256x64xbf16>
  %c = tile.dot <nt> %a, %b, %acc : tensor<256x64xbf16>, tensor<256x64xbf16>, tensor<256x256xf32>
  tile.store %c, %y[%i, %zero] : tensor<256x256xf32>, memref<?x256xf32>
  tile.return
}

// CHECK: unsupported on 910b: tile.dot_scaled: a weight while it is decoded
tile.kernel @long(%x: memref<?x1024xbf16>, %w: memref<128x1024xf8E4M3FN>, %s: memref<1x8xf8E8M0FNU>, %y: memref<?x128xf32>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %acc = arith.constant dense<0.0> : tensor<128x16xf32>
  %a = tile.load %w[%zero, %zero] : memref<128x1024xf8E4M3FN> -> tensor<128x1024xf8E4M3FN>
  %e = tile.load %s[%zero, %zero] : memref<1x8xf8E8M0FNU> -> tensor<1x8xf8E8M0FNU>
  %b = tile.load %x[%i, %zero] : memref<?x1024xbf16> -> tensor<16x1024xbf16>
  %c = tile.dot_scaled %a, %e, %b, %acc : tensor<128x1024xf8E4M3FN>, tensor<1x8xf8E8M0FNU>, tensor<16x1024xbf16>, tensor<128x16xf32>
  %t = tile.reduce <add> %c {dim = 1 : i64} : tensor<128x16xf32>
  tile.store %t, %y[%i, %zero] : tensor<128xf32>, memref<?x128xf32>
  tile.return
}

// However K is cut, a slice of every row of an operand is there at once.
// CHECK: unsupported on 910b: tile.dot: a slice of 131072 bytes, and the cube unit's second level has 65536
tile.kernel @tall(%x: memref<?x16xbf16>, %w: memref<4096x16xbf16>, %y: memref<?x1xf32>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %acc = arith.constant dense<0.0> : tensor<4096x1xf32>
  %a = tile.load %w[%zero, %zero] : memref<4096x16xbf16> -> tensor<4096x16xbf16>
  %b = tile.load %x[%i, %zero] : memref<?x16xbf16> -> tensor<1x16xbf16>
  %c = tile.dot <nt> %a, %b, %acc : tensor<4096x16xbf16>, tensor<1x16xbf16>, tensor<4096x1xf32>
  %t = tile.reduce <add> %c {dim = 0 : i64} : tensor<4096x1xf32>
  tile.store %t, %y[%i, %zero] : tensor<1xf32>, memref<?x1xf32>
  tile.return
}

// CHECK: unsupported on 910b: tile.dot_scaled: operands of 557056 bytes, and the cube unit's first level has 524288
tile.kernel @deep(%x: memref<?x1024xbf16>, %w: memref<256x512xi8>, %s: memref<1x8xf8E8M0FNU>, %y: memref<?x256xf32>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %acc = arith.constant dense<0.0> : tensor<256x16xf32>
  %a = tile.load %w[%zero, %zero] : memref<256x512xi8> -> tensor<256x512xi8>
  %e = tile.load %s[%zero, %zero] : memref<1x8xf8E8M0FNU> -> tensor<1x8xf8E8M0FNU>
  %b = tile.load %x[%i, %zero] : memref<?x1024xbf16> -> tensor<16x1024xbf16>
  %c = tile.dot_scaled %a, %e, %b, %acc : tensor<256x512xi8>, tensor<1x8xf8E8M0FNU>, tensor<16x1024xbf16>, tensor<256x16xf32>
  %t = tile.reduce <add> %c {dim = 1 : i64} : tensor<256x16xf32>
  tile.store %t, %y[%i, %zero] : tensor<256xf32>, memref<?x256xf32>
  tile.return
}

// Codes that are multiplied as such are not decoded, and a byte each.
// CHECK: unsupported on 910b: tile.dot_scaled: operands of 557056 bytes, and the cube unit's first level has 524288
// CODES: unsupported on a3: tile.dot_scaled: operands of 557056 bytes
tile.kernel @codes(%x: memref<?x1024xf8E4M3FN>, %f: memref<?x8xf8E8M0FNU>, %w: memref<256x512xi8>, %s: memref<1x8xf8E8M0FNU>, %y: memref<?x256xf32>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %acc = arith.constant dense<0.0> : tensor<256x16xf32>
  %a = tile.load %w[%zero, %zero] : memref<256x512xi8> -> tensor<256x512xi8>
  %e = tile.load %s[%zero, %zero] : memref<1x8xf8E8M0FNU> -> tensor<1x8xf8E8M0FNU>
  %b = tile.load %x[%i, %zero] : memref<?x1024xf8E4M3FN> -> tensor<16x1024xf8E4M3FN>
  %d = tile.load %f[%i, %zero] : memref<?x8xf8E8M0FNU> -> tensor<16x8xf8E8M0FNU>
  %c = tile.dot_scaled %a, %e, %b scaled %d, %acc : tensor<256x512xi8>, tensor<1x8xf8E8M0FNU>, tensor<16x1024xf8E4M3FN> scaled tensor<16x8xf8E8M0FNU>, tensor<256x16xf32>
  %t = tile.reduce <add> %c {dim = 1 : i64} : tensor<256x16xf32>
  tile.store %t, %y[%i, %zero] : tensor<256xf32>, memref<?x256xf32>
  tile.return
}

// CHECK: unsupported on 910b: arith.fptosi: from f64 to integers of rounded numbers only
tile.kernel @cut(%x: memref<?x64xf32>, %y: memref<?x64xi32>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %v = tile.load %x[%i, %zero] : memref<?x64xf32> -> tensor<1x64xf32>
  %w = arith.extf %v : tensor<1x64xf32> to tensor<1x64xf64>
  %n = arith.fptosi %w : tensor<1x64xf64> to tensor<1x64xi32>
  tile.store %n, %y[%i, %zero] : tensor<1x64xi32>, memref<?x64xi32>
  tile.return
}
