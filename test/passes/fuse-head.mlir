// RUN: fathom-opt %s -fathom-fuse-head | FileCheck %s
// RUN: fathom-opt %s -fathom-fuse-head -fathom-pass-counts -o /dev/null 2>&1 | FileCheck %s --check-prefix=COUNT
// COUNT: {{^}}fathom-fuse-head: groups 1, left 1, operations 4{{$}}

// CHECK-LABEL: func.func @head
// CHECK: %[[LOGITS:.*]] = dsv4.fused head
// CHECK-NEXT: dsv4.select_rows
// CHECK-NEXT: dsv4.hc_head
// CHECK-NEXT: dsv4.rms_norm
// CHECK-NEXT: %[[Y:.*]] = dsv4.linear
// CHECK-NEXT: dsv4.yield %[[Y]]
// CHECK: return %[[LOGITS]]
func.func @head(%h: tensor<?x4x256xbf16>, %rows: tensor<?xi32>, %fn: tensor<4x1024xf32>, %base: tensor<4xf32>,
                %scale: tensor<1xf32>, %g: tensor<256xbf16>, %w: tensor<97x256xbf16>) -> tensor<?x97xf32> {
  %s = dsv4.select_rows %h, %rows : (tensor<?x4x256xbf16>, tensor<?xi32>) -> tensor<?x4x256xbf16>
  %x = dsv4.hc_head %s, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64} : (tensor<?x4x256xbf16>, tensor<4x1024xf32>, tensor<4xf32>, tensor<1xf32>) -> tensor<?x256xbf16>
  %n = dsv4.rms_norm %x, %g {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  %y = dsv4.linear %n, %w : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %y : tensor<?x97xf32>
}

// The mixed row is wanted by something else, too.
// CHECK-LABEL: func.func @mix_escapes
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @mix_escapes(%h: tensor<?x4x256xbf16>, %rows: tensor<?xi32>, %fn: tensor<4x1024xf32>, %base: tensor<4xf32>,
                       %scale: tensor<1xf32>, %g: tensor<256xbf16>, %w: tensor<97x256xbf16>) -> (tensor<?x97xf32>, tensor<?x256xbf16>) {
  %s = dsv4.select_rows %h, %rows : (tensor<?x4x256xbf16>, tensor<?xi32>) -> tensor<?x4x256xbf16>
  %x = dsv4.hc_head %s, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64} : (tensor<?x4x256xbf16>, tensor<4x1024xf32>, tensor<4xf32>, tensor<1xf32>) -> tensor<?x256xbf16>
  %n = dsv4.rms_norm %x, %g {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  %y = dsv4.linear %n, %w : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %y, %x : tensor<?x97xf32>, tensor<?x256xbf16>
}

// No rows are selected.
// CHECK-LABEL: func.func @none
// CHECK-NOT: dsv4.fused
// CHECK: return
func.func @none(%x: tensor<?x256xbf16>, %g: tensor<256xbf16>) -> tensor<?x256xbf16> {
  %n = dsv4.rms_norm %x, %g {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  return %n : tensor<?x256xbf16>
}
