// Result types follow from the operands; one written out may know more or
// less of its dimensions, but nothing else.
// RUN: fathom-opt %s -split-input-file -verify-diagnostics

// A dimension that inference does not know may be static in the result.
func.func @knows_more(%x: tensor<?x8xf32>, %p: tensor<?xi32>, %h: tensor<?x?x4xf32>) {
  %0 = dsv4.hadamard %x : (tensor<?x8xf32>) -> tensor<3x8xf32>
  %1 = dsv4.select_topk %x, %p {k = 2, ratio = 4} : (tensor<?x8xf32>, tensor<?xi32>) -> tensor<3x2xi32>
  %2 = dsv4.select_rows %h, %p : (tensor<?x?x4xf32>, tensor<?xi32>) -> tensor<2x2x4xf32>
  return
}

// -----

// And the reverse.
func.func @knows_less(%x: tensor<3x8xf32>, %p: tensor<3xi32>) {
  %0 = dsv4.scale %x {factor = 2.0 : f64} : (tensor<3x8xf32>) -> tensor<?x?xf32>
  %1:2 = dsv4.rope_table %p {block = 1, rope = #dsv4.rope<width = 4, theta = 10000.0 : f64, factor = 0.0 : f64, original = 0, beta_fast = 0.0 : f64, beta_slow = 0.0 : f64>} : (tensor<3xi32>) -> (tensor<?x2xf32>, tensor<3x?xf32>)
  return
}

// -----

// Several results are all inferred.
func.func @several(%h: tensor<?x2x4xbf16>, %fn: tensor<8x8xf32>, %base: tensor<8xf32>, %scale: tensor<3xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<?x4xbf16>', 'tensor<?x2xf32>', 'tensor<?x2x2xf32>' are incompatible}}
  %0:3 = dsv4.hc_pre %h, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 2} : (tensor<?x2x4xbf16>, tensor<8x8xf32>, tensor<8xf32>, tensor<3xf32>) -> (tensor<?x4xbf16>, tensor<?x2xf32>, tensor<?x2x4xf32>)
  return
}

// -----

// Another element type is another rounding point: it must be an operation that
// may change the carrier.
func.func @element(%x: tensor<?x8xbf16>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<?x8xbf16>' are incompatible with return type(s) of operation 'tensor<?x8xf32>'}}
  %0 = dsv4.scale %x {factor = 2.0 : f64} : (tensor<?x8xbf16>) -> tensor<?x8xf32>
  return
}

// -----

func.func @rank(%g: tensor<?x8xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<?x8xf32>' are incompatible with return type(s) of operation 'tensor<?xf32>'}}
  %0 = dsv4.swiglu %g, %g {limit = 1.0 : f64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?xf32>
  return
}

// -----

// The result of experts is f32 whatever the carrier.
func.func @experts(%x: tensor<?x4xbf16>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>, %a: tensor<2x8x4xbf16>, %b: tensor<2x4x8xbf16>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<?x4xf32>' are incompatible with return type(s) of operation 'tensor<?x5xf32>'}}
  %0 = "dsv4.experts"(%x, %i, %w, %a, %a, %b) {limit = 1.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x4xbf16>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<2x8x4xbf16>, tensor<2x8x4xbf16>, tensor<2x4x8xbf16>) -> tensor<?x5xf32>
  return
}
