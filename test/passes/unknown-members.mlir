// Groups that hold or yield what their kernels do not know are lowered member by
// member: every member is computed, and every result is written.
// RUN: fathom-opt %s -split-input-file -fathom-dsv4-to-tile=buckets=1 | FileCheck %s

// What the kernels know.
// CHECK-LABEL: func.func @step__t1(
// CHECK: tile.launch @hc_update_mix
// CHECK: tile.launch @hc_finish_
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>)
    -> (tensor<?x97xf32>, tensor<?x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %fn = dsv4.parameter "fn" : tensor<24x1024xf32>
  %base = dsv4.parameter "base" : tensor<24xf32>
  %scale = dsv4.parameter "scale" : tensor<3xf32>
  %gain = dsv4.parameter "gain" : tensor<256xbf16>
  %y = dsv4.fused hyper_connection {
    %x, %post, %comb = dsv4.hc_pre %h, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 20} : (tensor<?x4x256xbf16>, tensor<24x1024xf32>, tensor<24xf32>, tensor<3xf32>) -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
    %n = dsv4.rms_norm %x, %gain {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
    dsv4.yield %n : tensor<?x256xbf16>
  } : tensor<?x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x256xbf16>
}

// -----

// A member more.
// CHECK-LABEL: func.func @step__t1(
// CHECK-NOT: @hc_finish_
// CHECK: tile.launch @rms_norm_
// CHECK: tile.launch @scale_
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>)
    -> (tensor<?x97xf32>, tensor<?x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %fn = dsv4.parameter "fn" : tensor<24x1024xf32>
  %base = dsv4.parameter "base" : tensor<24xf32>
  %scale = dsv4.parameter "scale" : tensor<3xf32>
  %gain = dsv4.parameter "gain" : tensor<256xbf16>
  %y = dsv4.fused hyper_connection {
    %x, %post, %comb = dsv4.hc_pre %h, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 20} : (tensor<?x4x256xbf16>, tensor<24x1024xf32>, tensor<24xf32>, tensor<3xf32>) -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
    %n = dsv4.rms_norm %x, %gain {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
    %m = dsv4.scale %n {factor = 2.0 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
    dsv4.yield %m : tensor<?x256xbf16>
  } : tensor<?x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x256xbf16>
}

// -----

// The mix by itself.
// CHECK-LABEL: func.func @step__t1(
// CHECK-NOT: @hc_finish_
// CHECK: tile.launch @rms_norm_
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>)
    -> (tensor<?x97xf32>, tensor<?x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %fn = dsv4.parameter "fn" : tensor<24x1024xf32>
  %base = dsv4.parameter "base" : tensor<24xf32>
  %scale = dsv4.parameter "scale" : tensor<3xf32>
  %gain = dsv4.parameter "gain" : tensor<256xbf16>
  %y = dsv4.fused hyper_connection {
    %x, %post, %comb = dsv4.hc_pre %h, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 20} : (tensor<?x4x256xbf16>, tensor<24x1024xf32>, tensor<24xf32>, tensor<3xf32>) -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
    %n = dsv4.rms_norm %x, %gain {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
    dsv4.yield %x : tensor<?x256xbf16>
  } : tensor<?x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x256xbf16>
}

// -----

// Streams begin as something else than what is mixed.
// CHECK-LABEL: func.func @step__t1(
// CHECK-NOT: @hc_finish_
// CHECK: tile.launch @hc_expand
// CHECK: tile.launch @rms_norm_
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>)
    -> (tensor<?x97xf32>, tensor<?x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %fn = dsv4.parameter "fn" : tensor<24x1024xf32>
  %base = dsv4.parameter "base" : tensor<24xf32>
  %scale = dsv4.parameter "scale" : tensor<3xf32>
  %gain = dsv4.parameter "gain" : tensor<256xbf16>
  %y = dsv4.fused hyper_connection {
    %h2 = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
    %x, %post, %comb = dsv4.hc_pre %h, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 20} : (tensor<?x4x256xbf16>, tensor<24x1024xf32>, tensor<24xf32>, tensor<3xf32>) -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
    %n = dsv4.rms_norm %x, %gain {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
    dsv4.yield %n : tensor<?x256xbf16>
  } : tensor<?x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x256xbf16>
}

// -----

