// RUN: fathom-opt %s -split-input-file -fathom-cpu-approximate-math -fathom-cpu-expand-floats -verify-diagnostics

func.func @sine(%x: vector<16xf32>) -> vector<16xf32> {
  // expected-error @+1 {{'math.sin' op has no code on the CPU}}
  %y = math.sin %x : vector<16xf32>
  return %y : vector<16xf32>
}

// -----

func.func @infinite(%x: vector<16xf32>) -> vector<16xi1> {
  // expected-error @+1 {{'math.isinf' op has no code on the CPU}}
  %y = math.isinf %x : vector<16xf32>
  return %y : vector<16xi1>
}

// -----

func.func @normal(%x: vector<16xf32>) -> vector<16xi1> {
  // expected-error @+1 {{'math.isnormal' op has no code on the CPU}}
  %y = math.isnormal %x : vector<16xf32>
  return %y : vector<16xi1>
}

// -----

func.func @fused(%x: vector<16xbf16>) -> vector<16xbf16> {
  // expected-error @+1 {{'math.fma' op has no code on the CPU}}
  %y = math.fma %x, %x, %x : vector<16xbf16>
  return %y : vector<16xbf16>
}

// -----

func.func @remainder(%x: vector<16xf32>) -> vector<16xf32> {
  // expected-error @+1 {{'arith.remf' op has no code on the CPU}}
  %y = arith.remf %x, %x : vector<16xf32>
  return %y : vector<16xf32>
}

// -----

func.func @sum(%x: vector<16xf8E4M3FN>) -> vector<16xf8E4M3FN> {
  // expected-error @+1 {{'arith.addf' op has no code on the CPU for floats of fewer than 16 bits: extend them to f32}}
  %y = arith.addf %x, %x : vector<16xf8E4M3FN>
  return %y : vector<16xf8E4M3FN>
}

// -----

func.func @less(%x: vector<16xf8E4M3FN>, %y: vector<16xf8E4M3FN>) -> vector<16xi1> {
  // expected-error @+1 {{'arith.cmpf' op has no code on the CPU for floats of fewer than 16 bits}}
  %z = arith.cmpf olt, %x, %y : vector<16xf8E4M3FN>
  return %z : vector<16xi1>
}

// -----

func.func @scale(%x: vector<16xf8E8M0FNU>) -> vector<16xf16> {
  // expected-error @+1 {{no exact code for this conversion on the CPU}}
  %y = arith.extf %x : vector<16xf8E8M0FNU> to vector<16xf16>
  return %y : vector<16xf16>
}
