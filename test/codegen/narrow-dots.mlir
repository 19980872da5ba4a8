// RUN: fathom-opt --fathom-cpu-lower-kernels --canonicalize --fathom-tile-to-linalg --fathom-cpu-carry-in-place --fathom-cpu-bufferize=isa=x86-64-v4-amx --canonicalize %s | FileCheck %s --check-prefixes=CHECK,AMX
// RUN: fathom-opt --fathom-cpu-lower-kernels --canonicalize --fathom-tile-to-linalg --fathom-cpu-carry-in-place --fathom-cpu-bufferize=isa=x86-64-v4-bf16 --canonicalize %s | FileCheck %s --check-prefixes=CHECK,BF16
// RUN: fathom-opt --fathom-cpu-lower-kernels --canonicalize --fathom-tile-to-linalg --fathom-cpu-carry-in-place --fathom-cpu-bufferize=isa=x86-64-v4 --canonicalize %s | FileCheck %s --check-prefixes=CHECK,V4

// bf16 weights are tile operands where they lie: what is touched ahead and what
// is loaded is the argument itself.
// CHECK-LABEL: func.func @plain(
// CHECK-SAME: %[[W:[^:]*]]: memref<512x1024xbf16>
// AMX: memref.subview %[[W]]
// AMX: amx.tile_load {{.*}}!amx.tile<16x1xf32>
// AMX: scf.for {{.*}} -> (!amx.tile<16x1xf32>, !amx.tile<16x1xf32>)
// AMX: amx.tile_load {{.*}}strided<[1024, 1], offset: ?>> into !amx.tile<16x32xbf16>
// AMX: memref.prefetch %[[W]]
// AMX: amx.tile_mulf
// AMX: amx.tile_store
// BF16-NOT: amx
// BF16: memref.prefetch %[[W]]
// BF16: llvm.x86.avx512bf16.dpbf16ps.512
// V4-NOT: amx
// V4-NOT: dpbf16ps
// V4: math.fma
tile.kernel @plain(%w: memref<512x1024xbf16>, %x: memref<1x1024xbf16>, %o: memref<512x1xf32>) {
  %zero = arith.constant 0 : index
  %block = arith.constant 32 : index
  %id = tile.program_id 0
  %row = arith.muli %id, %block : index
  %init = arith.constant dense<0.0> : tensor<32x1xf32>
  %a = tile.load %w[%row, %zero] : memref<512x1024xbf16> -> tensor<32x512xbf16>
  %b = tile.load %x[%zero, %zero] : memref<1x1024xbf16> -> tensor<1x512xbf16>
  %n = tile.dot <nt> %a, %b, %init : tensor<32x512xbf16>, tensor<1x512xbf16>, tensor<32x1xf32>
  tile.store %n, %o[%row, %zero] : tensor<32x1xf32>, memref<512x1xf32>
  tile.return
}

// FP4: a table of 32 words decodes 32 weights; scales that leave bf16's normal
// numbers go the way of f32. Without products of bf16 all do, by a table of 16
// floats. Here 16 tokens are more than few: rows are decoded into scratch.
// CHECK-LABEL: func.func @fp4(
// AMX: scf.if
// AMX: llvm.x86.avx512.permvar.hi.512
// AMX: amx.tile_mulf
// AMX: } else {
// AMX: math.fma
// BF16-NOT: amx
// BF16: scf.if
// BF16: llvm.x86.avx512.permvar.hi.512
// BF16: vector.store
// BF16: llvm.x86.avx512bf16.dpbf16ps.512
// BF16: } else {
// BF16: math.fma
// V4-NOT: scf.if
// V4: llvm.x86.avx512.permvar.sf.512
// V4: math.fma
tile.kernel @fp4(%w: memref<32x256xi8>, %s: memref<32x16xf8E8M0FNU>, %x: memref<16x512xbf16>, %o: memref<32x16xf32>) {
  %zero = arith.constant 0 : index
  %init = arith.constant dense<0.0> : tensor<32x16xf32>
  %a = tile.load %w[%zero, %zero] : memref<32x256xi8> -> tensor<32x256xi8>
  %b = tile.load %s[%zero, %zero] : memref<32x16xf8E8M0FNU> -> tensor<32x16xf8E8M0FNU>
  %c = tile.load %x[%zero, %zero] : memref<16x512xbf16> -> tensor<16x512xbf16>
  %n = tile.dot_scaled %a, %b, %c, %init : tensor<32x256xi8>, tensor<32x16xf8E8M0FNU>, tensor<16x512xbf16>, tensor<32x16xf32>
  tile.store %n, %o[%zero, %zero] : tensor<32x16xf32>, memref<32x16xf32>
  tile.return
}

