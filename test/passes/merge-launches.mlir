// RUN: fathom-opt %s -fathom-merge-launches -split-input-file | FileCheck %s
// RUN: fathom-opt %s -fathom-merge-launches -fathom-plan-memory -split-input-file | FileCheck %s --check-prefix=PLAN
// RUN: fathom-opt %s -fathom-merge-launches -split-input-file -fathom-pass-counts -o /dev/null 2>&1 | FileCheck %s --check-prefix=COUNT
// RUN: fathom-opt %s -fathom-merge-launches=calls -split-input-file | FileCheck %s --check-prefix=CALLS
// COUNT: {{^}}fathom-merge-launches: merged 3, saved 3{{$}}

#tokens = affine_map<(t, r) -> (t)>
#blocks = affine_map<(t, r) -> (2, (t ceildiv 16) * 3)>

tile.kernel @copy(%x: memref<?x16xf32>, %y: memref<?x16xf32>) {
  %t = tile.program_id 0
  %c0 = arith.constant 0 : index
  %v = tile.load %x[%t, %c0] : memref<?x16xf32> -> tensor<16xf32>
  tile.store %v, %y[%t, %c0] : tensor<16xf32>, memref<?x16xf32>
  tile.return
}
tile.kernel @weighted_t16(%w: memref<8x16xf32>, %y: memref<?x16xf32>) {
  %b = tile.program_id 0
  %t = tile.program_id 1
  %c0 = arith.constant 0 : index
  %v = tile.load %w[%b, %c0] : memref<8x16xf32> -> tensor<16xf32>
  tile.store %v, %y[%t, %c0] : tensor<16xf32>, memref<?x16xf32>
  tile.return
}

// The part with weights has the longer programs and comes first; its first axis
// runs fastest. One launch takes all, and the kernel that no launch names goes.
// CHECK: #[[$MAP:.*]] = affine_map<(d0, d1) -> ((d0 ceildiv 16) * 6 + d0)>
// CHECK-LABEL: tile.kernel @merged_weighted_and_copy
// CHECK-SAME: (%[[W:[a-z0-9_]+]]: memref<8x16xf32>, %[[B:[a-z0-9_]+]]: memref<?x16xf32>, %[[X:[a-z0-9_]+]]: memref<?x16xf32>, %[[A:[a-z0-9_]+]]: memref<?x16xf32>, %[[T:[a-z0-9_]+]]: index)
// CHECK: %[[P:[a-z0-9_]+]] = tile.program_id 0
// CHECK: %[[N:[a-z0-9_]+]] = arith.muli
// CHECK: arith.cmpi ult, %[[P]], %[[N]]
// CHECK: scf.if
// CHECK: %[[BLOCK:[a-z0-9_]+]] = arith.remui %[[P]]
// CHECK: %[[TILE:[a-z0-9_]+]] = arith.divui %[[P]]
// CHECK: tile.load %[[W]][%[[BLOCK]],
// CHECK: tile.store %{{.*}}, %[[B]][%[[TILE]],
// CHECK: } else {
// CHECK: %[[REST:[a-z0-9_]+]] = arith.subi %[[P]], %[[N]]
// CHECK: tile.load %[[X]][%[[REST]],
// CHECK: tile.store %{{.*}}, %[[A]][%[[REST]],
// CHECK: }
// CHECK-NEXT: tile.return
// CHECK-NOT: tile.kernel @weighted_t16
// CHECK: tile.kernel @copy
// CHECK-LABEL: func.func @independent
// CHECK-SAME: (%[[T:[a-z0-9_]+]]: index {{.*}}, %[[X:[a-z0-9_]+]]: memref<?x16xf32> {{.*}}, %[[Y:[a-z0-9_]+]]: memref
// CHECK: %[[A:[a-z0-9_]+]] = memref.alloc
// CHECK: %[[B:[a-z0-9_]+]] = memref.alloc
// CHECK: %[[W:[a-z0-9_]+]] = tile.weight
// CHECK: tile.launch @merged_weighted_and_copy #[[$MAP]](%[[W]], %[[B]], %[[X]], %[[A]], %[[T]])
// CHECK-NEXT: tile.launch @copy #{{.*}}(%[[A]], %[[Y]])
// CHECK-NEXT: tile.launch @copy #{{.*}}(%[[B]], %[[Y]])
// CHECK-NEXT: return

