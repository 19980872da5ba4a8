// What has no translation is an error that names the operation.
// REQUIRES: fathom-tile-to-cudatile
// RUN: not fathom-tile-to-cudatile %s sm_90 %t erf 2>&1 | FileCheck %s --check-prefix=ERF
// RUN: not fathom-tile-to-cudatile %s sm_90 %t e5m2 2>&1 | FileCheck %s --check-prefix=TYPE

// ERF: error: unsupported on sm_90: math.erf: no translation for this operation
tile.kernel @erf(%x: memref<64xf32>, %y: memref<64xf32>) {
  %zero = arith.constant 0 : index
  %v = tile.load %x[%zero] : memref<64xf32> -> tensor<64xf32>
  %w = math.erf %v : tensor<64xf32>
  tile.store %w, %y[%zero] : tensor<64xf32>, memref<64xf32>
  tile.return
}
// TYPE: error: unsupported on sm_90: tile.load: a type that has no translation
tile.kernel @e5m2(%x: memref<64xf8E5M2>, %y: memref<64xf8E5M2>) {
  %zero = arith.constant 0 : index
  %v = tile.load %x[%zero] : memref<64xf8E5M2> -> tensor<64xf8E5M2>
  tile.store %v, %y[%zero] : tensor<64xf8E5M2>, memref<64xf8E5M2>
  tile.return
}
