// Launches become one at the end of a schedule only where nothing else that stands
// there does something at its place.
// RUN: fathom-opt %s -fathom-merge-launches | FileCheck %s

#tokens = affine_map<(t, r) -> (t)>

tile.kernel @copy(%x: memref<?x16xf32>, %y: memref<?x16xf32>) {
  %t = tile.program_id 0
  %c0 = arith.constant 0 : index
  %v = tile.load %x[%t, %c0] : memref<?x16xf32> -> tensor<16xf32>
  tile.store %v, %y[%t, %c0] : tensor<16xf32>, memref<?x16xf32>
  tile.return
}

// Sizes, buffers and views are no effects.
// CHECK-LABEL: func.func @merged
// CHECK: tile.launch @merged_copy
// CHECK-NOT: tile.launch
// CHECK: return
func.func @merged(%t: index {tile.port = "count.tokens"}, %r: index {tile.port = "count.rows"},
                  %x: memref<?x16xf32> {tile.port = "streams"}, %y: memref<?x16xf32> {tile.port = "logits", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  tile.launch @copy #tokens(%x, %y) : memref<?x16xf32>, memref<?x16xf32>
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x16xf32>
  %a = memref.alloc(%n) : memref<?x16xf32>
  %b = memref.cast %a : memref<?x16xf32> to memref<?x16xf32, strided<[16, 1]>>
  tile.launch @copy #tokens(%x, %a) : memref<?x16xf32>, memref<?x16xf32>
  return
}

// What is copied has been written.
// CHECK-LABEL: func.func @copied
// CHECK-NEXT: tile.launch @copy
// CHECK-NEXT: memref.copy
// CHECK-NEXT: tile.launch @copy
func.func @copied(%t: index {tile.port = "count.tokens"}, %r: index {tile.port = "count.rows"},
                  %x: memref<?x16xf32> {tile.port = "streams"}, %y: memref<?x16xf32> {tile.port = "logits", tile.output},
                  %z: memref<?x16xf32> {tile.port = "streams", tile.output}, %u: memref<?x16xf32> {tile.port = "layers.0", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  tile.launch @copy #tokens(%x, %y) : memref<?x16xf32>, memref<?x16xf32>
  memref.copy %y, %z : memref<?x16xf32> to memref<?x16xf32>
  tile.launch @copy #tokens(%x, %u) : memref<?x16xf32>, memref<?x16xf32>
  return
}

// A buffer is not used behind the end of its life.
// CHECK-LABEL: func.func @ended
// CHECK: tile.launch @copy
// CHECK-NEXT: tile.launch @copy
// CHECK-NEXT: memref.dealloc
func.func @ended(%t: index {tile.port = "count.tokens"}, %r: index {tile.port = "count.rows"},
                 %x: memref<?x16xf32> {tile.port = "streams"}, %y: memref<?x16xf32> {tile.port = "logits", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  %a = memref.alloc(%t) : memref<?x16xf32>
  tile.launch @copy #tokens(%x, %a) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @copy #tokens(%x, %y) : memref<?x16xf32>, memref<?x16xf32>
  memref.dealloc %a : memref<?x16xf32>
  return
}
