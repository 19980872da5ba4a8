// RUN: fathom-opt %s -fathom-fuse-attention-input | FileCheck %s
// RUN: fathom-opt %s -fathom-fuse-attention-input -fathom-pass-counts -o /dev/null 2>&1 | FileCheck %s --check-prefix=COUNT
// COUNT: {{^}}fathom-fuse-attention-input: groups 2, left 5, operations 13{{$}}

!window = !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>

// Attention's queries and the indexer's share the quantised norm; the row of
// the window is a group of its own.
// CHECK-LABEL: func.func @both
// CHECK: %[[RANK:.*]] = dsv4.linear
// CHECK: %[[KV:.*]] = dsv4.linear
// CHECK: dsv4.fused attention_input
// CHECK-NEXT: dsv4.rms_norm %[[KV]]
// CHECK-NEXT: dsv4.rope
// CHECK-NEXT: dsv4.fake_quantize
// CHECK-NEXT: dsv4.window_insert
// CHECK-NEXT: dsv4.yield
// CHECK-NEXT: }
// CHECK: %[[Q:.*]]:2 = dsv4.fused attention_input
// CHECK-NEXT: %[[N:.*]] = dsv4.rms_norm %[[RANK]]
// CHECK-NEXT: %[[X:.*]] = dsv4.fake_quantize %[[N]]
// CHECK-NEXT: dsv4.linear %[[X]]
// CHECK-NEXT: dsv4.head_norm
// CHECK-NEXT: %[[MAIN:.*]] = dsv4.rope
// CHECK-NEXT: dsv4.linear %[[X]]
// CHECK-NEXT: dsv4.rope
// CHECK-NEXT: dsv4.hadamard
// CHECK-NEXT: %[[INDEX:.*]] = dsv4.fake_quantize
// CHECK-NEXT: dsv4.yield %[[MAIN]], %[[INDEX]]
// CHECK: return %[[Q]]#0, %[[Q]]#1
func.func @both(%x: tensor<?x256xbf16>, %cos: tensor<?x32xf32>, %sin: tensor<?x32xf32>, %w: !window,
                %p: tensor<?xi32>, %s: tensor<?xi32>, %wa: tensor<64x256xbf16>, %wkv: tensor<128x256xbf16>,
                %wb: tensor<1024x64xbf16>, %ib: tensor<512x64xbf16>, %g: tensor<64xbf16>, %gkv: tensor<128xbf16>)
    -> (tensor<?x8x128xbf16>, tensor<?x4x128xbf16>) {
  %rank = dsv4.linear %x, %wa : (tensor<?x256xbf16>, tensor<64x256xbf16>) -> tensor<?x64xbf16>
  %kv = dsv4.linear %x, %wkv : (tensor<?x256xbf16>, tensor<128x256xbf16>) -> tensor<?x128xbf16>
  %n = dsv4.rms_norm %rank, %g {eps = 1.0e-6 : f64} : (tensor<?x64xbf16>, tensor<64xbf16>) -> tensor<?x64xbf16>
  %nq = dsv4.fake_quantize %n {format = #dsv4.format<e4m3>, block = 64, channels = 64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
  %q0 = dsv4.linear %nq, %wb : (tensor<?x64xbf16>, tensor<1024x64xbf16>) -> tensor<?x8x128xbf16>
  %q1 = dsv4.head_norm %q0 {eps = 1.0e-6 : f64} : (tensor<?x8x128xbf16>) -> tensor<?x8x128xbf16>
  %q = dsv4.rope %q1, %cos, %sin : (tensor<?x8x128xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x8x128xbf16>
  %k0 = dsv4.rms_norm %kv, %gkv {eps = 1.0e-6 : f64} : (tensor<?x128xbf16>, tensor<128xbf16>) -> tensor<?x128xbf16>
  %k1 = dsv4.rope %k0, %cos, %sin : (tensor<?x128xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x128xbf16>
  %k2 = dsv4.fake_quantize %k1 {format = #dsv4.format<e4m3>, block = 64, channels = 64} : (tensor<?x128xbf16>) -> tensor<?x128xbf16>
  dsv4.window_insert %w, %k2, %p, %s : (!window, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  %i0 = dsv4.linear %nq, %ib : (tensor<?x64xbf16>, tensor<512x64xbf16>) -> tensor<?x4x128xbf16>
  %i1 = dsv4.rope %i0, %cos, %sin : (tensor<?x4x128xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x4x128xbf16>
  %i2 = dsv4.hadamard %i1 : (tensor<?x4x128xbf16>) -> tensor<?x4x128xbf16>
  %i = dsv4.fake_quantize %i2 {format = #dsv4.format<e2m1>, block = 32, channels = 128} : (tensor<?x4x128xbf16>) -> tensor<?x4x128xbf16>
  return %q, %i : tensor<?x8x128xbf16>, tensor<?x4x128xbf16>
}

// The normed rank is wanted by something else, or what is projected is no
// heads, or nothing follows: left as it is.
// CHECK-LABEL: func.func @others
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @others(%x: tensor<?x64xbf16>, %g: tensor<64xbf16>, %wb: tensor<1024x64xbf16>)
    -> (tensor<?x64xbf16>, tensor<?x8x128xbf16>, tensor<?x1024xbf16>, tensor<?x8x128xbf16>) {
  %n0 = dsv4.rms_norm %x, %g {eps = 1.0e-6 : f64} : (tensor<?x64xbf16>, tensor<64xbf16>) -> tensor<?x64xbf16>
  %a0 = dsv4.linear %n0, %wb : (tensor<?x64xbf16>, tensor<1024x64xbf16>) -> tensor<?x8x128xbf16>
  %a = dsv4.head_norm %a0 {eps = 1.0e-6 : f64} : (tensor<?x8x128xbf16>) -> tensor<?x8x128xbf16>
  %n1 = dsv4.rms_norm %x, %g {eps = 1.0e-6 : f64} : (tensor<?x64xbf16>, tensor<64xbf16>) -> tensor<?x64xbf16>
  %b = dsv4.linear %n1, %wb : (tensor<?x64xbf16>, tensor<1024x64xbf16>) -> tensor<?x1024xbf16>
  %n2 = dsv4.rms_norm %x, %g {eps = 1.0e-6 : f64} : (tensor<?x64xbf16>, tensor<64xbf16>) -> tensor<?x64xbf16>
  %c = dsv4.linear %n2, %wb : (tensor<?x64xbf16>, tensor<1024x64xbf16>) -> tensor<?x8x128xbf16>
  return %n0, %a, %b, %c : tensor<?x64xbf16>, tensor<?x8x128xbf16>, tensor<?x1024xbf16>, tensor<?x8x128xbf16>
}

// The row of the window is wanted by something else, too.
// CHECK-LABEL: func.func @row_escapes
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @row_escapes(%kv: tensor<?x128xbf16>, %g: tensor<128xbf16>, %w: !window, %p: tensor<?xi32>, %s: tensor<?xi32>)
    -> tensor<?x128xbf16> {
  %k = dsv4.rms_norm %kv, %g {eps = 1.0e-6 : f64} : (tensor<?x128xbf16>, tensor<128xbf16>) -> tensor<?x128xbf16>
  dsv4.window_insert %w, %k, %p, %s : (!window, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  return %k : tensor<?x128xbf16>
}

// There is no attention.
// CHECK-LABEL: func.func @none
// CHECK-NEXT: %[[Y:.*]] = dsv4.hadamard
// CHECK-NEXT: return %[[Y]]
func.func @none(%x: tensor<?x128xbf16>) -> tensor<?x128xbf16> {
  %y = dsv4.hadamard %x : (tensor<?x128xbf16>) -> tensor<?x128xbf16>
  return %y : tensor<?x128xbf16>
}
