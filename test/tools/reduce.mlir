// The reducer shrinks a module of ours to what a script finds interesting.
// REQUIRES: fathom-reduce
// RUN: fathom-reduce %s -reduction-tree='traversal-mode=0 test=%S/Inputs/has-hadamard.sh' | FileCheck %s
// So do passes, upstream's and ours.
// RUN: fathom-reduce %s -opt-reduction-pass='opt-pass=fathom-merge-launches,canonicalize test=%S/Inputs/has-hadamard.sh' | FileCheck %s --check-prefix=PASS

// CHECK-NOT: @unneeded
// CHECK: dsv4.hadamard
func.func @unneeded(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = dsv4.scale %x {factor = 2.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}
// PASS-LABEL: @needed
// PASS-NOT: dsv4.scale
// PASS: dsv4.hadamard
func.func @needed(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %dead = dsv4.scale %x {factor = 2.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %0 = dsv4.hadamard %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}
