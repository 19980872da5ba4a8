// The CPU gives a kernel that calls no scratch beside that of what it calls.
// RUN: fathom-opt %s -fathom-to-cpu -verify-diagnostics

tile.kernel @caller(%a: memref<?x4xf32>, %b: memref<?x4xf32>, %n: index) {
  %i = tile.program_id 0
  %none = arith.constant dense<0.0> : tensor<4x4xf32>
  %x = tile.load %a[%i, %i] bounds [%n, %n] : memref<?x4xf32> -> tensor<4x4xf32>
  %s = tile.dot <nt> %x, %x, %none : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
  %r = tile.reduce <add> %s {dim = 0 : i64} : tensor<4x4xf32>
  tile.store %r, %b[%i, %i] : tensor<4xf32>, memref<?x4xf32>
  // expected-error @+1 {{a kernel that needs scratch cannot call another}}
  tile.call @called(%a) at (%i, %i, %i) : memref<?x4xf32>
  tile.return
}
tile.kernel @called(%x: memref<?x4xf32>) {
  tile.return
}
