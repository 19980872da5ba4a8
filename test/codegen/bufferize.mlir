// RUN: fathom-opt --fathom-cpu-lower-kernels --fathom-tile-to-linalg --fathom-cpu-carry-in-place --fathom-cpu-bufferize --canonicalize --fathom-cpu-linalg-to-vector-loops --canonicalize --fathom-cpu-pack-scratch %s | FileCheck %s

// The accumulator is the only scratch; weights are read where they lie.
// CHECK-LABEL: func.func @matvec
// CHECK-SAME: fathom.scratch_bytes = 64 : i64
// CHECK-NOT: memref.alloc
// CHECK: scf.for
// CHECK-NOT: memref.copy
// CHECK: vector.load
// CHECK: math.fma
tile.kernel @matvec(%w: memref<?x256xf32>, %x: memref<1x256xf32>, %o: memref<?x1xf32>) {
  %zero = arith.constant 0 : index
  %step = arith.constant 64 : index
  %end = arith.constant 256 : index
  %row = tile.program_id 0
  %init = arith.constant dense<0.0> : tensor<8x1xf32>
  %sum = scf.for %k = %zero to %end step %step iter_args(%acc = %init) -> tensor<8x1xf32> {
    %a = tile.load %w[%row, %k] : memref<?x256xf32> -> tensor<8x64xf32>
    %b = tile.load %x[%zero, %k] : memref<1x256xf32> -> tensor<1x64xf32>
    %n = tile.dot <nt> %a, %b, %acc : tensor<8x64xf32>, tensor<1x64xf32>, tensor<8x1xf32>
    scf.yield %n : tensor<8x1xf32>
  }
  tile.store %sum, %o[%row, %zero] : tensor<8x1xf32>, memref<?x1xf32>
  tile.return
}