// Where kernels can call, the parts stay what they are.
// CALLS-LABEL: tile.kernel @merged_weighted_and_copy
// CALLS-SAME: (%[[W:[a-z0-9_]+]]: memref<8x16xf32>, %[[B:[a-z0-9_]+]]: memref<?x16xf32>, %[[X:[a-z0-9_]+]]: memref<?x16xf32>, %[[A:[a-z0-9_]+]]: memref<?x16xf32>, %{{.*}}: index)
// CALLS: scf.if
// CALLS: tile.call @weighted_t16(%[[W]], %[[B]]) at(%{{.*}}, %{{.*}}, %{{.*}}) : memref<8x16xf32>, memref<?x16xf32>
// CALLS: } else {
// CALLS: tile.call @copy(%[[X]], %[[A]]) at(%{{.*}}, %{{.*}}, %{{.*}})
// CALLS: tile.kernel @copy
// CALLS: tile.kernel @weighted_t16
// CALLS: tile.launch @merged_weighted_and_copy
// CALLS-NEXT: tile.launch @copy

// Both results are alive together: they do not share bytes.
// PLAN-LABEL: func.func @independent
// PLAN-SAME: tile.workspace_bytes = 2048 : i64
func.func @independent(%t: index {tile.port = "count.tokens"}, %x: memref<?x16xf32> {tile.port = "streams"},
                       %y: memref<?x16xf32> {tile.port = "logits", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 16 : i64} {
  %a = memref.alloc(%t) : memref<?x16xf32>
  tile.launch @copy #tokens(%x, %a) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @copy #tokens(%a, %y) : memref<?x16xf32>, memref<?x16xf32>
  %b = memref.alloc(%t) : memref<?x16xf32>
  %w = tile.weight "w" : memref<8x16xf32>
  tile.launch @weighted_t16 #blocks(%w, %b) : memref<8x16xf32>, memref<?x16xf32>
  // Writes what the second one writes, so it stays behind it.
  tile.launch @copy #tokens(%b, %y) : memref<?x16xf32>, memref<?x16xf32>
  return
}

// -----

#tokens = affine_map<(t, r) -> (t)>
#rows = affine_map<(t, r) -> (r)>

tile.kernel @copy(%x: memref<?x16xf32>, %y: memref<?x16xf32>) {
  %t = tile.program_id 0
  %c0 = arith.constant 0 : index
  %v = tile.load %x[%t, %c0] : memref<?x16xf32> -> tensor<16xf32>
  tile.store %v, %y[%t, %c0] : tensor<16xf32>, memref<?x16xf32>
  tile.return
}

// A chain, through a view, and through a cache that is named twice: nothing is
// merged and nothing moves.
// CHECK-LABEL: tile.kernel @copy
// CHECK-NOT: merged
// CHECK-LABEL: func.func @chain
// CHECK: %[[A:[a-z0-9_]+]] = memref.alloc
// CHECK: tile.launch @copy
// CHECK: %[[V:[a-z0-9_]+]] = memref.cast %[[A]]
// CHECK: tile.launch @copy #{{.*}}(%[[V]], %[[C1:[a-z0-9_]+]])
// CHECK: tile.cache
// CHECK: tile.launch @copy
func.func @chain(%t: index {tile.port = "count.tokens"}, %x: memref<?x16xf32> {tile.port = "streams"},
                 %y: memref<?x16xf32> {tile.port = "logits", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 16 : i64} {
  %a = memref.alloc() : memref<16x16xf32>
  %v = memref.cast %a : memref<16x16xf32> to memref<?x16xf32>
  tile.launch @copy #tokens(%x, %v) : memref<?x16xf32>, memref<?x16xf32>
  %u = memref.cast %a : memref<16x16xf32> to memref<?x16xf32>
  %c1 = tile.cache "layers.0.window" "rows" : memref<?x16xf32>
  tile.launch @copy #tokens(%u, %c1) : memref<?x16xf32>, memref<?x16xf32>
  %c2 = tile.cache "layers.0.window" "rows" : memref<?x16xf32>
  tile.launch @copy #tokens(%c2, %y) : memref<?x16xf32>, memref<?x16xf32>
  return
}

// Without a count of rows among the arguments there is nothing to divide the
// programs by.
// CHECK-LABEL: func.func @no_count
// CHECK-COUNT-2: tile.launch @copy
func.func @no_count(%t: index {tile.port = "count.tokens"}, %x: memref<?x16xf32> {tile.port = "streams"},
                    %y: memref<?x16xf32> {tile.port = "logits", tile.output},
                    %z: memref<?x16xf32> {tile.port = "streams", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 16 : i64} {
  tile.launch @copy #tokens(%x, %y) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @copy #rows(%x, %z) : memref<?x16xf32>, memref<?x16xf32>
  return
}

// Other functions are left alone.
// CHECK-LABEL: func.func @other
// CHECK-COUNT-2: tile.launch @copy
func.func @other(%x: memref<?x16xf32>, %y: memref<?x16xf32>, %z: memref<?x16xf32>) {
  tile.launch @copy #tokens(%x, %y) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @copy #tokens(%x, %z) : memref<?x16xf32>, memref<?x16xf32>
  return
}

// -----

#tokens = affine_map<(t, r) -> (t)>
#rows = affine_map<(t, r) -> (r)>

tile.kernel @copy(%x: memref<?x16xf32>, %y: memref<?x16xf32>) {
  %t = tile.program_id 0
  %c0 = arith.constant 0 : index
  %v = tile.load %x[%t, %c0] : memref<?x16xf32> -> tensor<16xf32>
  tile.store %v, %y[%t, %c0] : tensor<16xf32>, memref<?x16xf32>
  tile.return
}

// Equal merges of two specialisations share a kernel; a buffer that two parts
// read is one argument.
// CHECK: #[[$MAP:.*]] = affine_map<(d0, d1) -> (d0 + d1)>
// CHECK: tile.kernel @merged_copy(%{{.*}}: memref<?x16xf32>, %{{.*}}: memref<?x16xf32>, %{{.*}}: memref<?x16xf32>, %{{.*}}: index, %{{.*}}: index)
// CHECK-NOT: tile.kernel
// CHECK-LABEL: func.func @one
// CHECK: tile.launch @merged_copy #[[$MAP]](%[[X:[a-z0-9_]+]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}})
func.func @one(%t: index {tile.port = "count.tokens"}, %r: index {tile.port = "count.rows"},
               %x: memref<?x16xf32> {tile.port = "streams"}, %y: memref<?x16xf32> {tile.port = "logits", tile.output},
               %z: memref<?x16xf32> {tile.port = "streams", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 1 : i64} {
  tile.launch @copy #tokens(%x, %y) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @copy #rows(%x, %z) : memref<?x16xf32>, memref<?x16xf32>
  return
}
// CHECK-LABEL: func.func @many
// CHECK: tile.launch @merged_copy
func.func @many(%t: index {tile.port = "count.tokens"}, %r: index {tile.port = "count.rows"},
                %x: memref<?x16xf32> {tile.port = "streams"}, %y: memref<?x16xf32> {tile.port = "logits", tile.output},
                %z: memref<?x16xf32> {tile.port = "streams", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 16 : i64} {
  tile.launch @copy #tokens(%x, %y) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @copy #rows(%x, %z) : memref<?x16xf32>, memref<?x16xf32>
  return
}
