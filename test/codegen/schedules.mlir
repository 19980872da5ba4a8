// What fathomc writes after a phase (--stop-after tile, --dump-ir) has schedules,
// too, which the runtime follows: the pipeline is for the kernels.
// RUN: fathom-opt %s -fathom-to-cpu | FileCheck %s

// CHECK-NOT: @step
// CHECK: llvm.func @double
// CHECK-NOT: @step
tile.kernel @double(%x: memref<?x4xf32>, %y: memref<?x4xf32>) {
  %i = tile.program_id 0
  %c0 = arith.constant 0 : index
  %v = tile.load %x[%i, %c0] : memref<?x4xf32> -> tensor<4xf32>
  %w = arith.addf %v, %v : tensor<4xf32>
  tile.store %w, %y[%i, %c0] : tensor<4xf32>, memref<?x4xf32>
  tile.return
}
func.func @step_1(%in: memref<?x4xf32>, %out: memref<?x4xf32>)
    attributes {tile.entry = "step", tile.max_tokens = 1 : i64} {
  tile.launch @double affine_map<(t, r) -> (t, 1, 1)> (%in, %out) : memref<?x4xf32>, memref<?x4xf32>
  return
}
