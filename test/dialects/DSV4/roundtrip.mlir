// What is printed parses again to the same text.
// RUN: fathom-opt %s | fathom-opt | FileCheck %s
// RUN: fathom-opt %s --verify-roundtrip -o %t

// CHECK: module attributes {dsv4.model = #dsv4.model<numerics = <bf16>, hidden = 256,
// CHECK-SAME: ratios = [0, 4], max_context = 64, max_sequences = 2, max_step_tokens = 16>}
module attributes {dsv4.model = #dsv4.model<numerics = <bf16>, hidden = 256, layers = 1, vocabulary = 97, streams = 4, heads = 8, head_dim = 128, experts = 8, experts_per_token = 2, mtp_layers = 1, bos = 0, eos = [1], ratios = [0, 4], max_context = 64, max_sequences = 2, max_step_tokens = 16>} {

// CHECK-LABEL: func.func @parameters
func.func @parameters() {
  // CHECK: dsv4.parameter "embed.weight" : tensor<97x256xbf16>
  %0 = dsv4.parameter "embed.weight" : tensor<97x256xbf16>
  // CHECK: dsv4.stacked_parameter "e.{}.w1.weight" : tensor<8x256x128xi8>
  %1 = dsv4.stacked_parameter "e.{}.w1.weight" : tensor<8x256x128xi8>
  return
}

// CHECK-LABEL: func.func @tensors
// CHECK-SAME: (%[[IDS:.*]]: tensor<?xi32>, %[[X:.*]]: tensor<?x256xbf16>,
func.func @tensors(%ids: tensor<?xi32>, %x: tensor<?x256xbf16>, %q: tensor<?x8x128xbf16>,
                   %table: tensor<97x256xbf16>, %w: tensor<256xbf16>,
                   %w8: tensor<1024x256xf8E4M3FN>, %s8: tensor<8x2xf8E8M0FNU>,
                   %w4: tensor<96x128xi8>, %s4: tensor<96x8xf8E8M0FNU>,
                   %wo: tensor<64x512xbf16>) {
  // CHECK: dsv4.embed %[[IDS]], %{{.*}} : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %0 = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  // CHECK: dsv4.select_rows %[[X]], %[[IDS]]
  %1 = dsv4.select_rows %x, %ids : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  // CHECK: dsv4.rms_norm %[[X]], %{{.*}} {eps = {{.*}} : f64}
  %2 = dsv4.rms_norm %x, %w {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  // CHECK: dsv4.head_norm
  %3 = dsv4.head_norm %q {eps = 1.0e-6 : f64} : (tensor<?x8x128xbf16>) -> tensor<?x8x128xbf16>
  // CHECK: dsv4.linear %[[X]], %{{.*}}, %{{.*}} : (tensor<?x256xbf16>, tensor<1024x256xf8E4M3FN>, tensor<8x2xf8E8M0FNU>) -> tensor<?x8x128xbf16>
  %4 = dsv4.linear %x, %w8, %s8 : (tensor<?x256xbf16>, tensor<1024x256xf8E4M3FN>, tensor<8x2xf8E8M0FNU>) -> tensor<?x8x128xbf16>
  // CHECK: dsv4.linear %[[X]], %{{.*}}, %{{.*}} : (tensor<?x256xbf16>, tensor<96x128xi8>, tensor<96x8xf8E8M0FNU>) -> tensor<?x96xf32>
  %5 = dsv4.linear %x, %w4, %s4 : (tensor<?x256xbf16>, tensor<96x128xi8>, tensor<96x8xf8E8M0FNU>) -> tensor<?x96xf32>
  // CHECK: dsv4.linear %[[X]], %{{.*}} : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  %6 = dsv4.linear %x, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  // CHECK: dsv4.grouped_linear %{{.*}}, %{{.*}} {groups = 2 : i64}
  %7 = dsv4.grouped_linear %q, %wo {groups = 2} : (tensor<?x8x128xbf16>, tensor<64x512xbf16>) -> tensor<?x64xbf16>
  // CHECK: dsv4.scale %[[X]] {factor = 1.250000e-01 : f64}
  %8 = dsv4.scale %x {factor = 0.125 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
  // CHECK: dsv4.rope_table %[[IDS]] {block = 4 : i64, rope = #dsv4.rope<width = 64, theta = 1.600000e+05 : f64, factor = 4.000000e+00 : f64, original = 65536, beta_fast = 3.200000e+01 : f64, beta_slow = 1.000000e+00 : f64>}
  %cos, %sin = dsv4.rope_table %ids {block = 4, rope = #dsv4.rope<width = 64, theta = 160000.0 : f64, factor = 4.0 : f64, original = 65536, beta_fast = 32.0 : f64, beta_slow = 1.0 : f64>} : (tensor<?xi32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
  // CHECK: dsv4.rope %{{.*}}, %{{.*}}, %{{.*}} {inverse}
  %9 = dsv4.rope %q, %cos, %sin {inverse} : (tensor<?x8x128xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x8x128xbf16>
  // CHECK: dsv4.hadamard
  %10 = dsv4.hadamard %q : (tensor<?x8x128xbf16>) -> tensor<?x8x128xbf16>
  // CHECK: dsv4.fake_quantize %[[X]] {block = 128 : i64, channels = 256 : i64, format = #dsv4.format<e4m3>}
  %11 = dsv4.fake_quantize %x {block = 128, channels = 256, format = #dsv4.format<e4m3>} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
  return
}

// CHECK-LABEL: func.func @streams
func.func @streams(%x: tensor<?x256xbf16>, %h: tensor<?x4x256xbf16>, %fn: tensor<24x1024xf32>,
                   %base: tensor<24xf32>, %scale: tensor<3xf32>, %hfn: tensor<4x1024xf32>,
                   %hbase: tensor<4xf32>, %hscale: tensor<1xf32>) {
  // CHECK: dsv4.hc_expand
  %0 = dsv4.hc_expand %x : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  // CHECK: dsv4.hc_pre {{.*}} -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
  %1:3 = dsv4.hc_pre %h, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 20} : (tensor<?x4x256xbf16>, tensor<24x1024xf32>, tensor<24xf32>, tensor<3xf32>) -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
  // CHECK: dsv4.hc_post
  %2 = dsv4.hc_post %x, %h, %1#1, %1#2 : (tensor<?x256xbf16>, tensor<?x4x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>) -> tensor<?x4x256xbf16>
  // CHECK: dsv4.hc_head
  %3 = dsv4.hc_head %h, %hfn, %hbase, %hscale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64} : (tensor<?x4x256xbf16>, tensor<4x1024xf32>, tensor<4xf32>, tensor<1xf32>) -> tensor<?x256xbf16>
  // CHECK: dsv4.add_streams
  %4 = dsv4.add_streams %x, %h : (tensor<?x256xbf16>, tensor<?x4x256xbf16>) -> tensor<?x4x256xbf16>
  return
}

// CHECK-LABEL: func.func @caches
// CHECK-SAME: !dsv4.cache<window, 144 rows of 128, rope = 64, fp8> {dsv4.cache_name = "layers.0.window"}
func.func @caches(%window: !dsv4.cache<window, 144 rows of 128, rope = 64, fp8> {dsv4.cache_name = "layers.0.window"},
                  %compressed: !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>,
                  %index: !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>,
                  %state: !dsv4.cache<state, 8 rows of 256, rope = 0, f32>,
                  %kv: tensor<?x128xbf16>, %raw: tensor<?x256xf32>, %ape: tensor<4x256xf32>,
                  %p: tensor<?xi32>, %s: tensor<?xi32>, %q: tensor<?x8x128xbf16>,
                  %qi: tensor<?x4x64xbf16>, %wi: tensor<?x4xbf16>, %sink: tensor<8xf32>) {
  // CHECK: dsv4.window_insert {{.*}} -> ()
  dsv4.window_insert %window, %kv, %p, %s : (!dsv4.cache<window, 144 rows of 128, rope = 64, fp8>, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  // CHECK: dsv4.compress_pool {{.*}} {overlap, ratio = 4 : i64}
  %0 = dsv4.compress_pool %raw, %raw, %ape, %state, %p, %s {overlap, ratio = 4} : (tensor<?x256xf32>, tensor<?x256xf32>, tensor<4x256xf32>, !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x128xbf16>
  // CHECK: dsv4.state_update
  dsv4.state_update %state, %raw, %raw, %p, %s : (!dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<?x256xf32>, tensor<?x256xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  // CHECK: dsv4.compressed_insert {{.*}} {ratio = 4 : i64}
  dsv4.compressed_insert %compressed, %0, %p, %s {ratio = 4} : (!dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  // CHECK: dsv4.index_scores {{.*}} -> tensor<?x16xf32>
  %1 = dsv4.index_scores %qi, %wi, %index, %p, %s {ratio = 4} : (tensor<?x4x64xbf16>, tensor<?x4xbf16>, !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  // CHECK: dsv4.select_topk {{.*}} {k = 5 : i64, ratio = 4 : i64}
  %2 = dsv4.select_topk %1, %p {k = 5, ratio = 4} : (tensor<?x16xf32>, tensor<?xi32>) -> tensor<?x5xi32>
  // CHECK: dsv4.attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} {{{.*}}ratio = 4 : i64
  %3 = dsv4.attention %q, %window, %compressed, %2, %sink, %p, %s {window = 128, ratio = 4, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x8x128xbf16>, !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>, !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, tensor<?x5xi32>, tensor<8xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8x128xbf16>
  return
}

// CHECK-LABEL: func.func @experts
func.func @experts(%x: tensor<?x256xbf16>, %t: tensor<?xi32>, %gw: tensor<8x256xbf16>, %bias: tensor<8xf32>,
                   %table: tensor<97x2xi64>, %w1: tensor<8x128x128xi8>, %s1: tensor<8x128x8xf8E8M0FNU>,
                   %w2: tensor<8x256x64xi8>, %s2: tensor<8x256x4xf8E8M0FNU>) {
  // CHECK: dsv4.gate
  %scores = dsv4.gate %x, %gw : (tensor<?x256xbf16>, tensor<8x256xbf16>) -> tensor<?x8xf32>
  // CHECK: dsv4.route_topk
  %ids, %weights = dsv4.route_topk %scores, %bias {factor = 1.5 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  // CHECK: dsv4.route_hash
  %0:2 = dsv4.route_hash %scores, %t, %table {factor = 1.5 : f64} : (tensor<?x8xf32>, tensor<?xi32>, tensor<97x2xi64>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  // CHECK: dsv4.experts {{.*}} {hidden_block = 128 : i64, limit = 1.000000e+01 : f64
  %routed = dsv4.experts %x, %ids, %weights, %w1, %s1, %w1, %s1, %w2, %s2 {limit = 10.0 : f64, hidden_block = 128, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x256xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x128x128xi8>, tensor<8x128x8xf8E8M0FNU>, tensor<8x128x128xi8>, tensor<8x128x8xf8E8M0FNU>, tensor<8x256x64xi8>, tensor<8x256x4xf8E8M0FNU>) -> tensor<?x256xf32>
  // CHECK: dsv4.swiglu
  %1 = dsv4.swiglu %x, %x {limit = 10.0 : f64} : (tensor<?x256xbf16>, tensor<?x256xbf16>) -> tensor<?x256xbf16>
  // CHECK: dsv4.moe_combine
  %2 = dsv4.moe_combine %routed, %1 : (tensor<?x256xf32>, tensor<?x256xbf16>) -> tensor<?x256xbf16>
  return
}

// CHECK-LABEL: func.func @fused
func.func @fused(%x: tensor<?x4xbf16>, %w: tensor<8x4xbf16>) -> tensor<?x8xbf16> {
  // CHECK: %[[Y:.*]] = dsv4.fused attention_input {
  // CHECK-NEXT: %[[Z:.*]] = dsv4.linear
  // CHECK-NEXT: dsv4.yield %[[Z]] : tensor<?x8xbf16>
  // CHECK-NEXT: } : tensor<?x8xbf16>
  %0 = dsv4.fused attention_input {
    %1 = dsv4.linear %x, %w : (tensor<?x4xbf16>, tensor<8x4xbf16>) -> tensor<?x8xbf16>
    dsv4.yield %1 : tensor<?x8xbf16>
  } : tensor<?x8xbf16>
  return %0 : tensor<?x8xbf16>
}
}
