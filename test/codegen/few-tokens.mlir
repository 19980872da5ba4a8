// RUN: fathom-opt --fathom-cpu-lower-kernels --canonicalize --fathom-tile-to-linalg --fathom-cpu-carry-in-place --fathom-cpu-bufferize=isa=x86-64-v4 --canonicalize %s | FileCheck %s

// Of a tile of few tokens as many are multiplied as are asked for, in the least
// width that holds them. A turn is a line of each row: with two and four tokens
// of four rows, with more of two. FP8's words go through memory, whence they
// are extended.
// CHECK-LABEL: func.func @fp8(
// CHECK: arith.cmpi ule, %{{[^,]*}}, %c2{{.*}} : index
// CHECK: scf.if
// CHECK-COUNT-8: vector.store {{.*}} : memref<4x128xf16>, vector<32xf16>
// CHECK: vector.load {{.*}} : memref<4x128xf16>, vector<16xf16>
// CHECK-COUNT-32: math.fma
// CHECK-NOT: math.fma
// CHECK: arith.cmpi ule, %{{[^,]*}}, %c4{{.*}} : index
// CHECK-COUNT-64: math.fma
// CHECK-NOT: math.fma
// CHECK: arith.cmpi ule, %{{[^,]*}}, %c6{{.*}} : index
// CHECK-COUNT-4: vector.store {{.*}} : memref<2x128xf16>, vector<32xf16>
// CHECK-COUNT-48: math.fma
// CHECK-NOT: math.fma
// CHECK: } else {
// CHECK-COUNT-64: math.fma
tile.kernel @fp8(%w: memref<64x128xf8E4M3FN>, %s: memref<1x1xf8E8M0FNU>, %x: memref<8x128xbf16>, %o: memref<64x8xf32>, %count: index) {
  %zero = arith.constant 0 : index
  %init = arith.constant dense<0.0> : tensor<64x8xf32>
  %a = tile.load %w[%zero, %zero] : memref<64x128xf8E4M3FN> -> tensor<64x128xf8E4M3FN>
  %b = tile.load %s[%zero, %zero] : memref<1x1xf8E8M0FNU> -> tensor<1x1xf8E8M0FNU>
  %c = tile.load %x[%zero, %zero] : memref<8x128xbf16> -> tensor<8x128xbf16>
  %n = tile.dot_scaled %a, %b, %c, %init columns %count : tensor<64x128xf8E4M3FN>, tensor<1x1xf8E8M0FNU>, tensor<8x128xbf16>, tensor<64x8xf32>
  tile.store %n, %o[%zero, %zero] : tensor<64x8xf32>, memref<64x8xf32>
  tile.return
}

// Three of an expert's tokens, or four.
// CHECK-LABEL: func.func @fp4(
// CHECK: arith.cmpi ule, %{{[^,]*}}, %c3{{.*}} : index
// CHECK: scf.if
// CHECK-COUNT-96: math.fma
// CHECK-NOT: math.fma
// CHECK: } else {
// CHECK-COUNT-128: math.fma
// CHECK-NOT: math.fma
// CHECK: return
tile.kernel @fp4(%w: memref<64x64xi8>, %s: memref<64x4xf8E8M0FNU>, %x: memref<4x128xbf16>, %o: memref<64x4xf32>, %count: index) {
  %zero = arith.constant 0 : index
  %init = arith.constant dense<0.0> : tensor<64x4xf32>
  %a = tile.load %w[%zero, %zero] : memref<64x64xi8> -> tensor<64x64xi8>
  %b = tile.load %s[%zero, %zero] : memref<64x4xf8E8M0FNU> -> tensor<64x4xf8E8M0FNU>
  %c = tile.load %x[%zero, %zero] : memref<4x128xbf16> -> tensor<4x128xbf16>
  %n = tile.dot_scaled %a, %b, %c, %init columns %count : tensor<64x64xi8>, tensor<64x4xf8E8M0FNU>, tensor<4x128xbf16>, tensor<64x4xf32>
  tile.store %n, %o[%zero, %zero] : tensor<64x4xf32>, memref<64x4xf32>
  tile.return
}

