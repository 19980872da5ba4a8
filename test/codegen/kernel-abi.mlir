// RUN: fathom-opt --fathom-to-cpu %s | FileCheck %s

// CHECK: llvm.func @pick(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: !llvm.ptr)
// CHECK-SAME: fathom.scratch_bytes = 0 : i64
// CHECK-NOT: unrealized_conversion_cast
// CHECK: llvm.return
tile.kernel @pick(%t: !tile.table<3 of memref<4x16xf32>>, %e: index, %b: memref<?x16xf32>) {
  %p = tile.program_id 1
  %zero = arith.constant 0 : index
  %w = tile.select_buffer %t[%e] : !tile.table<3 of memref<4x16xf32>> -> memref<4x16xf32>
  %x = tile.load %w[%p, %zero] : memref<4x16xf32> -> tensor<16xf32>
  tile.store %x, %b[%p, %zero] : tensor<16xf32>, memref<?x16xf32>
  tile.return
}