// FP8: byte tables of 128 magnitudes, of all columns once where there are no
// tiles; or by way of f16, where tokens take the scales, if that loses nothing.
// fp32 activations are for f32 sums.
// CHECK-LABEL: func.func @fp8(
// AMX: llvm.x86.avx512.vpermi2var.qi.512
// AMX: amx.tile_mulf
// BF16: scf.if
// BF16: vector.store {{.*}} : memref<8x64xi8>, vector<64xi8>
// BF16: vector.load {{.*}} : memref<8x64xi8>, vector<64xi8>
// BF16: llvm.x86.avx512.vpermi2var.qi.512
// BF16: llvm.x86.avx512bf16.dpbf16ps.512
// V4-NOT: dpbf16ps
// V4: vector.reduction <or>
// V4: scf.if
// V4: math.fma
// CHECK-LABEL: func.func @fp8_f32(
// CHECK-NOT: amx
// CHECK-NOT: dpbf16ps
// CHECK: math.fma
tile.kernel @fp8(%w: memref<32x256xf8E4M3FN>, %s: memref<1x2xf8E8M0FNU>, %x: memref<64x256xbf16>, %o: memref<32x64xf32>) {
  %zero = arith.constant 0 : index
  %init = arith.constant dense<0.0> : tensor<32x64xf32>
  %a = tile.load %w[%zero, %zero] : memref<32x256xf8E4M3FN> -> tensor<32x256xf8E4M3FN>
  %b = tile.load %s[%zero, %zero] : memref<1x2xf8E8M0FNU> -> tensor<1x2xf8E8M0FNU>
  %c = tile.load %x[%zero, %zero] : memref<64x256xbf16> -> tensor<64x256xbf16>
  %n = tile.dot_scaled %a, %b, %c, %init : tensor<32x256xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<64x256xbf16>, tensor<32x64xf32>
  tile.store %n, %o[%zero, %zero] : tensor<32x64xf32>, memref<32x64xf32>
  tile.return
}
tile.kernel @fp8_f32(%w: memref<32x256xf8E4M3FN>, %s: memref<1x2xf8E8M0FNU>, %x: memref<1x256xf32>, %o: memref<32x1xf32>) {
  %zero = arith.constant 0 : index
  %init = arith.constant dense<0.0> : tensor<32x1xf32>
  %a = tile.load %w[%zero, %zero] : memref<32x256xf8E4M3FN> -> tensor<32x256xf8E4M3FN>
  %b = tile.load %s[%zero, %zero] : memref<1x2xf8E8M0FNU> -> tensor<1x2xf8E8M0FNU>
  %c = tile.load %x[%zero, %zero] : memref<1x256xf32> -> tensor<1x256xf32>
  %n = tile.dot_scaled %a, %b, %c, %init : tensor<32x256xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<1x256xf32>, tensor<32x1xf32>
  tile.store %n, %o[%zero, %zero] : tensor<32x1xf32>, memref<32x1xf32>
  tile.return
}

// Behind the last rows of a matrix of a table what is touched is the table's
// next one, if the place in the grid chose it: the next program's.
// CHECK-LABEL: func.func @next_of_table(
// CHECK-SAME: %[[T:[^:]*]]: !tile.table<4 of memref<64x512xbf16>>
// CHECK: %[[THIS:.*]] = tile.select_buffer %[[T]][%[[I:.*]]]
// AMX: arith.cmpi uge, %{{.*}}, %c64
// AMX: %[[LATER:.*]] = arith.minui %{{.*}}, %c3
// AMX: %[[WHICH:.*]] = arith.select %{{.*}}, %[[LATER]], %[[I]]
// AMX: %[[NEXT:.*]] = tile.select_buffer %[[T]][%[[WHICH]]]
// AMX: memref.prefetch %[[THIS]]
// AMX: memref.prefetch %[[NEXT]]
tile.kernel @next_of_table(%t: !tile.table<4 of memref<64x512xbf16>>, %x: memref<4x512xbf16>, %o: memref<64x4xf32>) {
  %zero = arith.constant 0 : index
  %two = arith.constant 2 : index
  %block = arith.constant 32 : index
  %id = tile.program_id 0
  %which = arith.divui %id, %two : index
  %part = arith.remui %id, %two : index
  %row = arith.muli %part, %block : index
  %w = tile.select_buffer %t[%which] : <4 of memref<64x512xbf16>> -> memref<64x512xbf16>
  %init = arith.constant dense<0.0> : tensor<32x4xf32>
  %a = tile.load %w[%row, %zero] : memref<64x512xbf16> -> tensor<32x512xbf16>
  %b = tile.load %x[%zero, %zero] : memref<4x512xbf16> -> tensor<4x512xbf16>
  %n = tile.dot <nt> %a, %b, %init : tensor<32x512xbf16>, tensor<4x512xbf16>, tensor<32x4xf32>
  tile.store %n, %o[%row, %zero] : tensor<32x4xf32>, memref<64x4xf32>
  tile.return
}

// Nothing is known of what follows a matrix that memory chose.
// CHECK-LABEL: func.func @chosen_of_table(
// CHECK: tile.select_buffer
// CHECK-NOT: tile.select_buffer
// CHECK: return
tile.kernel @chosen_of_table(%t: !tile.table<4 of memref<64x512xbf16>>, %ids: memref<8xi32>, %x: memref<4x512xbf16>, %o: memref<64x4xf32>) {
  %zero = arith.constant 0 : index
  %id = tile.program_id 0
  %chosen = memref.load %ids[%id] : memref<8xi32>
  %which = arith.index_cast %chosen : i32 to index
  %w = tile.select_buffer %t[%which] : <4 of memref<64x512xbf16>> -> memref<64x512xbf16>
  %init = arith.constant dense<0.0> : tensor<32x4xf32>
  %a = tile.load %w[%zero, %zero] : memref<64x512xbf16> -> tensor<32x512xbf16>
  %b = tile.load %x[%zero, %zero] : memref<4x512xbf16> -> tensor<4x512xbf16>
  %n = tile.dot <nt> %a, %b, %init : tensor<32x512xbf16>, tensor<4x512xbf16>, tensor<32x4xf32>
  tile.store %n, %o[%zero, %zero] : tensor<32x4xf32>, memref<64x4xf32>
  tile.return
}
