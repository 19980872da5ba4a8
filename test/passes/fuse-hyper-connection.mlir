// RUN: fathom-opt %s -fathom-fuse-hyper-connection | FileCheck %s
// RUN: fathom-opt %s -fathom-fuse-hyper-connection -fathom-pass-counts -o /dev/null 2>&1 | FileCheck %s --check-prefix=COUNT
// COUNT: {{^}}fathom-fuse-hyper-connection: groups 2, left 1, operations 8{{$}}

// Behind attention: the output projection to the router's scores. The streams,
// the mix of the next post-mix, the norm and the scores are used elsewhere.
// CHECK-LABEL: func.func @whole
// CHECK: %[[G:.*]]:6 = dsv4.fused{{ +<?}}hyper_connection
// CHECK-NEXT: dsv4.linear
// CHECK-NEXT: dsv4.hc_post
// CHECK-NEXT: dsv4.hc_pre
// CHECK-NEXT: dsv4.rms_norm
// CHECK-NEXT: dsv4.fake_quantize
// CHECK-NEXT: dsv4.gate
// CHECK-NEXT: dsv4.yield
// CHECK: dsv4.linear %[[G]]#4
// CHECK: return %[[G]]#0, %[[G]]#1, %[[G]]#2, %[[G]]#3, %[[G]]#5
func.func @whole(%u: tensor<?x64xbf16>, %w: tensor<256x64xbf16>, %h: tensor<?x4x256xbf16>, %p: tensor<?x4xf32>,
                 %c: tensor<?x4x4xf32>, %fn: tensor<24x1024xf32>, %base: tensor<24xf32>, %scale: tensor<3xf32>,
                 %g: tensor<256xbf16>, %r: tensor<8x256xbf16>)
    -> (tensor<?x4x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>, tensor<?x256xbf16>, tensor<?x8xf32>, tensor<?x8xbf16>) {
  %y = dsv4.linear %u, %w : (tensor<?x64xbf16>, tensor<256x64xbf16>) -> tensor<?x256xbf16>
  %n = dsv4.hc_post %y, %h, %p, %c : (tensor<?x256xbf16>, tensor<?x4x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>) -> tensor<?x4x256xbf16>
  %x, %post, %comb = dsv4.hc_pre %n, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 20} : (tensor<?x4x256xbf16>, tensor<24x1024xf32>, tensor<24xf32>, tensor<3xf32>) -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
  %a = dsv4.rms_norm %x, %g {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  %q = dsv4.fake_quantize %a {format = #dsv4.format<e4m3>, block = 128, channels = 256} : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
  %s = dsv4.gate %a, %r : (tensor<?x256xbf16>, tensor<8x256xbf16>) -> tensor<?x8xf32>
  %z = dsv4.linear %q, %r : (tensor<?x256xbf16>, tensor<8x256xbf16>) -> tensor<?x8xbf16>
  return %n, %post, %comb, %a, %s, %z : tensor<?x4x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>, tensor<?x256xbf16>, tensor<?x8xf32>, tensor<?x8xbf16>
}

// The first layer: no post-mix before it.
// CHECK-LABEL: func.func @first
// CHECK: dsv4.fused{{ +<?}}hyper_connection
// CHECK-NEXT: dsv4.hc_pre
// CHECK-NEXT: dsv4.rms_norm
// CHECK-NEXT: dsv4.yield
func.func @first(%h: tensor<?x4x256xbf16>, %fn: tensor<24x1024xf32>, %base: tensor<24xf32>, %scale: tensor<3xf32>,
                 %g: tensor<256xbf16>) -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>) {
  %x, %post, %comb = dsv4.hc_pre %h, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 20} : (tensor<?x4x256xbf16>, tensor<24x1024xf32>, tensor<24xf32>, tensor<3xf32>) -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
  %a = dsv4.rms_norm %x, %g {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  return %a, %post, %comb : tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>
}

// The mixed row is wanted by something else, too.
// CHECK-LABEL: func.func @mix_escapes
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @mix_escapes(%h: tensor<?x4x256xbf16>, %fn: tensor<24x1024xf32>, %base: tensor<24xf32>, %scale: tensor<3xf32>,
                       %g: tensor<256xbf16>) -> (tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>) {
  %x, %post, %comb = dsv4.hc_pre %h, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 20} : (tensor<?x4x256xbf16>, tensor<24x1024xf32>, tensor<24xf32>, tensor<3xf32>) -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
  %a = dsv4.rms_norm %x, %g {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  return %a, %x, %post, %comb : tensor<?x256xbf16>, tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>
}

// CHECK-LABEL: func.func @none
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @none(%x: tensor<?x256xbf16>, %g: tensor<256xbf16>) -> tensor<?x256xbf16> {
  %n = dsv4.rms_norm %x, %g {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  return %n : tensor<?x256xbf16>
}