// Rows whose tokens are more than the first-level cache has are walked in
// parts, each in all rows; the sums of eight tokens lie in memory between them.
// CHECK-LABEL: func.func @long_rows(
// CHECK: arith.cmpi ule, %{{[^,]*}}, %c6{{.*}} : index
// CHECK: } else {
// CHECK-NOT: vector.load {{.*}} : memref<64x128xf32>
// CHECK-COUNT-64: math.fma
// CHECK-COUNT-16: vector.store {{.*}} : memref<64x128xf32>, vector<16xf32>
// CHECK: scf.for
// CHECK-COUNT-16: vector.load {{.*}} : memref<64x128xf32>, vector<16xf32>
// CHECK-COUNT-64: math.fma
// CHECK: vector.load {{.*}} : memref<64x8xf32{{.*}}>, vector<8xf32>
tile.kernel @long_rows(%w: memref<64x2048xf8E4M3FN>, %s: memref<1x16xf8E8M0FNU>, %x: memref<8x2048xbf16>, %o: memref<64x8xf32>, %count: index) {
  %zero = arith.constant 0 : index
  %init = arith.constant dense<0.0> : tensor<64x8xf32>
  %a = tile.load %w[%zero, %zero] : memref<64x2048xf8E4M3FN> -> tensor<64x2048xf8E4M3FN>
  %b = tile.load %s[%zero, %zero] : memref<1x16xf8E8M0FNU> -> tensor<1x16xf8E8M0FNU>
  %c = tile.load %x[%zero, %zero] : memref<8x2048xbf16> -> tensor<8x2048xbf16>
  %n = tile.dot_scaled %a, %b, %c, %init columns %count : tensor<64x2048xf8E4M3FN>, tensor<1x16xf8E8M0FNU>, tensor<8x2048xbf16>, tensor<64x8xf32>
  tile.store %n, %o[%zero, %zero] : tensor<64x8xf32>, memref<64x8xf32>
  tile.return
}

// Several tokens touch a strip further on, into the second level, and the next
// one, into the first, if it is small; one token only the former.
// CHECK-LABEL: func.func @several(
// CHECK-DAG: memref.prefetch {{.*}}, read, locality<2>
// CHECK-DAG: memref.prefetch {{.*}}, read, locality<3>
tile.kernel @several(%w: memref<512x512xi8>, %s: memref<512x32xf8E8M0FNU>, %x: memref<2x1024xbf16>, %o: memref<64x2xf32>) {
  %zero = arith.constant 0 : index
  %id = tile.program_id 0
  %init = arith.constant dense<0.0> : tensor<64x2xf32>
  %a = tile.load %w[%id, %zero] : memref<512x512xi8> -> tensor<64x512xi8>
  %b = tile.load %s[%id, %zero] : memref<512x32xf8E8M0FNU> -> tensor<64x32xf8E8M0FNU>
  %c = tile.load %x[%zero, %zero] : memref<2x1024xbf16> -> tensor<2x1024xbf16>
  %n = tile.dot_scaled %a, %b, %c, %init : tensor<64x512xi8>, tensor<64x32xf8E8M0FNU>, tensor<2x1024xbf16>, tensor<64x2xf32>
  tile.store %n, %o[%zero, %zero] : tensor<64x2xf32>, memref<64x2xf32>
  tile.return
}

// CHECK-LABEL: func.func @several_long(
// CHECK-NOT: locality<3>
// CHECK: memref.prefetch {{.*}}, read, locality<2>
// CHECK-NOT: locality<3>
tile.kernel @several_long(%w: memref<512x1024xi8>, %s: memref<512x64xf8E8M0FNU>, %x: memref<2x2048xbf16>, %o: memref<64x2xf32>) {
  %zero = arith.constant 0 : index
  %id = tile.program_id 0
  %init = arith.constant dense<0.0> : tensor<64x2xf32>
  %a = tile.load %w[%id, %zero] : memref<512x1024xi8> -> tensor<64x1024xi8>
  %b = tile.load %s[%id, %zero] : memref<512x64xf8E8M0FNU> -> tensor<64x64xf8E8M0FNU>
  %c = tile.load %x[%zero, %zero] : memref<2x2048xbf16> -> tensor<2x2048xbf16>
  %n = tile.dot_scaled %a, %b, %c, %init : tensor<64x1024xi8>, tensor<64x64xf8E8M0FNU>, tensor<2x2048xbf16>, tensor<64x2xf32>
  tile.store %n, %o[%zero, %zero] : tensor<64x2xf32>, memref<64x2xf32>
  tile.return
}

// CHECK-LABEL: func.func @single(
// CHECK-NOT: locality<3>
// CHECK: memref.prefetch {{.*}}, read, locality<2>
// CHECK-NOT: locality<3>
tile.kernel @single(%w: memref<512x512xi8>, %s: memref<512x32xf8E8M0FNU>, %x: memref<1x1024xbf16>, %o: memref<64x1xf32>) {
  %zero = arith.constant 0 : index
  %id = tile.program_id 0
  %init = arith.constant dense<0.0> : tensor<64x1xf32>
  %a = tile.load %w[%id, %zero] : memref<512x512xi8> -> tensor<64x512xi8>
  %b = tile.load %s[%id, %zero] : memref<512x32xf8E8M0FNU> -> tensor<64x32xf8E8M0FNU>
  %c = tile.load %x[%zero, %zero] : memref<1x1024xbf16> -> tensor<1x1024xbf16>
  %n = tile.dot_scaled %a, %b, %c, %init : tensor<64x512xi8>, tensor<64x32xf8E8M0FNU>, tensor<1x1024xbf16>, tensor<64x1xf32>
  tile.store %n, %o[%zero, %zero] : tensor<64x1xf32>, memref<64x1xf32>
  tile.return
}
