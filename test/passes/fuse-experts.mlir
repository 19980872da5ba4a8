// RUN: fathom-opt %s -fathom-fuse-hyper-connection -fathom-fuse-experts | FileCheck %s
// RUN: fathom-opt %s -fathom-fuse-experts -fathom-fuse-experts | FileCheck %s --check-prefix=TWICE
// RUN: fathom-opt %s -fathom-fuse-hyper-connection -fathom-fuse-experts -fathom-pass-counts -o /dev/null 2>&1 | FileCheck %s --check-prefix=COUNT
// COUNT: {{^}}fathom-fuse-experts: groups 3, left 1, operations 25{{$}}
// COUNT-NEXT: {{^}}fathom-fuse-hyper-connection: groups 1, left 0, operations 3{{$}}

// A group is left alone.
// TWICE-COUNT-3: dsv4.fused{{ +<?}}experts
// TWICE-NOT: dsv4.fused

// CHECK-LABEL: func.func @alone
// CHECK: dsv4.fused{{ +<?}}experts
// CHECK-NEXT: dsv4.route_topk
// CHECK-NEXT: dsv4.experts
// CHECK-NEXT: dsv4.linear
// CHECK-NEXT: dsv4.linear
// CHECK-NEXT: dsv4.swiglu
// CHECK-NEXT: dsv4.linear
// CHECK-NEXT: dsv4.moe_combine
// CHECK-NEXT: dsv4.yield
func.func @alone(%x: tensor<?x64xbf16>, %s: tensor<?x4xf32>, %bias: tensor<4xf32>,
    %w1: tensor<4x32x64xbf16>, %w3: tensor<4x32x64xbf16>, %w2: tensor<4x64x32xbf16>,
    %v1: tensor<32x64xbf16>, %v3: tensor<32x64xbf16>, %v2: tensor<64x32xbf16>) -> tensor<?x64xbf16> {
  %ids, %rw = dsv4.route_topk %s, %bias {factor = 1.5 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  %e = dsv4.experts %x, %ids, %rw, %w1, %w3, %w2 {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x64xbf16>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  %g = dsv4.linear %x, %v1 : (tensor<?x64xbf16>, tensor<32x64xbf16>) -> tensor<?x32xbf16>
  %u = dsv4.linear %x, %v3 : (tensor<?x64xbf16>, tensor<32x64xbf16>) -> tensor<?x32xbf16>
  %a = dsv4.swiglu %g, %u {limit = 10.0 : f64} : (tensor<?x32xbf16>, tensor<?x32xbf16>) -> tensor<?x32xbf16>
  %d = dsv4.linear %a, %v2 : (tensor<?x32xbf16>, tensor<64x32xbf16>) -> tensor<?x64xbf16>
  %y = dsv4.moe_combine %e, %d : (tensor<?x64xf32>, tensor<?x64xbf16>) -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}

// The last layer: the post-mix has no mix behind it.
// CHECK-LABEL: func.func @last
// CHECK: dsv4.fused{{ +<?}}experts
// CHECK-NEXT: dsv4.route_topk
// CHECK-NEXT: dsv4.experts
// CHECK-NEXT: dsv4.linear
// CHECK-NEXT: dsv4.linear
// CHECK-NEXT: dsv4.swiglu
// CHECK-NEXT: dsv4.linear
// CHECK-NEXT: dsv4.moe_combine
// CHECK-NEXT: dsv4.hc_post
// CHECK-NEXT: dsv4.yield
func.func @last(%x: tensor<?x64xbf16>, %s: tensor<?x4xf32>, %bias: tensor<4xf32>,
    %w1: tensor<4x32x64xbf16>, %w3: tensor<4x32x64xbf16>, %w2: tensor<4x64x32xbf16>,
    %v1: tensor<32x64xbf16>, %v3: tensor<32x64xbf16>, %v2: tensor<64x32xbf16>, %h: tensor<?x4x64xbf16>, %p: tensor<?x4xf32>, %c: tensor<?x4x4xf32>) -> tensor<?x4x64xbf16> {
  %ids, %rw = dsv4.route_topk %s, %bias {factor = 1.5 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  %e = dsv4.experts %x, %ids, %rw, %w1, %w3, %w2 {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x64xbf16>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  %g = dsv4.linear %x, %v1 : (tensor<?x64xbf16>, tensor<32x64xbf16>) -> tensor<?x32xbf16>
  %u = dsv4.linear %x, %v3 : (tensor<?x64xbf16>, tensor<32x64xbf16>) -> tensor<?x32xbf16>
  %a = dsv4.swiglu %g, %u {limit = 10.0 : f64} : (tensor<?x32xbf16>, tensor<?x32xbf16>) -> tensor<?x32xbf16>
  %d = dsv4.linear %a, %v2 : (tensor<?x32xbf16>, tensor<64x32xbf16>) -> tensor<?x64xbf16>
  %y = dsv4.moe_combine %e, %d : (tensor<?x64xf32>, tensor<?x64xbf16>) -> tensor<?x64xbf16>
  %n = dsv4.hc_post %y, %h, %p, %c : (tensor<?x64xbf16>, tensor<?x4x64xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>) -> tensor<?x4x64xbf16>
  return %n : tensor<?x4x64xbf16>
}

// The group of the next mix becomes part of it.
// CHECK-LABEL: func.func @between
// CHECK: dsv4.fused{{ +<?}}experts
// CHECK-NEXT: dsv4.route_topk
// CHECK-NEXT: dsv4.experts
// CHECK-NEXT: dsv4.linear
// CHECK-NEXT: dsv4.linear
// CHECK-NEXT: dsv4.swiglu
// CHECK-NEXT: dsv4.linear
// CHECK-NEXT: dsv4.moe_combine
// CHECK-NEXT: dsv4.hc_post
// CHECK-NEXT: dsv4.hc_pre
// CHECK-NEXT: dsv4.rms_norm
// CHECK-NEXT: dsv4.yield
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @between(%x: tensor<?x64xbf16>, %s: tensor<?x4xf32>, %bias: tensor<4xf32>,
    %w1: tensor<4x32x64xbf16>, %w3: tensor<4x32x64xbf16>, %w2: tensor<4x64x32xbf16>,
    %v1: tensor<32x64xbf16>, %v3: tensor<32x64xbf16>, %v2: tensor<64x32xbf16>, %h: tensor<?x4x64xbf16>, %p: tensor<?x4xf32>, %c: tensor<?x4x4xf32>,
    %fn: tensor<24x256xf32>, %base: tensor<24xf32>, %scale: tensor<3xf32>, %gain: tensor<64xbf16>)
    -> (tensor<?x64xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>) {
  %ids, %rw = dsv4.route_topk %s, %bias {factor = 1.5 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  %e = dsv4.experts %x, %ids, %rw, %w1, %w3, %w2 {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x64xbf16>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  %g = dsv4.linear %x, %v1 : (tensor<?x64xbf16>, tensor<32x64xbf16>) -> tensor<?x32xbf16>
  %u = dsv4.linear %x, %v3 : (tensor<?x64xbf16>, tensor<32x64xbf16>) -> tensor<?x32xbf16>
  %a = dsv4.swiglu %g, %u {limit = 10.0 : f64} : (tensor<?x32xbf16>, tensor<?x32xbf16>) -> tensor<?x32xbf16>
  %d = dsv4.linear %a, %v2 : (tensor<?x32xbf16>, tensor<64x32xbf16>) -> tensor<?x64xbf16>
  %y = dsv4.moe_combine %e, %d : (tensor<?x64xf32>, tensor<?x64xbf16>) -> tensor<?x64xbf16>
  %n = dsv4.hc_post %y, %h, %p, %c : (tensor<?x64xbf16>, tensor<?x4x64xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>) -> tensor<?x4x64xbf16>
  %m, %post, %comb = dsv4.hc_pre %n, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 20} : (tensor<?x4x64xbf16>, tensor<24x256xf32>, tensor<24xf32>, tensor<3xf32>) -> (tensor<?x64xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
  %o = dsv4.rms_norm %m, %gain {eps = 1.0e-6 : f64} : (tensor<?x64xbf16>, tensor<64xbf16>) -> tensor<?x64xbf16>
  return %o, %post, %comb : tensor<?x64xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>
}

// The choice is wanted by something else, too.
// CHECK-LABEL: func.func @choice_escapes
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @choice_escapes(%x: tensor<?x64xbf16>, %s: tensor<?x4xf32>, %bias: tensor<4xf32>,
    %w1: tensor<4x32x64xbf16>, %w3: tensor<4x32x64xbf16>, %w2: tensor<4x64x32xbf16>,
    %v1: tensor<32x64xbf16>, %v3: tensor<32x64xbf16>, %v2: tensor<64x32xbf16>) -> (tensor<?x64xbf16>, tensor<?x2xi32>) {
  %ids, %rw = dsv4.route_topk %s, %bias {factor = 1.5 : f64} : (tensor<?x4xf32>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  %e = dsv4.experts %x, %ids, %rw, %w1, %w3, %w2 {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x64xbf16>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x32x64xbf16>, tensor<4x32x64xbf16>, tensor<4x64x32xbf16>) -> tensor<?x64xf32>
  %g = dsv4.linear %x, %v1 : (tensor<?x64xbf16>, tensor<32x64xbf16>) -> tensor<?x32xbf16>
  %u = dsv4.linear %x, %v3 : (tensor<?x64xbf16>, tensor<32x64xbf16>) -> tensor<?x32xbf16>
  %a = dsv4.swiglu %g, %u {limit = 10.0 : f64} : (tensor<?x32xbf16>, tensor<?x32xbf16>) -> tensor<?x32xbf16>
  %d = dsv4.linear %a, %v2 : (tensor<?x32xbf16>, tensor<64x32xbf16>) -> tensor<?x64xbf16>
  %y = dsv4.moe_combine %e, %d : (tensor<?x64xf32>, tensor<?x64xbf16>) -> tensor<?x64xbf16>
  return %y, %ids : tensor<?x64xbf16>, tensor<?x2xi32>
}

// CHECK-LABEL: func.func @none
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @none(%e: tensor<?x64xf32>, %d: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %y = dsv4.moe_combine %e, %d : (tensor<?x64xf32>, tensor<?x64xbf16>) -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}
