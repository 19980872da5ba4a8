// One function per constraint of Spec.md, named by it.
// RUN: fathom-opt %s -split-input-file -verify-diagnostics

// -----

func.func @parameter_c1() {
  // expected-error @+1 {{attribute 'name' must not be empty}}
  %0 = dsv4.parameter "" : tensor<4xf32>
  return
}

// -----

func.func @parameter_c2() {
  // expected-error @+1 {{result must have an element type that checkpoints store (f32, bf16, f8E4M3FN, f8E8M0FNU, i8, i32, i64), found 'f64'}}
  %0 = dsv4.parameter "a" : tensor<4xf64>
  return
}

// -----

func.func @stacked_parameter_c1() {
  // expected-error @+1 {{attribute 'name' must have one '{}', found "a.w"}}
  %0 = dsv4.stacked_parameter "a.w" : tensor<4x4xf32>
  return
}

// -----

func.func @stacked_parameter_c2() {
  // expected-error @+1 {{result 'result' must have rank at least 2, found 'tensor<4xf32>'}}
  %0 = dsv4.stacked_parameter "a.{}" : tensor<4xf32>
  return
}

// -----

func.func @stacked_parameter_c3() {
  // expected-error @+1 {{result must have an element type that checkpoints store (f32, bf16, f8E4M3FN, f8E8M0FNU, i8, i32, i64), found 'i16'}}
  %0 = dsv4.stacked_parameter "a.{}" : tensor<4x4xi16>
  return
}

// -----

