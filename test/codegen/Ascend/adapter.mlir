// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The form that is handed over: generic, flat arguments, counts and tables through
// memory, bounds as parts of copies, rows one by one.
// REQUIRES: fathom-tile-to-adapter, mlir-opt
// RUN: rm -rf %t && fathom-tile-to-adapter %s 910b %t
// RUN: FileCheck %s --check-prefix=GENERIC < %t/pick.mlir
// RUN: mlir-opt %t/pick.mlir | FileCheck %s
// RUN: mlir-opt %t/plain.mlir | FileCheck %s --check-prefix=PLAIN
// RUN: mlir-opt %t/part.mlir | FileCheck %s --check-prefix=PART
// RUN: mlir-opt %t/column.mlir | FileCheck %s --check-prefix=COLUMN
// RUN: mlir-opt --canonicalize %t/strips.mlir | FileCheck %s --check-prefix=STRIPS

// GENERIC-NOT: builtin.module {
// GENERIC-NOT: overflow<none>}> : (tensor<{{.*}}xi32>) -> tensor<{{.*}}xi8>
// GENERIC: "func.func"() <{function_type = (memref<?xi8>, memref<?xi8>, memref<?xbf16>, memref<?xi64>, memref<?xi32>, memref<?xi32>, memref<?xf32>, i32, i32, i32, i32, i32, i32) -> ()
// GENERIC: SyncBlockLockArgIdx = 0 : i64, WorkspaceArgIdx = 1 : i64, global_kernel = "local", mix_mode = "mix", parallel_mode = "simd"

// CHECK: func.func @pick(%[[LOCK:.*]]: memref<?xi8>, %[[WS:.*]]: memref<?xi8>, %[[FIRST:.*]]: memref<?xbf16>, %[[ADDRESSES:.*]]: memref<?xi64>, %[[COUNT:.*]]: memref<?xi32>, %[[ROWS:.*]]: memref<?xi32>, %[[OUT:.*]]: memref<?xf32>
// CHECK-DAG: memref.load %[[COUNT]]
// CHECK-DAG: memref.load %[[ADDRESSES]]
// CHECK-DAG: arith.shrsi {{.*}} : i64
// CHECK: memref.reinterpret_cast %[[FIRST]] to offset: [%{{.*}}], sizes: [16, 64], strides: [64, 1]
// CHECK: linalg.matmul {input_precision = "ieee"}
// CHECK: bufferization.materialize_in_destination
tile.kernel @pick(%table: !tile.table<4 of memref<16x64xbf16>>, %n: index, %rows: memref<?xi32>, %out: memref<?x16xf32>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %w = tile.select_buffer %table[%i] : <4 of memref<16x64xbf16>> -> memref<16x64xbf16>
  %a = tile.load %w[%zero, %zero] : memref<16x64xbf16> -> tensor<16x64xbf16>
  %acc = arith.constant dense<0.0> : tensor<16x16xf32>
  %c = tile.dot <nt> %a, %a, %acc : tensor<16x64xbf16>, tensor<16x64xbf16>, tensor<16x16xf32>
  %r = tile.load %rows[%zero] bounds[%n] : memref<?xi32> -> tensor<16xi32>
  %k = arith.sitofp %r : tensor<16xi32> to tensor<16xf32>
  %m = tile.broadcast %k dims [0] : tensor<16xf32> -> tensor<16x16xf32>
  %d = arith.addf %c, %m : tensor<16x16xf32>
  %sixteen = arith.constant 16 : index
  tile.store %d, %out[%i, %zero] bounds[%n, %sixteen] : tensor<16x16xf32>, memref<?x16xf32>
  tile.return
}

// PLAIN: func.func @plain(
// PLAIN-SAME: mix_mode = "aiv"
// PLAIN: scf.for
// PLAIN: tensor.extract
// PLAIN: scf.if
// PLAIN: memref.copy
// PLAIN: arith.trunci {{.*}} : tensor<4x32xi32> to tensor<4x32xi8>
tile.kernel @plain(%x: memref<?x64xf32>, %rows: memref<?xi32>, %y: memref<?x32xi8>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %r = tile.load %rows[%i] : memref<?xi32> -> tensor<4xi32>
  %v = tile.gather %x[%r, %zero] : memref<?x64xf32>, tensor<4xi32> -> tensor<4x64xf32>
  %p = tile.pack_fp4 %v : tensor<4x64xf32> -> tensor<4x32xi8>
  tile.store %p, %y[%i, %zero] : tensor<4x32xi8>, memref<?x32xi8>
  tile.return
}

