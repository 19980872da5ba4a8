// An attention, the rope that turns its result back, and its indexer.
// RUN: fathom-opt %s -split-input-file -fathom-fuse-sparse-attention | FileCheck %s
// RUN: fathom-opt %s -split-input-file -fathom-fuse-sparse-attention -fathom-fuse-sparse-attention | FileCheck %s
// RUN: fathom-opt %s -split-input-file -fathom-fuse-sparse-attention -fathom-pass-counts -o /dev/null 2>&1 | FileCheck %s --check-prefix=COUNT
// COUNT: {{^}}fathom-fuse-sparse-attention: groups 2, left 3, operations 7, saved 3{{$}}

!w = !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>
!c = !dsv4.cache<compressed, 64 rows of 128, rope = 64, fp8>
!x = !dsv4.cache<index, 64 rows of 64, rope = 0, fp4>

// CHECK-LABEL: func.func @everything
// CHECK-SAME: %[[Q:[a-z0-9]+]]: tensor<?x8x128xbf16>
// CHECK: dsv4.linear
// CHECK-NEXT: dsv4.compressed_insert
// CHECK-NEXT: %[[Y:.*]] = dsv4.fused sparse_attention {
// CHECK-NEXT: %[[W:.*]] = dsv4.scale
// CHECK-NEXT: %[[S:.*]] = dsv4.index_scores %{{.*}}, %[[W]]
// CHECK-NEXT: %[[I:.*]] = dsv4.select_topk %[[S]]
// CHECK-NEXT: %[[O:.*]] = dsv4.attention %[[Q]], {{.*}}%[[I]]
// CHECK-NEXT: %[[R:.*]] = dsv4.rope %[[O]]
// CHECK-NEXT: dsv4.yield %[[R]] : tensor<?x8x128xbf16>
// CHECK-NEXT: } : tensor<?x8x128xbf16>
// CHECK: return %[[Y]]
func.func @everything(%q: tensor<?x8x128xbf16>, %iq: tensor<?x4x64xbf16>, %h: tensor<?x64xbf16>, %ww: tensor<4x64xbf16>, %kv: tensor<?x64xbf16>,
    %sink: tensor<8xf32>, %cos: tensor<?x32xf32>, %sin: tensor<?x32xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>,
    %w: !w, %c: !c, %x: !x) -> tensor<?x8x128xbf16> {
  %hw = dsv4.linear %h, %ww : (tensor<?x64xbf16>, tensor<4x64xbf16>) -> tensor<?x4xbf16>
  %iw = dsv4.scale %hw {factor = 0.125 : f64} : (tensor<?x4xbf16>) -> tensor<?x4xbf16>
  dsv4.compressed_insert %x, %kv, %p, %s {ratio = 4} : (!x, tensor<?x64xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  %scores = dsv4.index_scores %iq, %iw, %x, %p, %s {ratio = 4} : (tensor<?x4x64xbf16>, tensor<?x4xbf16>, !x, tensor<?xi32>, tensor<?xi32>) -> tensor<?x64xf32>
  %i = dsv4.select_topk %scores, %p {k = 5, ratio = 4} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x5xi32>
  %o = dsv4.attention %q, %w, %c, %i, %sink, %p, %s {window = 128, ratio = 4, scale = 0.088 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x8x128xbf16>, !w, !c, tensor<?x5xi32>, tensor<8xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8x128xbf16>
  %y = dsv4.rope %o, %cos, %sin {inverse} : (tensor<?x8x128xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x8x128xbf16>
  return %y : tensor<?x8x128xbf16>
}

// -----

!w = !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>

// No indexer: attention and rope.
// CHECK-LABEL: func.func @window
// CHECK: dsv4.fused sparse_attention {
// CHECK-NEXT: dsv4.attention
// CHECK-NEXT: dsv4.rope
// CHECK-NEXT: dsv4.yield
func.func @window(%q: tensor<?x8x128xbf16>, %sink: tensor<8xf32>, %cos: tensor<?x32xf32>, %sin: tensor<?x32xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %w: !w) -> tensor<?x8x128xbf16> {
  %o = dsv4.attention %q, %w, %sink, %p, %s {window = 128, ratio = 0, scale = 0.088 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x8x128xbf16>, !w, tensor<8xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8x128xbf16>
  %y = dsv4.rope %o, %cos, %sin {inverse} : (tensor<?x8x128xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x8x128xbf16>
  return %y : tensor<?x8x128xbf16>
}

// -----

!w = !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>

// The unrotated result is wanted, too: nothing is left to group.
// CHECK-LABEL: func.func @used_twice
// CHECK-NOT: dsv4.fused
func.func @used_twice(%q: tensor<?x8x128xbf16>, %sink: tensor<8xf32>, %cos: tensor<?x32xf32>, %sin: tensor<?x32xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %w: !w) -> (tensor<?x8x128xbf16>, tensor<?x8x128xbf16>) {
  %o = dsv4.attention %q, %w, %sink, %p, %s {window = 128, ratio = 0, scale = 0.088 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x8x128xbf16>, !w, tensor<8xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8x128xbf16>
  %y = dsv4.rope %o, %cos, %sin {inverse} : (tensor<?x8x128xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x8x128xbf16>
  return %o, %y : tensor<?x8x128xbf16>, tensor<?x8x128xbf16>
}

// -----

!w = !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>

// Another rotation is none of its epilogue: forwards, or of fewer channels.
// CHECK-LABEL: func.func @other_rotation
// CHECK-NOT: dsv4.fused
func.func @other_rotation(%q: tensor<?x8x128xbf16>, %sink: tensor<8xf32>, %cos: tensor<?x32xf32>, %sin: tensor<?x32xf32>, %cos2: tensor<?x16xf32>, %sin2: tensor<?x16xf32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %w: !w) -> (tensor<?x8x128xbf16>, tensor<?x8x128xbf16>) {
  %o = dsv4.attention %q, %w, %sink, %p, %s {window = 128, ratio = 0, scale = 0.088 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x8x128xbf16>, !w, tensor<8xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8x128xbf16>
  %y = dsv4.rope %o, %cos, %sin : (tensor<?x8x128xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x8x128xbf16>
  %o2 = dsv4.attention %q, %w, %sink, %p, %s {window = 128, ratio = 0, scale = 0.088 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x8x128xbf16>, !w, tensor<8xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8x128xbf16>
  %y2 = dsv4.rope %o2, %cos2, %sin2 {inverse} : (tensor<?x8x128xbf16>, tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x8x128xbf16>
  return %y, %y2 : tensor<?x8x128xbf16>, tensor<?x8x128xbf16>
}

// -----

// Nothing to do.
// CHECK-LABEL: func.func @nothing
// CHECK-NEXT: dsv4.hadamard
// CHECK-NEXT: return
func.func @nothing(%x: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %y = dsv4.hadamard %x : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}