func.func @embed_c1(%a: tensor<?xi32>, %b: tensor<8x4x4xbf16>) {
  // expected-error @+1 {{operand 'table' must have rank 2, found 'tensor<8x4x4xbf16>'}}
  %0 = dsv4.embed %a, %b : (tensor<?xi32>, tensor<8x4x4xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @embed_c2(%a: tensor<?xi32>, %b: tensor<8x4xbf16>) {
  // expected-error @+1 {{result 'result' must be ?x4 (T x D), found ?x8}}
  %0 = dsv4.embed %a, %b : (tensor<?xi32>, tensor<8x4xbf16>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @select_rows_c1(%a: tensor<bf16>, %b: tensor<?xi32>) {
  // expected-error @+1 {{operand 'x' must have rank at least 1, found 'tensor<bf16>'}}
  %0 = dsv4.select_rows %a, %b : (tensor<bf16>, tensor<?xi32>) -> tensor<?xbf16>
  return
}

// -----

func.func @select_rows_c2(%a: tensor<?x4xbf16>, %b: tensor<?xi32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<?x4xbf16>' are incompatible with return type(s) of operation 'tensor<?x8xbf16>'}}
  %0 = dsv4.select_rows %a, %b : (tensor<?x4xbf16>, tensor<?xi32>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @rms_norm_c1(%a: tensor<bf16>, %b: tensor<4xbf16>) {
  // expected-error @+1 {{operand 'x' must have rank at least 1, found 'tensor<bf16>'}}
  %0 = dsv4.rms_norm %a, %b {eps = 1.0e-6 : f64} : (tensor<bf16>, tensor<4xbf16>) -> tensor<bf16>
  return
}

// -----

func.func @rms_norm_c2(%a: tensor<?x4xbf16>, %b: tensor<8xbf16>) {
  // expected-error @+1 {{operand 'weight' must be 4 (D), found 8}}
  %0 = dsv4.rms_norm %a, %b {eps = 1.0e-6 : f64} : (tensor<?x4xbf16>, tensor<8xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @rms_norm_c3(%a: tensor<?x4xbf16>, %b: tensor<4xbf16>) {
  // expected-error @+1 {{result 'result' must be ?x4 (as 'x'), found ?x8}}
  %0 = dsv4.rms_norm %a, %b {eps = 1.0e-6 : f64} : (tensor<?x4xbf16>, tensor<4xbf16>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @rms_norm_c4(%a: tensor<?x4xbf16>, %b: tensor<4xbf16>) {
  // expected-error @+1 {{attribute 'eps' must be a positive finite number, found 0}}
  %0 = dsv4.rms_norm %a, %b {eps = 0.0 : f64} : (tensor<?x4xbf16>, tensor<4xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @head_norm_c1(%a: tensor<?x4xbf16>) {
  // expected-error @+1 {{operand 'x' must have rank 3, found 'tensor<?x4xbf16>'}}
  %0 = dsv4.head_norm %a {eps = 1.0e-6 : f64} : (tensor<?x4xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @head_norm_c2(%a: tensor<?x2x4xbf16>) {
  // expected-error @+1 {{attribute 'eps' must be a positive finite number, found -1}}
  %0 = dsv4.head_norm %a {eps = -1.0 : f64} : (tensor<?x2x4xbf16>) -> tensor<?x2x4xbf16>
  return
}

// -----

func.func @linear_c1(%a: tensor<4xbf16>, %b: tensor<8x4xbf16>) {
  // expected-error @+1 {{operand 'x' must have rank at least 2, found 'tensor<4xbf16>'}}
  %0 = dsv4.linear %a, %b : (tensor<4xbf16>, tensor<8x4xbf16>) -> tensor<8xbf16>
  return
}

// -----

func.func @linear_c2_rank(%a: tensor<?x4xbf16>, %b: tensor<2x8x4xbf16>) {
  // expected-error @+1 {{operand 'weight' must have rank 2, found 'tensor<2x8x4xbf16>'}}
  %0 = dsv4.linear %a, %b : (tensor<?x4xbf16>, tensor<2x8x4xbf16>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @linear_c2(%a: tensor<?x4xbf16>, %b: tensor<8x16xbf16>) {
  // expected-error @+1 {{operand 'weight' must be 8x4 (N x K), found 8x16}}
  %0 = dsv4.linear %a, %b : (tensor<?x4xbf16>, tensor<8x16xbf16>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @linear_c2_packed(%a: tensor<?x64xbf16>, %b: tensor<8x64xi8>, %c: tensor<8x4xf8E8M0FNU>) {
  // expected-error @+1 {{operand 'weight' must be 8x32 (N x K/2, two elements a byte), found 8x64}}
  %0 = dsv4.linear %a, %b, %c : (tensor<?x64xbf16>, tensor<8x64xi8>, tensor<8x4xf8E8M0FNU>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @linear_c3(%a: tensor<?x40xbf16>, %b: tensor<8x20xi8>, %c: tensor<8x1xf8E8M0FNU>) {
  // expected-error @+1 {{operand 'weight' must have a multiple of 32 elements a row, found 40}}
  %0 = dsv4.linear %a, %b, %c : (tensor<?x40xbf16>, tensor<8x20xi8>, tensor<8x1xf8E8M0FNU>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @linear_c4_absent(%a: tensor<?x256xbf16>, %b: tensor<130x256xf8E4M3FN>) {
  // expected-error @+1 {{operand 'scale' must be present for a weight of 'f8E4M3FN'}}
  %0 = dsv4.linear %a, %b : (tensor<?x256xbf16>, tensor<130x256xf8E4M3FN>) -> tensor<?x130xbf16>
  return
}

// -----

func.func @linear_c4_surplus(%a: tensor<?x4xbf16>, %b: tensor<8x4xbf16>, %c: tensor<1x1xf8E8M0FNU>) {
  // expected-error @+1 {{operand 'scale' must be absent for a weight of 'bf16'}}
  %0 = dsv4.linear %a, %b, %c : (tensor<?x4xbf16>, tensor<8x4xbf16>, tensor<1x1xf8E8M0FNU>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @linear_c4_fp8(%a: tensor<?x200xbf16>, %b: tensor<130x200xf8E4M3FN>, %c: tensor<1x2xf8E8M0FNU>) {
  // expected-error @+1 {{operand 'scale' must be 2x2 (ceil(N/128) x ceil(K/128)), found 1x2}}
  %0 = dsv4.linear %a, %b, %c : (tensor<?x200xbf16>, tensor<130x200xf8E4M3FN>, tensor<1x2xf8E8M0FNU>) -> tensor<?x130xbf16>
  return
}

// -----

func.func @linear_c4_fp4(%a: tensor<?x64xbf16>, %b: tensor<8x32xi8>, %c: tensor<8x1xf8E8M0FNU>) {
  // expected-error @+1 {{operand 'scale' must be 8x2 (N x K/32), found 8x1}}
  %0 = dsv4.linear %a, %b, %c : (tensor<?x64xbf16>, tensor<8x32xi8>, tensor<8x1xf8E8M0FNU>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @linear_c5(%a: tensor<?x4xbf16>, %b: tensor<8x4xbf16>) {
  // expected-error @+1 {{result 'result' must be ? followed by dimensions that multiply to 8 (N), found ?x2x3}}
  %0 = dsv4.linear %a, %b : (tensor<?x4xbf16>, tensor<8x4xbf16>) -> tensor<?x2x3xbf16>
  return
}

// -----

func.func @linear_c5_rank(%a: tensor<?x2x4xbf16>, %b: tensor<8x4xbf16>) {
  // expected-error @+1 {{result 'result' must be ?x2 followed by dimensions that multiply to 8 (N), found ?x2}}
  %0 = dsv4.linear %a, %b : (tensor<?x2x4xbf16>, tensor<8x4xbf16>) -> tensor<?x2xbf16>
  return
}

// -----

func.func @grouped_linear_c1(%a: tensor<?x16xbf16>, %b: tensor<4x8xbf16>) {
  // expected-error @+1 {{operand 'x' must have rank 3, found 'tensor<?x16xbf16>'}}
  %0 = dsv4.grouped_linear %a, %b {groups = 2} : (tensor<?x16xbf16>, tensor<4x8xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @grouped_linear_c2(%a: tensor<?x4x4xbf16>, %b: tensor<4x8xbf16>) {
  // expected-error @+1 {{attribute 'groups' must divide the number of heads (4), found 3}}
  %0 = dsv4.grouped_linear %a, %b {groups = 3} : (tensor<?x4x4xbf16>, tensor<4x8xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @grouped_linear_c2_zero(%a: tensor<?x4x4xbf16>, %b: tensor<4x8xbf16>) {
  // expected-error @+1 {{attribute 'groups' must be at least 1, found 0}}
  %0 = dsv4.grouped_linear %a, %b {groups = 0} : (tensor<?x4x4xbf16>, tensor<4x8xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @grouped_linear_c3(%a: tensor<?x4x4xbf16>, %b: tensor<4x16xbf16>) {
  // expected-error @+1 {{operand 'weight' must be 4x8 (N x K), found 4x16}}
  %0 = dsv4.grouped_linear %a, %b {groups = 2} : (tensor<?x4x4xbf16>, tensor<4x16xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @grouped_linear_c3_rows(%a: tensor<?x4x4xbf16>, %b: tensor<5x8xbf16>) {
  // expected-error @+1 {{operand 'weight' must have a multiple of 'groups' (2) rows, found 5}}
  %0 = dsv4.grouped_linear %a, %b {groups = 2} : (tensor<?x4x4xbf16>, tensor<5x8xbf16>) -> tensor<?x5xbf16>
  return
}

// -----

func.func @grouped_linear_c4(%a: tensor<?x4x64xbf16>, %b: tensor<4x128xf8E4M3FN>) {
  // expected-error @+1 {{operand 'scale' must be present for a weight of 'f8E4M3FN'}}
  %0 = dsv4.grouped_linear %a, %b {groups = 2} : (tensor<?x4x64xbf16>, tensor<4x128xf8E4M3FN>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @grouped_linear_c5(%a: tensor<?x4x4xbf16>, %b: tensor<4x8xbf16>) {
  // expected-error @+1 {{result 'result' must be ?x4 (T x groups*Lo), found ?x8}}
  %0 = dsv4.grouped_linear %a, %b {groups = 2} : (tensor<?x4x4xbf16>, tensor<4x8xbf16>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @scale_c1(%a: tensor<?x4xbf16>) {
  // expected-error @+1 {{attribute 'factor' must be a finite number, found +Inf}}
  %0 = dsv4.scale %a {factor = 0x7FF0000000000000 : f64} : (tensor<?x4xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @rope_table_c1(%a: tensor<?xi32>) {
  // expected-error @+1 {{attribute 'block' must be at least 1, found 0}}
  %0:2 = dsv4.rope_table %a {rope = #dsv4.rope<width = 64, theta = 10000.0 : f64, factor = 0.0 : f64, original = 0, beta_fast = 0.0 : f64, beta_slow = 0.0 : f64>, block = 0} : (tensor<?xi32>) -> (tensor<?x32xf32>, tensor<?x32xf32>)
  return
}

// -----

func.func @rope_table_c2(%a: tensor<?xi32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<?x32xf32>', 'tensor<?x32xf32>' are incompatible with return type(s) of operation 'tensor<?x64xf32>', 'tensor<?x64xf32>'}}
  %0:2 = dsv4.rope_table %a {rope = #dsv4.rope<width = 64, theta = 10000.0 : f64, factor = 0.0 : f64, original = 0, beta_fast = 0.0 : f64, beta_slow = 0.0 : f64>, block = 1} : (tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x64xf32>)
  return
}

// -----

func.func @rope_c1(%a: tensor<?x2x2x64xbf16>, %b: tensor<?x32xf32>, %c: tensor<?x32xf32>) {
  // expected-error @+1 {{operand 'x' must have rank 2 to 3, found 'tensor<?x2x2x64xbf16>'}}
  %0 = dsv4.rope %a, %b, %c : (tensor<?x2x2x64xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x2x2x64xbf16>
  return
}

// -----

func.func @rope_c2(%a: tensor<?x64xbf16>, %b: tensor<?x32xf32>, %c: tensor<?x16xf32>) {
  // expected-error @+1 {{operand 'sin' must be ?x32 (T x rd/2, as 'cos'), found ?x16}}
  %0 = dsv4.rope %a, %b, %c : (tensor<?x64xbf16>, tensor<?x32xf32>, tensor<?x16xf32>) -> tensor<?x64xbf16>
  return
}

// -----

func.func @rope_c3(%a: tensor<?x32xbf16>, %b: tensor<?x32xf32>, %c: tensor<?x32xf32>) {
  // expected-error @+1 {{operand 'x' must have at least 64 channels (rd), found 32}}
  %0 = dsv4.rope %a, %b, %c : (tensor<?x32xbf16>, tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xbf16>
  return
}

// -----

func.func @hadamard_c1(%a: tensor<?x48xbf16>) {
  // expected-error @+1 {{operand 'x' must have a power of two as its last dimension, found 48}}
  %0 = dsv4.hadamard %a : (tensor<?x48xbf16>) -> tensor<?x48xbf16>
  return
}

// -----

func.func @fake_quantize_c1(%a: tensor<bf16>) {
  // expected-error @+1 {{operand 'x' must have rank at least 1, found 'tensor<bf16>'}}
  %0 = dsv4.fake_quantize %a {format = #dsv4.format<e4m3>, block = 1, channels = 0} : (tensor<bf16>) -> tensor<bf16>
  return
}

// -----

func.func @fake_quantize_c2(%a: tensor<?x64xbf16>) {
  // expected-error @+1 {{attribute 'block' must be a power of two, found 0}}
  %0 = dsv4.fake_quantize %a {format = #dsv4.format<e4m3>, block = 0, channels = 64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
  return
}

// -----

// Kernels quantise tiles, whose dimensions are powers of two.
func.func @fake_quantize_c2_block(%a: tensor<?x192xbf16>) {
  // expected-error @+1 {{attribute 'block' must be a power of two, found 96}}
  %0 = dsv4.fake_quantize %a {format = #dsv4.format<e4m3>, block = 96, channels = 192} : (tensor<?x192xbf16>) -> tensor<?x192xbf16>
  return
}

// -----

func.func @fake_quantize_c2_channels(%a: tensor<?x64xbf16>) {
  // expected-error @+1 {{attribute 'channels' must be at least 0, found -64}}
  %0 = dsv4.fake_quantize %a {format = #dsv4.format<e4m3>, block = 64, channels = -64} : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
  return
}

// -----

func.func @fake_quantize_c3(%a: tensor<?x64xbf16>) {
  // expected-error @+1 {{attribute 'channels' must be a multiple of 'block' (64), found 32}}
  %0 = dsv4.fake_quantize %a {format = #dsv4.format<e4m3>, block = 64, channels = 32} : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
  return
}

// -----

func.func @fake_quantize_c4(%a: tensor<?x64xbf16>) {
  // expected-error @+1 {{attribute 'channels' must be at most the last dimension of 'x' (64), found 128}}
  %0 = dsv4.fake_quantize %a {format = #dsv4.format<e4m3>, block = 64, channels = 128} : (tensor<?x64xbf16>) -> tensor<?x64xbf16>
  return
}

// -----

func.func @hc_expand_c1(%a: tensor<4xbf16>) {
  // expected-error @+1 {{operand 'x' must have rank 2, found 'tensor<4xbf16>'}}
  %0 = dsv4.hc_expand %a : (tensor<4xbf16>) -> tensor<?x2x4xbf16>
  return
}

// -----

func.func @hc_expand_c2(%a: tensor<?x4xbf16>) {
  // expected-error @+1 {{result 'result' must be ?x2x4 (T x n x D), found ?x2x8}}
  %0 = dsv4.hc_expand %a : (tensor<?x4xbf16>) -> tensor<?x2x8xbf16>
  return
}

// -----

func.func @hc_pre_c1(%a: tensor<?x4xbf16>, %b: tensor<8x8xf32>, %c: tensor<8xf32>, %d: tensor<3xf32>) {
  // expected-error @+1 {{operand 'h' must have rank 3, found 'tensor<?x4xbf16>'}}
  %0:3 = dsv4.hc_pre %a, %b, %c, %d {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 2} : (tensor<?x4xbf16>, tensor<8x8xf32>, tensor<8xf32>, tensor<3xf32>) -> (tensor<?x4xbf16>, tensor<?x2xf32>, tensor<?x2x2xf32>)
  return
}

// -----

func.func @hc_pre_c2(%a: tensor<?x2x4xbf16>, %b: tensor<8x4xf32>, %c: tensor<8xf32>, %d: tensor<3xf32>) {
  // expected-error @+1 {{operand 'fn' must be 8x8 ((2+n)n x nD), found 8x4}}
  %0:3 = dsv4.hc_pre %a, %b, %c, %d {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 2} : (tensor<?x2x4xbf16>, tensor<8x4xf32>, tensor<8xf32>, tensor<3xf32>) -> (tensor<?x4xbf16>, tensor<?x2xf32>, tensor<?x2x2xf32>)
  return
}

// -----

func.func @hc_pre_c3(%a: tensor<?x2x4xbf16>, %b: tensor<8x8xf32>, %c: tensor<4xf32>, %d: tensor<3xf32>) {
  // expected-error @+1 {{operand 'base' must be 8 ((2+n)n), found 4}}
  %0:3 = dsv4.hc_pre %a, %b, %c, %d {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 2} : (tensor<?x2x4xbf16>, tensor<8x8xf32>, tensor<4xf32>, tensor<3xf32>) -> (tensor<?x4xbf16>, tensor<?x2xf32>, tensor<?x2x2xf32>)
  return
}

// -----

func.func @hc_pre_c3_scale(%a: tensor<?x2x4xbf16>, %b: tensor<8x8xf32>, %c: tensor<8xf32>, %d: tensor<1xf32>) {
  // expected-error @+1 {{operand 'scale' must be 3 (pre, post, comb), found 1}}
  %0:3 = dsv4.hc_pre %a, %b, %c, %d {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 2} : (tensor<?x2x4xbf16>, tensor<8x8xf32>, tensor<8xf32>, tensor<1xf32>) -> (tensor<?x4xbf16>, tensor<?x2xf32>, tensor<?x2x2xf32>)
  return
}

// -----

func.func @hc_pre_c4(%a: tensor<?x2x4xbf16>, %b: tensor<8x8xf32>, %c: tensor<8xf32>, %d: tensor<3xf32>) {
  // expected-error @+1 {{attribute 'iterations' must be at least 1, found 0}}
  %0:3 = dsv4.hc_pre %a, %b, %c, %d {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 0} : (tensor<?x2x4xbf16>, tensor<8x8xf32>, tensor<8xf32>, tensor<3xf32>) -> (tensor<?x4xbf16>, tensor<?x2xf32>, tensor<?x2x2xf32>)
  return
}

// -----

func.func @hc_pre_c4_eps(%a: tensor<?x2x4xbf16>, %b: tensor<8x8xf32>, %c: tensor<8xf32>, %d: tensor<3xf32>) {
  // expected-error @+1 {{attribute 'hc_eps' must be a positive finite number, found 0}}
  %0:3 = dsv4.hc_pre %a, %b, %c, %d {hc_eps = 0.0 : f64, norm_eps = 1.0e-6 : f64, iterations = 1} : (tensor<?x2x4xbf16>, tensor<8x8xf32>, tensor<8xf32>, tensor<3xf32>) -> (tensor<?x4xbf16>, tensor<?x2xf32>, tensor<?x2x2xf32>)
  return
}

// -----

func.func @hc_post_c1(%a: tensor<?x4xbf16>, %b: tensor<?x4xbf16>, %c: tensor<?x2xf32>, %d: tensor<?x2x2xf32>) {
  // expected-error @+1 {{operand 'h' must have rank 3, found 'tensor<?x4xbf16>'}}
  %0 = dsv4.hc_post %a, %b, %c, %d : (tensor<?x4xbf16>, tensor<?x4xbf16>, tensor<?x2xf32>, tensor<?x2x2xf32>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @hc_post_c2(%a: tensor<?x8xbf16>, %b: tensor<?x2x4xbf16>, %c: tensor<?x2xf32>, %d: tensor<?x2x2xf32>) {
  // expected-error @+1 {{operand 'y' must be ?x4 (T x D), found ?x8}}
  %0 = dsv4.hc_post %a, %b, %c, %d : (tensor<?x8xbf16>, tensor<?x2x4xbf16>, tensor<?x2xf32>, tensor<?x2x2xf32>) -> tensor<?x2x4xbf16>
  return
}

// -----

func.func @hc_post_c3(%a: tensor<?x4xbf16>, %b: tensor<?x2x4xbf16>, %c: tensor<?x3xf32>, %d: tensor<?x2x2xf32>) {
  // expected-error @+1 {{operand 'post' must be ?x2 (T x n), found ?x3}}
  %0 = dsv4.hc_post %a, %b, %c, %d : (tensor<?x4xbf16>, tensor<?x2x4xbf16>, tensor<?x3xf32>, tensor<?x2x2xf32>) -> tensor<?x2x4xbf16>
  return
}

// -----

func.func @hc_post_c3_comb(%a: tensor<?x4xbf16>, %b: tensor<?x2x4xbf16>, %c: tensor<?x2xf32>, %d: tensor<?x2x3xf32>) {
  // expected-error @+1 {{operand 'comb' must be ?x2x2 (T x n x n), found ?x2x3}}
  %0 = dsv4.hc_post %a, %b, %c, %d : (tensor<?x4xbf16>, tensor<?x2x4xbf16>, tensor<?x2xf32>, tensor<?x2x3xf32>) -> tensor<?x2x4xbf16>
  return
}

// -----

func.func @hc_head_c1(%a: tensor<?x4xbf16>, %b: tensor<2x8xf32>, %c: tensor<2xf32>, %d: tensor<1xf32>) {
  // expected-error @+1 {{operand 'h' must have rank 3, found 'tensor<?x4xbf16>'}}
  %0 = dsv4.hc_head %a, %b, %c, %d {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64} : (tensor<?x4xbf16>, tensor<2x8xf32>, tensor<2xf32>, tensor<1xf32>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @hc_head_c2(%a: tensor<?x2x4xbf16>, %b: tensor<2x4xf32>, %c: tensor<2xf32>, %d: tensor<1xf32>) {
  // expected-error @+1 {{operand 'fn' must be 2x8 (n x nD), found 2x4}}
  %0 = dsv4.hc_head %a, %b, %c, %d {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64} : (tensor<?x2x4xbf16>, tensor<2x4xf32>, tensor<2xf32>, tensor<1xf32>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @hc_head_c3(%a: tensor<?x2x4xbf16>, %b: tensor<2x8xf32>, %c: tensor<4xf32>, %d: tensor<1xf32>) {
  // expected-error @+1 {{operand 'base' must be 2 (n), found 4}}
  %0 = dsv4.hc_head %a, %b, %c, %d {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64} : (tensor<?x2x4xbf16>, tensor<2x8xf32>, tensor<4xf32>, tensor<1xf32>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @hc_head_c4(%a: tensor<?x2x4xbf16>, %b: tensor<2x8xf32>, %c: tensor<2xf32>, %d: tensor<1xf32>) {
  // expected-error @+1 {{attribute 'norm_eps' must be a positive finite number, found 0}}
  %0 = dsv4.hc_head %a, %b, %c, %d {hc_eps = 1.0e-6 : f64, norm_eps = 0.0 : f64} : (tensor<?x2x4xbf16>, tensor<2x8xf32>, tensor<2xf32>, tensor<1xf32>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @add_streams_c1(%a: tensor<?x4xbf16>, %b: tensor<?x4xbf16>) {
  // expected-error @+1 {{operand 'h' must have rank 3, found 'tensor<?x4xbf16>'}}
  %0 = dsv4.add_streams %a, %b : (tensor<?x4xbf16>, tensor<?x4xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @add_streams_c2(%a: tensor<?x8xbf16>, %b: tensor<?x2x4xbf16>) {
  // expected-error @+1 {{operand 'e' must be ?x4 (T x D), found ?x8}}
  %0 = dsv4.add_streams %a, %b : (tensor<?x8xbf16>, tensor<?x2x4xbf16>) -> tensor<?x2x4xbf16>
  return
}

// -----

func.func @window_insert_c1(%a: !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, %b: tensor<?x128xbf16>, %c: tensor<?xi32>, %d: tensor<?xi32>) {
  // expected-error @+1 {{operand 'cache' must be a cache of kind window, found compressed}}
  dsv4.window_insert %a, %b, %c, %d : (!dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  return
}

// -----

func.func @window_insert_c2(%a: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %b: tensor<?x64xbf16>, %c: tensor<?xi32>, %d: tensor<?xi32>) {
  // expected-error @+1 {{operand 'kv' must be ?x128 (T x the cache's width), found ?x64}}
  dsv4.window_insert %a, %b, %c, %d : (!dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<?x64xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  return
}

// -----

func.func @window_insert_c3(%a: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %b: tensor<3x128xbf16>, %c: tensor<?xi32>, %d: tensor<4xi32>) {
  // expected-error @+1 {{operand 'slots' must be 3 (T), found 4}}
  dsv4.window_insert %a, %b, %c, %d : (!dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<3x128xbf16>, tensor<?xi32>, tensor<4xi32>) -> ()
  return
}

// -----

func.func @compressed_insert_c1(%a: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %b: tensor<?x128xbf16>, %c: tensor<?xi32>, %d: tensor<?xi32>) {
  // expected-error @+1 {{operand 'cache' must be a cache of kind compressed or index, found window}}
  dsv4.compressed_insert %a, %b, %c, %d {ratio = 4} : (!dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  return
}

// -----

func.func @compressed_insert_c2(%a: !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, %b: tensor<?x128xbf16>, %c: tensor<?xi32>, %d: tensor<?xi32>) {
  // expected-error @+1 {{operand 'x' must be ?x64 (T x the cache's width), found ?x128}}
  dsv4.compressed_insert %a, %b, %c, %d {ratio = 4} : (!dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, tensor<?x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  return
}

// -----

func.func @compressed_insert_c3(%a: !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, %b: tensor<3x64xbf16>, %c: tensor<4xi32>, %d: tensor<?xi32>) {
  // expected-error @+1 {{operand 'positions' must be 3 (T), found 4}}
  dsv4.compressed_insert %a, %b, %c, %d {ratio = 4} : (!dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, tensor<3x64xbf16>, tensor<4xi32>, tensor<?xi32>) -> ()
  return
}

// -----

func.func @compressed_insert_c4(%a: !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, %b: tensor<?x64xbf16>, %c: tensor<?xi32>, %d: tensor<?xi32>) {
  // expected-error @+1 {{attribute 'ratio' must be at least 1, found 0}}
  dsv4.compressed_insert %a, %b, %c, %d {ratio = 0} : (!dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, tensor<?x64xbf16>, tensor<?xi32>, tensor<?xi32>) -> ()
  return
}

// -----

func.func @compress_pool_c1(%a: tensor<?x256xf32>, %b: tensor<?x256xf32>, %c: tensor<4x256xf32>, %d: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %e: tensor<?xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{operand 'state' must be a cache of kind state, found window}}
  %0 = dsv4.compress_pool %a, %b, %c, %d, %e, %f {overlap, ratio = 4} : (tensor<?x256xf32>, tensor<?x256xf32>, tensor<4x256xf32>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x128xbf16>
  return
}

// -----

func.func @compress_pool_c2(%a: tensor<?x128xf32>, %b: tensor<?x256xf32>, %c: tensor<4x256xf32>, %d: !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, %e: tensor<?xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{operand 'kv' must be ?x256 (T x the cache's width), found ?x128}}
  %0 = dsv4.compress_pool %a, %b, %c, %d, %e, %f {overlap, ratio = 4} : (tensor<?x128xf32>, tensor<?x256xf32>, tensor<4x256xf32>, !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x128xbf16>
  return
}

// -----

func.func @compress_pool_c2_gate(%a: tensor<3x256xf32>, %b: tensor<4x256xf32>, %c: tensor<4x256xf32>, %d: !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, %e: tensor<?xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{operand 'gate' must be 3x256 (T x cd, as 'kv'), found 4x256}}
  %0 = dsv4.compress_pool %a, %b, %c, %d, %e, %f {overlap, ratio = 4} : (tensor<3x256xf32>, tensor<4x256xf32>, tensor<4x256xf32>, !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<?xi32>, tensor<?xi32>) -> tensor<3x128xbf16>
  return
}

// -----

func.func @compress_pool_c3(%a: tensor<?x256xf32>, %b: tensor<?x256xf32>, %c: tensor<8x256xf32>, %d: !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, %e: tensor<?xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{operand 'ape' must be 4x256 (ratio x cd), found 8x256}}
  %0 = dsv4.compress_pool %a, %b, %c, %d, %e, %f {overlap, ratio = 4} : (tensor<?x256xf32>, tensor<?x256xf32>, tensor<8x256xf32>, !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x128xbf16>
  return
}

// -----

func.func @compress_pool_c4(%a: tensor<?x256xf32>, %b: tensor<?x256xf32>, %c: tensor<4x256xf32>, %d: !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, %e: tensor<?xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{operand 'state' must have 4 rows (ratio, twice that with overlap), found 8}}
  %0 = dsv4.compress_pool %a, %b, %c, %d, %e, %f {ratio = 4} : (tensor<?x256xf32>, tensor<?x256xf32>, tensor<4x256xf32>, !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x256xbf16>
  return
}

// -----

func.func @compress_pool_c5(%a: tensor<?x256xf32>, %b: tensor<?x256xf32>, %c: tensor<4x256xf32>, %d: !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, %e: tensor<?xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{result 'result' must be ?x128 (T x d, half of cd with overlap), found ?x256}}
  %0 = dsv4.compress_pool %a, %b, %c, %d, %e, %f {overlap, ratio = 4} : (tensor<?x256xf32>, tensor<?x256xf32>, tensor<4x256xf32>, !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x256xbf16>
  return
}

// -----

func.func @compress_pool_c5_odd(%a: tensor<?x5xf32>, %b: tensor<?x5xf32>, %c: tensor<4x5xf32>, %d: !dsv4.cache<state, 8 rows of 5, rope = 0, f32>, %e: tensor<?xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{operand 'state' must have an even width with overlap, found 5}}
  %0 = dsv4.compress_pool %a, %b, %c, %d, %e, %f {overlap, ratio = 4} : (tensor<?x5xf32>, tensor<?x5xf32>, tensor<4x5xf32>, !dsv4.cache<state, 8 rows of 5, rope = 0, f32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2xbf16>
  return
}

// -----

func.func @compress_pool_c6(%a: tensor<3x256xf32>, %b: tensor<3x256xf32>, %c: tensor<4x256xf32>, %d: !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, %e: tensor<4xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{operand 'positions' must be 3 (T), found 4}}
  %0 = dsv4.compress_pool %a, %b, %c, %d, %e, %f {overlap, ratio = 4} : (tensor<3x256xf32>, tensor<3x256xf32>, tensor<4x256xf32>, !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<4xi32>, tensor<?xi32>) -> tensor<3x128xbf16>
  return
}

// -----

func.func @state_update_c1(%a: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %b: tensor<?x128xf32>, %c: tensor<?x128xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'state' must be a cache of kind state, found window}}
  dsv4.state_update %a, %b, %c, %d, %e : (!dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  return
}

// -----

func.func @state_update_c2(%a: !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, %b: tensor<?x256xf32>, %c: tensor<?x128xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'gate' must be ?x256 (T x the cache's width), found ?x128}}
  dsv4.state_update %a, %b, %c, %d, %e : (!dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<?x256xf32>, tensor<?x128xf32>, tensor<?xi32>, tensor<?xi32>) -> ()
  return
}

// -----

func.func @state_update_c3(%a: !dsv4.cache<state, 8 rows of 256, rope = 0, f32>, %b: tensor<3x256xf32>, %c: tensor<3x256xf32>, %d: tensor<4xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'positions' must be 3 (T), found 4}}
  dsv4.state_update %a, %b, %c, %d, %e : (!dsv4.cache<state, 8 rows of 256, rope = 0, f32>, tensor<3x256xf32>, tensor<3x256xf32>, tensor<4xi32>, tensor<?xi32>) -> ()
  return
}

// -----

func.func @index_scores_c1(%a: tensor<?x64xbf16>, %b: tensor<?x4xbf16>, %c: !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'q' must have rank 3, found 'tensor<?x64xbf16>'}}
  %0 = dsv4.index_scores %a, %b, %c, %d, %e {ratio = 4} : (tensor<?x64xbf16>, tensor<?x4xbf16>, !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @index_scores_c2(%a: tensor<?x4x32xbf16>, %b: tensor<?x4xbf16>, %c: !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'cache' must have rows of width 32, found 64}}
  %0 = dsv4.index_scores %a, %b, %c, %d, %e {ratio = 4} : (tensor<?x4x32xbf16>, tensor<?x4xbf16>, !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @index_scores_c2_kind(%a: tensor<?x4x128xbf16>, %b: tensor<?x4xbf16>, %c: !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'cache' must be a cache of kind index, found compressed}}
  %0 = dsv4.index_scores %a, %b, %c, %d, %e {ratio = 4} : (tensor<?x4x128xbf16>, tensor<?x4xbf16>, !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @index_scores_c3(%a: tensor<?x4x64xbf16>, %b: tensor<?x8xbf16>, %c: !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'w' must be ?x4 (T x Hi), found ?x8}}
  %0 = dsv4.index_scores %a, %b, %c, %d, %e {ratio = 4} : (tensor<?x4x64xbf16>, tensor<?x8xbf16>, !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @index_scores_c4(%a: tensor<?x4x64xbf16>, %b: tensor<?x4xbf16>, %c: !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{attribute 'ratio' must be at least 1, found 0}}
  %0 = dsv4.index_scores %a, %b, %c, %d, %e {ratio = 0} : (tensor<?x4x64xbf16>, tensor<?x4xbf16>, !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @index_scores_c5(%a: tensor<?x4x64xbf16>, %b: tensor<?x4xbf16>, %c: !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<?x16xf32>' are incompatible with return type(s) of operation 'tensor<?x8xf32>'}}
  %0 = dsv4.index_scores %a, %b, %c, %d, %e {ratio = 4} : (tensor<?x4x64xbf16>, tensor<?x4xbf16>, !dsv4.cache<index, 16 rows of 64, rope = 0, fp4>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @select_topk_c1(%a: tensor<?xf32>, %b: tensor<?xi32>) {
  // expected-error @+1 {{operand 'scores' must have rank 2, found 'tensor<?xf32>'}}
  %0 = dsv4.select_topk %a, %b {k = 4, ratio = 4} : (tensor<?xf32>, tensor<?xi32>) -> tensor<?x4xi32>
  return
}

// -----

func.func @select_topk_c2(%a: tensor<?x16xf32>, %b: tensor<?xi32>) {
  // expected-error @+1 {{attribute 'k' must be at least 1, found 0}}
  %0 = dsv4.select_topk %a, %b {k = 0, ratio = 4} : (tensor<?x16xf32>, tensor<?xi32>) -> tensor<?x4xi32>
  return
}

// -----

func.func @select_topk_c3(%a: tensor<3x16xf32>, %b: tensor<4xi32>) {
  // expected-error @+1 {{operand 'positions' must be 3 (T), found 4}}
  %0 = dsv4.select_topk %a, %b {k = 4, ratio = 4} : (tensor<3x16xf32>, tensor<4xi32>) -> tensor<3x4xi32>
  return
}

// -----

func.func @select_topk_c4(%a: tensor<?x16xf32>, %b: tensor<?xi32>) {
  // expected-error @+1 {{attribute 'ratio' must be at least 1, found 0}}
  %0 = dsv4.select_topk %a, %b {k = 4, ratio = 0} : (tensor<?x16xf32>, tensor<?xi32>) -> tensor<?x4xi32>
  return
}

// -----

func.func @attention_c1(%a: tensor<?x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: tensor<2xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'q' must have rank 3, found 'tensor<?x128xbf16>'}}
  %0 = dsv4.attention %a, %b, %c, %d, %e {window = 8, ratio = 0, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x128xbf16>
  return
}

// -----

func.func @attention_c2(%a: tensor<?x2x128xbf16>, %b: !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, %c: tensor<2xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'windowCache' must be a cache of kind window, found compressed}}
  %0 = dsv4.attention %a, %b, %c, %d, %e {window = 8, ratio = 0, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x2x128xbf16>, !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2x128xbf16>
  return
}

// -----

func.func @attention_c2_width(%a: tensor<?x2x64xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: tensor<2xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'windowCache' must have rows of width 64, found 128}}
  %0 = dsv4.attention %a, %b, %c, %d, %e {window = 8, ratio = 0, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x2x64xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2x64xbf16>
  return
}

// -----

func.func @attention_c3(%a: tensor<?x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: tensor<2xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'compressed' must be present exactly when 'ratio' is not 0, found it absent with ratio 4}}
  %0 = dsv4.attention %a, %b, %c, %d, %e {window = 8, ratio = 4, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2x128xbf16>
  return
}

// -----

func.func @attention_c3_surplus(%a: tensor<?x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, %d: tensor<2xf32>, %e: tensor<?xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{operand 'compressed' must be present exactly when 'ratio' is not 0, found it present with ratio 0}}
  %0 = dsv4.attention %a, %b, %c, %d, %e, %f {window = 8, ratio = 0, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 1, 1, 1>} : (tensor<?x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2x128xbf16>
  return
}

// -----

func.func @attention_c3_kind(%a: tensor<?x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %d: tensor<2xf32>, %e: tensor<?xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{operand 'compressed' must be a cache of kind compressed, found window}}
  %0 = dsv4.attention %a, %b, %c, %d, %e, %f {window = 8, ratio = 4, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 1, 1, 1>} : (tensor<?x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2x128xbf16>
  return
}

// -----

func.func @attention_c4(%a: tensor<?x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: tensor<?x4xi32>, %d: tensor<2xf32>, %e: tensor<?xi32>, %f: tensor<?xi32>) {
  // expected-error @+1 {{operand 'indices' must be absent without 'compressed'}}
  %0 = dsv4.attention %a, %b, %c, %d, %e, %f {window = 8, ratio = 0, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 1, 1, 1, 1>} : (tensor<?x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<?x4xi32>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2x128xbf16>
  return
}

// -----

func.func @attention_c4_shape(%a: tensor<3x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, %d: tensor<4x2xi32>, %e: tensor<2xf32>, %f: tensor<?xi32>, %g: tensor<?xi32>) {
  // expected-error @+1 {{operand 'indices' must be 3x? (T x k), found 4x2}}
  %0 = dsv4.attention %a, %b, %c, %d, %e, %f, %g {window = 8, ratio = 4, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1>} : (tensor<3x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, !dsv4.cache<compressed, 16 rows of 128, rope = 64, fp8>, tensor<4x2xi32>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<3x2x128xbf16>
  return
}

// -----

func.func @attention_c5(%a: tensor<?x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: tensor<4xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{operand 'sink' must be 2 (H), found 4}}
  %0 = dsv4.attention %a, %b, %c, %d, %e {window = 8, ratio = 0, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<4xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2x128xbf16>
  return
}

// -----

func.func @attention_c6(%a: tensor<3x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: tensor<2xf32>, %d: tensor<?xi32>, %e: tensor<4xi32>) {
  // expected-error @+1 {{operand 'slots' must be 3 (T), found 4}}
  %0 = dsv4.attention %a, %b, %c, %d, %e {window = 8, ratio = 0, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<3x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<4xi32>) -> tensor<3x2x128xbf16>
  return
}

// -----

func.func @attention_c7(%a: tensor<?x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: tensor<2xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{attribute 'window' must be at most the rows of 'windowCache' (16), found 32}}
  %0 = dsv4.attention %a, %b, %c, %d, %e {window = 32, ratio = 0, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2x128xbf16>
  return
}

// -----

func.func @attention_c7_zero(%a: tensor<?x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: tensor<2xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{attribute 'window' must be at least 1, found 0}}
  %0 = dsv4.attention %a, %b, %c, %d, %e {window = 0, ratio = 0, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2x128xbf16>
  return
}

// -----

func.func @attention_c7_scale(%a: tensor<?x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: tensor<2xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{attribute 'scale' must be a positive finite number, found 0}}
  %0 = dsv4.attention %a, %b, %c, %d, %e {window = 8, ratio = 0, scale = 0.0 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x2x128xbf16>
  return
}

// -----

func.func @attention_c8(%a: tensor<?x2x128xbf16>, %b: !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, %c: tensor<2xf32>, %d: tensor<?xi32>, %e: tensor<?xi32>) {
  // expected-error @+1 {{result 'result' must be ?x2x128 (T x H x d, as 'q'), found ?x4x128}}
  %0 = dsv4.attention %a, %b, %c, %d, %e {window = 8, ratio = 0, scale = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0, 1, 1, 1>} : (tensor<?x2x128xbf16>, !dsv4.cache<window, 16 rows of 128, rope = 64, fp8>, tensor<2xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x4x128xbf16>
  return
}

// -----

func.func @gate_c1(%a: tensor<4xbf16>, %b: tensor<8x4xbf16>) {
  // expected-error @+1 {{operand 'x' must have rank 2, found 'tensor<4xbf16>'}}
  %0 = dsv4.gate %a, %b : (tensor<4xbf16>, tensor<8x4xbf16>) -> tensor<?x8xf32>
  return
}

// -----

func.func @gate_c2(%a: tensor<?x4xbf16>, %b: tensor<8x16xbf16>) {
  // expected-error @+1 {{operand 'weight' must be 8x4 (E x D), found 8x16}}
  %0 = dsv4.gate %a, %b : (tensor<?x4xbf16>, tensor<8x16xbf16>) -> tensor<?x8xf32>
  return
}

// -----

func.func @route_topk_c1(%a: tensor<8xf32>, %b: tensor<8xf32>) {
  // expected-error @+1 {{operand 'scores' must have rank 2, found 'tensor<8xf32>'}}
  %0:2 = dsv4.route_topk %a, %b {factor = 1.5 : f64} : (tensor<8xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @route_topk_c2(%a: tensor<?x8xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{operand 'bias' must be 8 (E), found 4}}
  %0:2 = dsv4.route_topk %a, %b {factor = 1.5 : f64} : (tensor<?x8xf32>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @route_topk_c3(%a: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // expected-error @+1 {{result 'ids' must have between 1 and 8 (E) columns, found 9}}
  %0:2 = dsv4.route_topk %a, %b {factor = 1.5 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x9xi32>, tensor<?x9xf32>)
  return
}

// -----

func.func @route_topk_c3_shape(%a: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // expected-error @+1 {{result 'weights' must be ?x2 (T x k, as 'ids'), found ?x3}}
  %0:2 = dsv4.route_topk %a, %b {factor = 1.5 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @route_topk_c4(%a: tensor<?x8xf32>, %b: tensor<8xf32>) {
  // expected-error @+1 {{attribute 'factor' must be a positive finite number, found 0}}
  %0:2 = dsv4.route_topk %a, %b {factor = 0.0 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @route_hash_c1(%a: tensor<8xf32>, %b: tensor<?xi32>, %c: tensor<97x2xi64>) {
  // expected-error @+1 {{operand 'scores' must have rank 2, found 'tensor<8xf32>'}}
  %0:2 = dsv4.route_hash %a, %b, %c {factor = 1.5 : f64} : (tensor<8xf32>, tensor<?xi32>, tensor<97x2xi64>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @route_hash_c2(%a: tensor<3x8xf32>, %b: tensor<4xi32>, %c: tensor<97x2xi64>) {
  // expected-error @+1 {{operand 'ids' must be 3 (T), found 4}}
  %0:2 = dsv4.route_hash %a, %b, %c {factor = 1.5 : f64} : (tensor<3x8xf32>, tensor<4xi32>, tensor<97x2xi64>) -> (tensor<3x2xi32>, tensor<3x2xf32>)
  return
}

// -----

func.func @route_hash_c3(%a: tensor<?x8xf32>, %b: tensor<?xi32>, %c: tensor<97x9xi64>) {
  // expected-error @+1 {{operand 'table' must have between 1 and 8 (E) columns, found 9}}
  %0:2 = dsv4.route_hash %a, %b, %c {factor = 1.5 : f64} : (tensor<?x8xf32>, tensor<?xi32>, tensor<97x9xi64>) -> (tensor<?x9xi32>, tensor<?x9xf32>)
  return
}

// -----

func.func @route_hash_c4(%a: tensor<?x8xf32>, %b: tensor<?xi32>, %c: tensor<97x2xi64>) {
  // expected-error @+1 {{attribute 'factor' must be a positive finite number, found -1}}
  %0:2 = dsv4.route_hash %a, %b, %c {factor = -1.0 : f64} : (tensor<?x8xf32>, tensor<?xi32>, tensor<97x2xi64>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @experts_c1(%a: tensor<64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<4x32x64xbf16>, %e: tensor<4x32x64xbf16>, %f: tensor<4x64x32xbf16>) {
  // expected-error @+1 {{operand 'x' must have rank 2, found 'tensor<64xbf16>'}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x64xbf16>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<64xf32>
  return
}

// -----

func.func @experts_c2(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x3xf32>, %d: tensor<4x32x64xbf16>, %e: tensor<4x32x64xbf16>, %f: tensor<4x64x32xbf16>) {
  // expected-error @+1 {{operand 'weights' must be ?x2 (T x k, as 'ids'), found ?x3}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x3xf32>, tensor<4x32x64xbf16>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_c3(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<32x64xbf16>, %e: tensor<4x32x64xbf16>, %f: tensor<4x64x32xbf16>) {
  // expected-error @+1 {{operand 'w1' must have rank 3, found 'tensor<32x64xbf16>'}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<32x64xbf16>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_c3_w3(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<4x32x64xbf16>, %e: tensor<4x16x64xbf16>, %f: tensor<4x64x32xbf16>) {
  // expected-error @+1 {{operand 'w3' must be 4x32x64 (N x K), found 4x16x64}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x64xbf16>, tensor<4x16x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_c3_w2(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<4x32x64xbf16>, %e: tensor<4x32x64xbf16>, %f: tensor<4x32x64xbf16>) {
  // expected-error @+1 {{operand 'w2' must be 4x64x32 (N x K), found 4x32x64}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x64xbf16>, tensor<4x32x64xbf16>, tensor<4x32x64xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_c3_scale(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<4x32x32xi8>, %e: tensor<4x32x64xbf16>, %f: tensor<4x64x32xbf16>) {
  // expected-error @+1 {{operand 's1' must be present for a weight of 'i8'}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x32xi8>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_c3_scale_shape(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<4x32x32xi8>, %e: tensor<4x32x1xf8E8M0FNU>, %f: tensor<4x32x64xbf16>, %g: tensor<4x64x32xbf16>) {
  // expected-error @+1 {{operand 's1' must be 4x32x2 (N x K/32), found 4x32x1}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f, %g {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x32xi8>, tensor<4x32x1xf8E8M0FNU>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_c4(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<4x32x64xbf16>, %e: tensor<4x32x64xbf16>, %f: tensor<4x64x32xbf16>) {
  // expected-error @+1 {{attribute 'limit' must be a positive finite number, found 0}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f {limit = 0.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x64xbf16>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_c5(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<4x32x64xbf16>, %e: tensor<4x32x64xbf16>, %f: tensor<4x64x32xbf16>) {
  // expected-error @+1 {{attribute 'hidden_block' must divide F (32), found 128}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f {limit = 10.0 : f64, hidden_block = 128, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x64xbf16>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_c5_block(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<4x96x64xbf16>, %e: tensor<4x96x64xbf16>, %f: tensor<4x64x96xbf16>) {
  // expected-error @+1 {{attribute 'hidden_block' must be a power of two, found 48}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f {limit = 10.0 : f64, hidden_block = 48, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x96x64xbf16>, tensor<4x96x64xbf16>, tensor<4x64x96xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_c6(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<4x32x32xi8>, %e: tensor<4x32x2xf8E8M0FNU>, %f: tensor<4x32x64xf8E4M3FN>, %g: tensor<4x1x1xf8E8M0FNU>, %h: tensor<4x64x32xbf16>) {
  // expected-error @+1 {{operand 'w3' must be stored as 'w1' ('i8'), found 'f8E4M3FN'}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f, %g, %h {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x32xi8>, tensor<4x32x2xf8E8M0FNU>, tensor<4x32x64xf8E4M3FN>, tensor<4x1x1xf8E8M0FNU>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @experts_c6_plain(%a: tensor<?x64xbf16>, %b: tensor<?x2xi32>, %c: tensor<?x2xf32>, %d: tensor<4x32x64xbf16>, %e: tensor<4x32x32xi8>, %f: tensor<4x32x2xf8E8M0FNU>, %g: tensor<4x64x32xbf16>) {
  // expected-error @+1 {{operand 'w3' must be stored as 'w1' ('bf16'), found 'i8'}}
  %0 = dsv4.experts %a, %b, %c, %d, %e, %f, %g {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 1, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x64xbf16>, tensor<4x32x32xi8>, tensor<4x32x2xf8E8M0FNU>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  return
}

// -----

func.func @swiglu_c1(%a: tensor<bf16>, %b: tensor<bf16>) {
  // expected-error @+1 {{operand 'g' must have rank at least 1, found 'tensor<bf16>'}}
  %0 = dsv4.swiglu %a, %b {limit = 10.0 : f64} : (tensor<bf16>, tensor<bf16>) -> tensor<bf16>
  return
}

// -----

func.func @swiglu_c2(%a: tensor<?x4xbf16>, %b: tensor<?x8xbf16>) {
  // expected-error @+1 {{operand 'u' must have the type of 'g' ('tensor<?x4xbf16>'), found 'tensor<?x8xbf16>'}}
  %0 = dsv4.swiglu %a, %b {limit = 10.0 : f64} : (tensor<?x4xbf16>, tensor<?x8xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @swiglu_c3(%a: tensor<?x4xbf16>, %b: tensor<?x4xbf16>) {
  // expected-error @+1 {{attribute 'limit' must be a positive finite number, found 0}}
  %0 = dsv4.swiglu %a, %b {limit = 0.0 : f64} : (tensor<?x4xbf16>, tensor<?x4xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @moe_combine_c1(%a: tensor<?x4xf32>, %b: tensor<?x8xbf16>) {
  // expected-error @+1 {{operand 'shared' must be ?x4 (T x D, as 'routed'), found ?x8}}
  %0 = dsv4.moe_combine %a, %b : (tensor<?x4xf32>, tensor<?x8xbf16>) -> tensor<?x4xbf16>
  return
}

// -----

func.func @moe_combine_c2(%a: tensor<?x4xf32>, %b: tensor<?x4xbf16>) {
  // expected-error @+1 {{result 'result' must be ?x4 (T x D, as 'routed'), found ?x8}}
  %0 = dsv4.moe_combine %a, %b : (tensor<?x4xf32>, tensor<?x4xbf16>) -> tensor<?x8xbf16>
  return
}

// -----

// expected-error @+1 {{'rows' must be at least 1, found 0}}
func.func private @cache_c1(!dsv4.cache<window, 0 rows of 128, rope = 64, fp8>)

// -----

// expected-error @+1 {{'width' must be at least 1, found 0}}
func.func private @cache_c1_width(!dsv4.cache<window, 8 rows of 0, rope = 0, f32>)

// -----

// expected-error @+1 {{'rope' must be within the width, found 65}}
func.func private @cache_c1_rope(!dsv4.cache<window, 8 rows of 64, rope = 65, f32>)

// -----

// expected-error @+1 {{'width - rope' must be a multiple of 64 in format fp8, found 36}}
func.func private @cache_c2(!dsv4.cache<window, 8 rows of 100, rope = 64, fp8>)

// -----

// expected-error @+1 {{format fp8 is for window and compressed caches, found state}}
func.func private @cache_c2_kind(!dsv4.cache<state, 8 rows of 128, rope = 64, fp8>)

// -----

// expected-error @+1 {{'width' must be a multiple of 32 in format fp4, found 48}}
func.func private @cache_c3(!dsv4.cache<index, 8 rows of 48, rope = 0, fp4>)

// -----

// expected-error @+1 {{format fp4 is for index caches, found window}}
func.func private @cache_c3_kind(!dsv4.cache<window, 8 rows of 64, rope = 0, fp4>)

// -----

// expected-error @+1 {{argument 0: 'dsv4.cache_name' must be a name on an argument of cache type}}
func.func private @cache_c4(tensor<4xf32> {dsv4.cache_name = "a"})

// -----

// expected-error @+1 {{has an argument with the unknown attribute 'dsv4.name'}}
func.func private @cache_c4_unknown(tensor<4xf32> {dsv4.name = "a"})

// -----

// expected-error @+1 {{'width' must be even and at least 2, found 63}}
func.func private @rope_attr_c1() attributes {rope = #dsv4.rope<width = 63, theta = 1.0e4 : f64, factor = 0.0 : f64, original = 0, beta_fast = 0.0 : f64, beta_slow = 0.0 : f64>}

// -----

// expected-error @+1 {{'theta' must be above 1, found 1.000000e+00 : f64}}
func.func private @rope_attr_c2() attributes {rope = #dsv4.rope<width = 64, theta = 1.0 : f64, factor = 0.0 : f64, original = 0, beta_fast = 0.0 : f64, beta_slow = 0.0 : f64>}

// -----

// expected-error @+1 {{constants of a rope must be finite f64, found 0x7FF0000000000000 : f64}}
func.func private @rope_attr_c2_infinite() attributes {rope = #dsv4.rope<width = 64, theta = 0x7FF0000000000000 : f64, factor = 0.0 : f64, original = 0, beta_fast = 0.0 : f64, beta_slow = 0.0 : f64>}

// -----

// expected-error @+1 {{'original', 'beta_fast' and 'beta_slow' must be 0 when 'factor' is 0}}
func.func private @rope_attr_c3() attributes {rope = #dsv4.rope<width = 64, theta = 1.0e4 : f64, factor = 0.0 : f64, original = 4, beta_fast = 0.0 : f64, beta_slow = 0.0 : f64>}

// -----

// expected-error @+1 {{YaRN needs factor >= 1, original >= 1 and beta_fast >= beta_slow > 0, found factor 4.000000e+00 : f64, original 0, beta_fast 0.000000e+00 : f64, beta_slow 0.000000e+00 : f64}}
func.func private @rope_attr_c3_yarn() attributes {rope = #dsv4.rope<width = 64, theta = 1.0e4 : f64, factor = 4.0 : f64, original = 0, beta_fast = 0.0 : f64, beta_slow = 0.0 : f64>}

// -----

// expected-error @+1 {{'hidden' must be at least 1, found 0}}
func.func private @model_c1() attributes {model = #dsv4.model<numerics = <f32>, hidden = 0, layers = 1, vocabulary = 8, streams = 1, heads = 1, head_dim = 64, experts = 4, experts_per_token = 2, mtp_layers = 0, bos = 0, eos = [1], ratios = [0], max_context = 8, max_sequences = 1, max_step_tokens = 8>}

// -----

// expected-error @+1 {{'experts_per_token' must be at most the number of experts, found 5}}
func.func private @model_c1_experts() attributes {model = #dsv4.model<numerics = <f32>, hidden = 64, layers = 1, vocabulary = 8, streams = 1, heads = 1, head_dim = 64, experts = 4, experts_per_token = 5, mtp_layers = 0, bos = 0, eos = [1], ratios = [0], max_context = 8, max_sequences = 1, max_step_tokens = 8>}

// -----

// expected-error @+1 {{'ratios' must have one entry per layer and MTP layer (1), found 2}}
func.func private @model_c2() attributes {model = #dsv4.model<numerics = <f32>, hidden = 64, layers = 1, vocabulary = 8, streams = 1, heads = 1, head_dim = 64, experts = 4, experts_per_token = 2, mtp_layers = 0, bos = 0, eos = [1], ratios = [0, 4], max_context = 8, max_sequences = 1, max_step_tokens = 8>}

// -----

// expected-error @+1 {{'dsv4.model' must be a #dsv4.model attribute of a module}}
func.func private @model_c3() attributes {dsv4.model = 1 : i64}

// -----

// expected-error @+1 {{has the unknown attribute 'dsv4.modle'}}
func.func private @model_c3_unknown() attributes {dsv4.modle = 1 : i64}

// -----

func.func @fused_c1() {
  // expected-error @+1 {{holds 'arith.constant', which is no operation of dsv4 that can be a member}}
  dsv4.fused head {
    %0 = arith.constant 1 : i32
    dsv4.yield
  }
  return
}

// -----

func.func @fused_c1_nested() {
  // expected-error @+1 {{holds 'dsv4.fused', which is no operation of dsv4 that can be a member}}
  dsv4.fused head {
    dsv4.fused head {
      %0 = dsv4.parameter "w" : tensor<4xf32>
      dsv4.yield
    }
    dsv4.yield
  }
  return
}

// -----

func.func @fused_c2() {
  // expected-error @+1 {{has no members}}
  dsv4.fused head {
    dsv4.yield
  }
  return
}

// -----

func.func @fused_c3() {
  // expected-error @+1 {{yields ('tensor<4xf32>'), but its results are ('tensor<8xf32>')}}
  %0 = dsv4.fused head {
    %1 = dsv4.parameter "w" : tensor<4xf32>
    dsv4.yield %1 : tensor<4xf32>
  } : tensor<8xf32>
  return
}

// -----

func.func @fused_c4(%x: tensor<4xf32>) {
  // expected-error @+1 {{yields as result 1 what is no result of a member}}
  %0:2 = dsv4.fused head {
    %1 = dsv4.parameter "w" : tensor<4xf32>
    dsv4.yield %1, %x : tensor<4xf32>, tensor<4xf32>
  } : tensor<4xf32>, tensor<4xf32>
  return
}