// A column of three dimensions is one of two; where the middle is cut off, all
// rows are.
// COLUMN: func.func @column(
// COLUMN: %[[ROWS:.*]] = arith.minsi %{{.*}}, %c8{{.*}} : index
// COLUMN: %[[MIDDLE:.*]] = arith.minsi %{{.*}}, %c1{{.*}} : index
// COLUMN: %[[CUT:.*]] = arith.muli %[[ROWS]], %[[MIDDLE]] : index
// COLUMN: memref.reinterpret_cast {{.*}} sizes: [8, 1], strides: [12, 1]
// COLUMN: memref.alloc() : memref<8x1xi8>
// COLUMN: memref.subview %{{.*}}[0, 0] [%[[CUT]], 1] [1, 1]
// COLUMN: tensor.expand_shape %{{.*}} : tensor<8x1xi8> into tensor<8x1x1xi8>
tile.kernel @column(%x: memref<?x4x3xi8>, %n: index, %y: memref<?x1x1xi8>) {
  %i = tile.program_id 0
  %g = tile.program_id 1
  %zero = arith.constant 0 : index
  %four = arith.constant 4 : index
  %three = arith.constant 3 : index
  %v = tile.load %x[%i, %g, %zero] bounds[%n, %four, %three] : memref<?x4x3xi8> -> tensor<8x1x1xi8>
  tile.store %v, %y[%i, %zero, %zero] : tensor<8x1x1xi8>, memref<?x1x1xi8>
  tile.return
}

// A part that is known is loaded as a tile of its own and put among zeros; one
// row from a row on lies below the bound of the next one for certain.
// PART: func.func @part(
// PART-NOT: memref.subview
// PART: memref.reinterpret_cast {{.*}} sizes: [1, 384], strides: [384, 1]
// PART: memref.alloc() : memref<1x384xf32>
// PART: tensor.insert_slice {{.*}} : tensor<1x384xf32> into tensor<1x512xf32>
tile.kernel @part(%x: memref<?x384xf32>, %y: memref<?x512xf32>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %width = arith.constant 384 : index
  %next = arith.addi %i, %one : index
  %v = tile.load %x[%i, %zero] bounds[%next, %width] : memref<?x384xf32> -> tensor<1x512xf32>
  tile.store %v, %y[%i, %zero] : tensor<1x512xf32>, memref<?x512xf32>
  tile.return
}

// What is extended only for a product is so in strips of 32 KB.
// STRIPS: func.func @strips(
// STRIPS-NOT: tensor<128x128xf32>
// STRIPS: tensor.extract_slice {{.*}}[0, 0] [64, 128] {{.*}} : tensor<128x128xbf16> to tensor<64x128xbf16>
// STRIPS: arith.extf {{.*}} : tensor<64x128xbf16> to tensor<64x128xf32>
// STRIPS: linalg.matmul {{.*}} ins({{.*}} : tensor<64x128xf32>, tensor<128x16xf32>)
// STRIPS: tensor.insert_slice {{.*}}[0, 0] [64, 16]
// STRIPS: tensor.extract_slice {{.*}}[64, 0] [64, 128]
// STRIPS: linalg.matmul {{.*}} ins({{.*}} : tensor<64x128xf32>, tensor<128x16xf32>)
// STRIPS: tensor.insert_slice {{.*}}[64, 0] [64, 16]
tile.kernel @strips(%w: memref<128x128xbf16>, %x: memref<16x128xf32>, %y: memref<128x16xf32>) {
  %zero = arith.constant 0 : index
  %a = tile.load %w[%zero, %zero] : memref<128x128xbf16> -> tensor<128x128xbf16>
  %f = arith.extf %a : tensor<128x128xbf16> to tensor<128x128xf32>
  %b = tile.load %x[%zero, %zero] : memref<16x128xf32> -> tensor<16x128xf32>
  %acc = arith.constant dense<0.0> : tensor<128x16xf32>
  %c = tile.dot <nt> %f, %b, %acc : tensor<128x128xf32>, tensor<16x128xf32>, tensor<128x16xf32>
  tile.store %c, %y[%zero, %zero] : tensor<128x16xf32>, memref<128x16xf32>
  tile.return
}
