// What lowering relies on is looked at once, before anything is made.
// RUN: fathom-opt %s -split-input-file -verify-diagnostics -fathom-dsv4-to-tile
// RUN: echo "module {}" | not fathom-opt - -fathom-dsv4-to-tile=buckets=0 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: echo "module {}" | not fathom-opt - -fathom-dsv4-to-tile=buckets=-1,4 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// RUN: echo "module {}" | not fathom-opt - -fathom-dsv4-to-tile=buckets=16,4 2>&1 | FileCheck %s --check-prefix=DESCENDING
// RUN: echo "module {}" | not fathom-opt - -fathom-dsv4-to-tile=buckets=4,4 2>&1 | FileCheck %s --check-prefix=TWICE
// ZERO: buckets must be positive and ascending, found 0 at place 0
// NEGATIVE: buckets must be positive and ascending, found -1 at place 0
// DESCENDING: buckets must be positive and ascending, found 4 at place 1
// TWICE: buckets must be positive and ascending, found 4 at place 1

// An output would stay as it was.
// expected-error @+1 {{returns one value as results 1 and 2}}
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>, tensor<?x4x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %h, %h : tensor<?x97xf32>, tensor<?x4x256xbf16>, tensor<?x4x256xbf16>
}

// -----

// So it would where a group gives it twice.
// expected-error @+1 {{returns one value as results 1 and 2}}
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>, tensor<?x4x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  %g:2 = dsv4.fused head {
    %a = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
    dsv4.yield %a, %a : tensor<?x4x256xbf16>, tensor<?x4x256xbf16>
  } : tensor<?x4x256xbf16>, tensor<?x4x256xbf16>
  return %logits, %g#0, %g#1 : tensor<?x97xf32>, tensor<?x4x256xbf16>, tensor<?x4x256xbf16>
}

// -----

// expected-error @+1 {{result 2 must be a tensor of tokens or logits rows whose other dimensions are known and not 0, found 'tensor<97x256xbf16>'}}
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>, tensor<97x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %h, %table : tensor<?x97xf32>, tensor<?x4x256xbf16>, tensor<97x256xbf16>
}

// -----

// expected-error @+1 {{returns an argument as it is}}
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>, tensor<?xi32>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %h, %ids : tensor<?x97xf32>, tensor<?x4x256xbf16>, tensor<?xi32>
}

// -----

// expected-error @+1 {{argument 4 is a cache without 'dsv4.cache_name'}}
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>, %w: !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %h : tensor<?x97xf32>, tensor<?x4x256xbf16>
}

// -----

// expected-error @+1 {{result 2 must be a tensor of tokens or logits rows whose other dimensions are known and not 0, found '!dsv4.cache<window, 144 rows of 128, rope = 64, fp8>'}}
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>, %w: !dsv4.cache<window, 144 rows of 128, rope = 64, fp8> {dsv4.cache_name = "w"}) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>, !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %h, %w : tensor<?x97xf32>, tensor<?x4x256xbf16>, !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>
}

// -----

// expected-error @+1 {{argument 4 must be a cache or a tensor of tokens or logits rows whose other dimensions are known and not 0, found 'tensor<*xf32>'}}
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>, %u: tensor<*xf32>) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %h : tensor<?x97xf32>, tensor<?x4x256xbf16>
}

// -----

// expected-error @+1 {{argument 4 must be a cache or a tensor of tokens or logits rows whose other dimensions are known and not 0, found 'index'}}
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>, %u: index) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %h : tensor<?x97xf32>, tensor<?x4x256xbf16>
}

// -----

// expected-error @+1 {{argument 4 must be a cache or a tensor of tokens or logits rows whose other dimensions are known and not 0, found 'tensor<?x?xf32>'}}
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>, %u: tensor<?x?xf32>) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %h : tensor<?x97xf32>, tensor<?x4x256xbf16>
}

// -----

// expected-error @+1 {{has not the signature of an entry}}
func.func @step(%ids: tensor<?xi32>) -> tensor<?xi32> {
  return %ids : tensor<?xi32>
}

// -----

func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  // expected-error @+1 {{has no elements}}
  %none = dsv4.parameter "none" : tensor<97x0xbf16>
  return %logits, %h : tensor<?x97xf32>, tensor<?x4x256xbf16>
}

// -----

func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  // expected-error @+1 {{result must be a tensor of tokens or logits rows whose other dimensions are known and not 0, found 'tensor<97x256xbf16>'}}
  %n = dsv4.scale %table {factor = 2.0 : f64} : (tensor<97x256xbf16>) -> tensor<97x256xbf16>
  return %logits, %h : tensor<?x97xf32>, tensor<?x4x256xbf16>
}

// -----

func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>) -> (tensor<?x97xf32>, tensor<?x4x256xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  // expected-error @+1 {{has no lowering to tile programs}}
  %none = arith.constant 1 : index
  return %logits, %h : tensor<?x97xf32>, tensor<?x4x256xbf16>
}
