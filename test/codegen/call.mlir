// A kernel that calls another passes some of its own words on, a place in the
// grid and its scratch; the other one may be in another object.
// RUN: fathom-opt %s -fathom-to-cpu | FileCheck %s

// CHECK-LABEL: llvm.func @caller
// CHECK-SAME: (%[[ARGS:[a-z0-9]+]]: !llvm.ptr, %[[X:[a-z0-9]+]]: i64, %{{[a-z0-9]+}}: i64, %{{[a-z0-9]+}}: i64, %[[SCRATCH:[a-z0-9]+]]: !llvm.ptr)
// CHECK: %[[ARRAY:.*]] = llvm.alloca %{{.*}} x i64
// CHECK: %[[FROM:.*]] = llvm.getelementptr %[[ARGS]][2]
// CHECK: %[[B:.*]] = llvm.load %[[FROM]]
// CHECK: llvm.store %[[B]], %[[ARRAY]]
// CHECK: %[[TO:.*]] = llvm.getelementptr %[[ARRAY]][1]
// CHECK: %[[A:.*]] = llvm.load %[[ARGS]]
// CHECK: llvm.store %[[A]], %[[TO]]
// CHECK: llvm.call @called(%[[ARRAY]], %[[X]], %{{.*}}, %{{.*}}, %[[SCRATCH]]) : (!llvm.ptr, i64, i64, i64, !llvm.ptr) -> ()
tile.kernel @caller(%a: memref<?x4xf32>, %n: index, %b: memref<?x4xf32>) {
  %i = tile.program_id 0
  %zero = arith.constant 0 : index
  %some = arith.cmpi ult, %i, %n : index
  scf.if %some {
    tile.call @called(%b, %a) at (%i, %zero, %zero) : memref<?x4xf32>, memref<?x4xf32>
  }
  tile.return
}
// CHECK: llvm.func @called(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: !llvm.ptr)
tile.kernel @called(%x: memref<?x4xf32>, %y: memref<?x4xf32>) {
  %i = tile.program_id 0
  %c0 = arith.constant 0 : index
  %v = tile.load %x[%i, %c0] : memref<?x4xf32> -> tensor<4xf32>
  %w = arith.addf %v, %v : tensor<4xf32>
  tile.store %w, %y[%i, %c0] : tensor<4xf32>, memref<?x4xf32>
  tile.return
}
