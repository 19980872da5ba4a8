// Elements that vectors pack closer than memory has them one by one.
// RUN: fathom-opt %s -split-input-file -fathom-to-cpu -verify-diagnostics

// expected-error @+1 {{unsupported on the CPU: elements of 'memref<?x8xi48>'; integers have 8, 16, 32 or 64 bits}}
tile.kernel @wide(%a: memref<?x8xi48>, %o: memref<?x8xi48>) {
  %zero = arith.constant 0 : index
  %x = tile.load %a[%zero, %zero] : memref<?x8xi48> -> tensor<4x8xi48>
  tile.store %x, %o[%zero, %zero] : tensor<4x8xi48>, memref<?x8xi48>
  tile.return
}

// -----

// expected-error @+1 {{elements of '!tile.table<2 of memref<8xi4>>'}}
tile.kernel @table(%t: !tile.table<2 of memref<8xi4>>) {
  tile.return
}

// -----

tile.kernel @tile(%a: memref<8xi8>, %o: memref<8xi8>) {
  %zero = arith.constant 0 : index
  %x = tile.load %a[%zero] : memref<8xi8> -> tensor<8xi8>
  // expected-error @+1 {{elements of 'tensor<8xi4>'}}
  %y = arith.trunci %x : tensor<8xi8> to tensor<8xi4>
  %z = arith.extsi %y : tensor<8xi4> to tensor<8xi8>
  tile.store %z, %o[%zero] : tensor<8xi8>, memref<8xi8>
  tile.return
}

// -----

// expected-error @+1 {{elements of 'memref<8xf4E2M1FN>'}}
tile.kernel @fp4(%a: memref<8xf4E2M1FN>) {
  tile.return
}