// CHECK-LABEL: func.func @step__t1(
// CHECK: tile.launch @moe_up_
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>)
    -> (tensor<?x97xf32>, tensor<?x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %bias = dsv4.parameter "bias" : tensor<8xf32>
  %wg = dsv4.parameter "wg" : tensor<8x256xbf16>
  %all = dsv4.gate %e, %wg : (tensor<?x256xbf16>, tensor<8x256xbf16>) -> tensor<?x8xf32>
  %w1 = dsv4.stacked_parameter "e.{}.w1" : tensor<8x128x256xbf16>
  %w3 = dsv4.stacked_parameter "e.{}.w3" : tensor<8x128x256xbf16>
  %w2 = dsv4.stacked_parameter "e.{}.w2" : tensor<8x256x128xbf16>
  %v1 = dsv4.parameter "v1" : tensor<128x256xbf16>
  %v3 = dsv4.parameter "v3" : tensor<128x256xbf16>
  %v2 = dsv4.parameter "v2" : tensor<256x128xbf16>
  %y = dsv4.fused experts {
    %chosen, %weights = dsv4.route_topk %all, %bias {factor = 1.5 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
    %routed = dsv4.experts %e, %chosen, %weights, %w1, %w3, %w2 {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x256xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x128x256xbf16>, tensor<8x128x256xbf16>, tensor<8x256x128xbf16>) -> tensor<?x256xf32>
    %g = dsv4.linear %e, %v1 : (tensor<?x256xbf16>, tensor<128x256xbf16>) -> tensor<?x128xbf16>
    %u = dsv4.linear %e, %v3 : (tensor<?x256xbf16>, tensor<128x256xbf16>) -> tensor<?x128xbf16>
    %a = dsv4.swiglu %g, %u {limit = 10.0 : f64} : (tensor<?x128xbf16>, tensor<?x128xbf16>) -> tensor<?x128xbf16>
    %shared = dsv4.linear %a, %v2 : (tensor<?x128xbf16>, tensor<256x128xbf16>) -> tensor<?x256xbf16>
    %n = dsv4.moe_combine %routed, %shared : (tensor<?x256xf32>, tensor<?x256xbf16>) -> tensor<?x256xbf16>
    dsv4.yield %n : tensor<?x256xbf16>
  } : tensor<?x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x256xbf16>
}

// -----

// A member more.
// CHECK-LABEL: func.func @step__t1(
// CHECK-NOT: @moe_up_
// CHECK: tile.launch @scale_
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>)
    -> (tensor<?x97xf32>, tensor<?x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %bias = dsv4.parameter "bias" : tensor<8xf32>
  %wg = dsv4.parameter "wg" : tensor<8x256xbf16>
  %all = dsv4.gate %e, %wg : (tensor<?x256xbf16>, tensor<8x256xbf16>) -> tensor<?x8xf32>
  %w1 = dsv4.stacked_parameter "e.{}.w1" : tensor<8x128x256xbf16>
  %w3 = dsv4.stacked_parameter "e.{}.w3" : tensor<8x128x256xbf16>
  %w2 = dsv4.stacked_parameter "e.{}.w2" : tensor<8x256x128xbf16>
  %v1 = dsv4.parameter "v1" : tensor<128x256xbf16>
  %v3 = dsv4.parameter "v3" : tensor<128x256xbf16>
  %v2 = dsv4.parameter "v2" : tensor<256x128xbf16>
  %y = dsv4.fused experts {
    %chosen, %weights = dsv4.route_topk %all, %bias {factor = 1.5 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
    %routed = dsv4.experts %e, %chosen, %weights, %w1, %w3, %w2 {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x256xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x128x256xbf16>, tensor<8x128x256xbf16>, tensor<8x256x128xbf16>) -> tensor<?x256xf32>
    %g = dsv4.linear %e, %v1 : (tensor<?x256xbf16>, tensor<128x256xbf16>) -> tensor<?x128xbf16>
    %u = dsv4.linear %e, %v3 : (tensor<?x256xbf16>, tensor<128x256xbf16>) -> tensor<?x128xbf16>
    %a = dsv4.swiglu %g, %u {limit = 10.0 : f64} : (tensor<?x128xbf16>, tensor<?x128xbf16>) -> tensor<?x128xbf16>
    %shared = dsv4.linear %a, %v2 : (tensor<?x128xbf16>, tensor<256x128xbf16>) -> tensor<?x256xbf16>
    %n = dsv4.moe_combine %routed, %shared : (tensor<?x256xf32>, tensor<?x256xbf16>) -> tensor<?x256xbf16>
    %m = dsv4.scale %n {factor = 2.0 : f64} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
    dsv4.yield %m : tensor<?x256xbf16>
  } : tensor<?x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x256xbf16>
}

// -----

// The weights of the choice are wanted, which the kernels of one token do not write.
// CHECK-LABEL: func.func @step__t1(
// CHECK-NOT: @moe_up_
// CHECK: tile.launch @route_topk_
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>)
    -> (tensor<?x97xf32>, tensor<?x2xf32>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %bias = dsv4.parameter "bias" : tensor<8xf32>
  %wg = dsv4.parameter "wg" : tensor<8x256xbf16>
  %all = dsv4.gate %e, %wg : (tensor<?x256xbf16>, tensor<8x256xbf16>) -> tensor<?x8xf32>
  %w1 = dsv4.stacked_parameter "e.{}.w1" : tensor<8x128x256xbf16>
  %w3 = dsv4.stacked_parameter "e.{}.w3" : tensor<8x128x256xbf16>
  %w2 = dsv4.stacked_parameter "e.{}.w2" : tensor<8x256x128xbf16>
  %v1 = dsv4.parameter "v1" : tensor<128x256xbf16>
  %v3 = dsv4.parameter "v3" : tensor<128x256xbf16>
  %v2 = dsv4.parameter "v2" : tensor<256x128xbf16>
  %y = dsv4.fused experts {
    %chosen, %weights = dsv4.route_topk %all, %bias {factor = 1.5 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
    %routed = dsv4.experts %e, %chosen, %weights, %w1, %w3, %w2 {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x256xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x128x256xbf16>, tensor<8x128x256xbf16>, tensor<8x256x128xbf16>) -> tensor<?x256xf32>
    %g = dsv4.linear %e, %v1 : (tensor<?x256xbf16>, tensor<128x256xbf16>) -> tensor<?x128xbf16>
    %u = dsv4.linear %e, %v3 : (tensor<?x256xbf16>, tensor<128x256xbf16>) -> tensor<?x128xbf16>
    %a = dsv4.swiglu %g, %u {limit = 10.0 : f64} : (tensor<?x128xbf16>, tensor<?x128xbf16>) -> tensor<?x128xbf16>
    %shared = dsv4.linear %a, %v2 : (tensor<?x128xbf16>, tensor<256x128xbf16>) -> tensor<?x256xbf16>
    %n = dsv4.moe_combine %routed, %shared : (tensor<?x256xf32>, tensor<?x256xbf16>) -> tensor<?x256xbf16>
    dsv4.yield %weights : tensor<?x2xf32>
  } : tensor<?x2xf32>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x2xf32>
}

// -----

// The normed rank is wanted, too.
// CHECK-LABEL: func.func @step__t1(
// CHECK-NOT: @queries_
// CHECK: tile.launch @rms_norm_
// CHECK: tile.launch @head_norm_
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>)
    -> (tensor<?x97xf32>, tensor<?x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %wa = dsv4.parameter "wa" : tensor<256xbf16>
  %wb = dsv4.parameter "wb" : tensor<1024x256xbf16>
  %y = dsv4.fused attention_input {
    %n = dsv4.rms_norm %e, %wa {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
    %q = dsv4.linear %n, %wb : (tensor<?x256xbf16>, tensor<1024x256xbf16>) -> tensor<?x8x128xbf16>
    %m = dsv4.head_norm %q {eps = 1.0e-6 : f64} : (tensor<?x8x128xbf16>) -> tensor<?x8x128xbf16>
    dsv4.yield %n : tensor<?x256xbf16>
  } : tensor<?x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x256xbf16>
}

// -----

// No steps: the row as it is.
// CHECK-LABEL: func.func @step__t1(
// CHECK: tile.launch @window_row_
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>, %w: !dsv4.cache<window, 144 rows of 128, rope = 64, fp8> {dsv4.cache_name = "w"})
    -> (tensor<?x97xf32>, tensor<?x4x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %wk = dsv4.parameter "wk" : tensor<128x256xbf16>
  %kv = dsv4.linear %e, %wk : (tensor<?x256xbf16>, tensor<128x256xbf16>) -> tensor<?x128xbf16>
  dsv4.fused attention_input {
    dsv4.window_insert %w, %kv, %p, %s : (!dsv4.cache<window, 144 rows of 128, rope = 64, fp8>, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
    dsv4.yield
  }
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %h : tensor<?x97xf32>, tensor<?x4x256xbf16>
}

// -----

// The row that is stored is not the normed one, which is wanted by itself.
// CHECK-LABEL: func.func @step__t1(
// CHECK-NOT: @window_row_
// CHECK: tile.launch @rms_norm_
// CHECK: tile.launch @window_insert
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>, %w: !dsv4.cache<window, 144 rows of 128, rope = 64, fp8> {dsv4.cache_name = "w"})
    -> (tensor<?x97xf32>, tensor<?x128xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %wk = dsv4.parameter "wk" : tensor<128x256xbf16>
  %gk = dsv4.parameter "gk" : tensor<128xbf16>
  %kv = dsv4.linear %e, %wk : (tensor<?x256xbf16>, tensor<128x256xbf16>) -> tensor<?x128xbf16>
  %y = dsv4.fused attention_input {
    %n = dsv4.rms_norm %kv, %gk {eps = 1.0e-6 : f64} : (tensor<?x128xbf16>, tensor<128xbf16>) -> tensor<?x128xbf16>
    dsv4.window_insert %w, %kv, %p, %s : (!dsv4.cache<window, 144 rows of 128, rope = 64, fp8>, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
    dsv4.yield %n : tensor<?x128xbf16>
  } : tensor<?x128xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x128xbf16>
}

// -----

// The final mix is wanted, too.
// CHECK-LABEL: func.func @step__t1(
// CHECK: tile.launch @hc_head
// CHECK: tile.launch @rms_norm_
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>)
    -> (tensor<?x97xf32>, tensor<?x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %hf = dsv4.parameter "hf" : tensor<4x1024xf32>
  %hb = dsv4.parameter "hb" : tensor<4xf32>
  %hs = dsv4.parameter "hs" : tensor<1xf32>
  %gh = dsv4.parameter "gh" : tensor<256xbf16>
  %y = dsv4.fused head {
    %a = dsv4.select_rows %h, %rows : (tensor<?x4x256xbf16>, tensor<?xi32>) -> tensor<?x4x256xbf16>
    %x = dsv4.hc_head %a, %hf, %hb, %hs {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64} : (tensor<?x4x256xbf16>, tensor<4x1024xf32>, tensor<4xf32>, tensor<1xf32>) -> tensor<?x256xbf16>
    %n = dsv4.rms_norm %x, %gh {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
    %m = dsv4.linear %n, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
    dsv4.yield %x : tensor<?x256xbf16>
  } : tensor<?x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x256xbf16>
}

// -----

// The pooled row is wanted, too.
// CHECK-LABEL: func.func @step__t1(
// CHECK-NOT: @compressor_
// CHECK: tile.launch @compress_pool
// CHECK: tile.launch @compressed_insert
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>,
    %st: !dsv4.cache<state, 8 rows of 256, rope = 0, f32> {dsv4.cache_name = "st"}, %b: !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8> {dsv4.cache_name = "b"})
    -> (tensor<?x97xf32>, tensor<?x128xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %wk = dsv4.parameter "wk" : tensor<256x256xbf16>
  %ape = dsv4.parameter "ape" : tensor<4x256xf32>
  %kv = dsv4.linear %e, %wk : (tensor<?x256xbf16>, tensor<256x256xbf16>) -> tensor<?x256xf32>
  %y = dsv4.fused compressed_attention {
    %c = dsv4.compress_pool %kv, %kv, %ape, %st, %p, %s {ratio = 4, overlap} : (tensor<?x256xf32>, tensor<?x256xf32>, tensor<4x256xf32>, !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x128xbf16>
    dsv4.compressed_insert %b, %c, %p, %s {ratio = 4} : (!dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
    dsv4.yield %c : tensor<?x128xbf16>
  } : tensor<?x128xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %y : tensor<?x97xf32>, tensor<?x128xbf16>
}
