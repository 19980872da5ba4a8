// Tiles may hold i1; buffers of it have no code on the CPU.
// RUN: fathom-opt %s -split-input-file -fathom-to-cpu -verify-diagnostics

// expected-error @+1 {{unsupported on the CPU: buffers of i1, as in an argument of type 'memref<?x40xi1>'}}
tile.kernel @move(%a: memref<?x40xi1>, %n: index, %o: memref<?x40xi1>) {
  %zero = arith.constant 0 : index
  %c40 = arith.constant 40 : index
  %x = tile.load %a[%zero, %zero] bounds [%n, %c40] : memref<?x40xi1> -> tensor<4x64xi1>
  tile.store %x, %o[%zero, %zero] bounds [%n, %c40] : tensor<4x64xi1>, memref<?x40xi1>
  tile.return
}

// -----

// expected-error @+1 {{buffers of i1, as in an argument of type '!tile.table<3 of memref<4x16xi1>>'}}
tile.kernel @select(%t: !tile.table<3 of memref<4x16xi1>>, %e: index, %rows: memref<4xi32>, %o: memref<4x16xf32>) {
  %zero = arith.constant 0 : index
  %w = tile.select_buffer %t[%e] : !tile.table<3 of memref<4x16xi1>> -> memref<4x16xi1>
  %r = tile.load %rows[%zero] : memref<4xi32> -> tensor<4xi32>
  %x = tile.gather %w[%r] : memref<4x16xi1>, tensor<4xi32> -> tensor<4x16xi1>
  %one = arith.constant dense<1.0> : tensor<4x16xf32>
  %none = arith.constant dense<0.0> : tensor<4x16xf32>
  %y = arith.select %x, %one, %none : tensor<4x16xi1>, tensor<4x16xf32>
  tile.store %y, %o[%zero, %zero] : tensor<4x16xf32>, memref<4x16xf32>
  tile.return
}
