// RUN: fathom-opt %s -fathom-fuse-compressed-attention | FileCheck %s
// RUN: fathom-opt %s -fathom-fuse-compressed-attention -fathom-pass-counts -o /dev/null 2>&1 | FileCheck %s --check-prefix=COUNT
// COUNT: {{^}}fathom-fuse-compressed-attention: groups 2, left 2, operations 7{{$}}

!state = !dsv4.cache<state, 8 rows of 256, rope = 0, f32>
!blocks = !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>

// The state is updated behind the group, which reads it.
// CHECK-LABEL: func.func @compressor
// CHECK-NOT: dsv4.state_update
// CHECK: dsv4.fused compressed_attention
// CHECK-NEXT: dsv4.compress_pool
// CHECK-NEXT: dsv4.rms_norm
// CHECK-NEXT: dsv4.rope
// CHECK-NEXT: dsv4.fake_quantize
// CHECK-NEXT: dsv4.compressed_insert
// CHECK-NEXT: dsv4.yield
// CHECK-NEXT: }
// CHECK-NEXT: dsv4.state_update
func.func @compressor(%kv: tensor<?x256xf32>, %gate: tensor<?x256xf32>, %ape: tensor<4x256xf32>, %st: !state, %b: !blocks,
                      %g: tensor<128xbf16>, %cos: tensor<?x32xf32>, %sin: tensor<?x32xf32>,
                      %p: tensor<?xi32>, %s: tensor<?xi32>) {
  %c = dsv4.compress_pool %kv, %gate, %ape, %st, %p, %s {ratio = 4, overlap} : (tensor<?x256xf32>, tensor<?x256xf32>, tensor<4x256xf32>, !state, tensor<?xi32>, tensor<?xi32>) -> tensor<?x128xbf16>
  dsv4.state_update %st, %kv, %gate, %p, %s : (!state, tensor<?x256xf32>, tensor<?x256xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  %n = dsv4.rms_norm %c, %g {eps = 1.0e-6 : f64} : (tensor<?x128xbf16>, tensor<128xbf16>) -> tensor<?x128xbf16>
  %r = dsv4.rope %n, %cos, %sin : (tensor<?x128xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x128xbf16>
  %q = dsv4.fake_quantize %r {format = #dsv4.format<e4m3>, block = 64, channels = 64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16>
  dsv4.compressed_insert %b, %q, %p, %s {ratio = 4} : (!blocks, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  return
}

// The row is wanted by something else, too.
// CHECK-LABEL: func.func @row_escapes
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @row_escapes(%kv: tensor<?x256xf32>, %gate: tensor<?x256xf32>, %ape: tensor<4x256xf32>, %st: !state, %b: !blocks,
                       %g: tensor<128xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>) -> tensor<?x128xbf16> {
  %c = dsv4.compress_pool %kv, %gate, %ape, %st, %p, %s {ratio = 4, overlap} : (tensor<?x256xf32>, tensor<?x256xf32>, tensor<4x256xf32>, !state, tensor<?xi32>, tensor<?xi32>) -> tensor<?x128xbf16>
  %n = dsv4.rms_norm %c, %g {eps = 1.0e-6 : f64} : (tensor<?x128xbf16>, tensor<128xbf16>) -> tensor<?x128xbf16>
  dsv4.compressed_insert %b, %n, %p, %s {ratio = 4} : (!blocks, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  return %n : tensor<?x128xbf16>
}

// Of two compressors that write the same blocks the second one inserts first:
// what the first one inserts would have to move before it, and stays.
// CHECK-LABEL: func.func @crossed
// CHECK-NEXT: %[[C:.*]] = dsv4.compress_pool
// CHECK-NEXT: dsv4.state_update
// CHECK-NEXT: dsv4.fused compressed_attention
// CHECK-NEXT: %[[C2:.*]] = dsv4.compress_pool
// CHECK-NEXT: dsv4.compressed_insert %{{.*}}, %[[C2]]
// CHECK-NEXT: dsv4.yield
// CHECK-NEXT: }
// CHECK-NEXT: %[[N:.*]] = dsv4.rms_norm %[[C]]
// CHECK-NEXT: dsv4.compressed_insert %{{.*}}, %[[N]]
// CHECK-NEXT: return
func.func @crossed(%kv: tensor<?x256xf32>, %gate: tensor<?x256xf32>, %ape: tensor<4x256xf32>, %st: !state, %b: !blocks,
                   %g: tensor<128xbf16>, %p: tensor<?xi32>, %s: tensor<?xi32>) {
  %c = dsv4.compress_pool %kv, %gate, %ape, %st, %p, %s {ratio = 4, overlap} : (tensor<?x256xf32>, tensor<?x256xf32>, tensor<4x256xf32>, !state, tensor<?xi32>, tensor<?xi32>) -> tensor<?x128xbf16>
  dsv4.state_update %st, %kv, %gate, %p, %s : (!state, tensor<?x256xf32>, tensor<?x256xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  %c2 = dsv4.compress_pool %kv, %gate, %ape, %st, %p, %s {ratio = 4, overlap} : (tensor<?x256xf32>, tensor<?x256xf32>, tensor<4x256xf32>, !state, tensor<?xi32>, tensor<?xi32>) -> tensor<?x128xbf16>
  dsv4.compressed_insert %b, %c2, %p, %s {ratio = 4} : (!blocks, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  %n = dsv4.rms_norm %c, %g {eps = 1.0e-6 : f64} : (tensor<?x128xbf16>, tensor<128xbf16>) -> tensor<?x128xbf16>
  dsv4.compressed_insert %b, %n, %p, %s {ratio = 4} : (!blocks, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  return
}

// There is no compressor.
// CHECK-LABEL: func.func @none
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @none(%x: tensor<?x128xbf16>) -> tensor<?x128xbf16> {
  %y = dsv4.hadamard %x : (tensor<?x128xbf16>) -> tensor<?x128xbf16>
  return %y : tensor<?x128xbf16>
}
