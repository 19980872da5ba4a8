// RUN: not fathom-opt --fathom-cpu-approximate-math %s 2>&1 | FileCheck %s

func.func @f(%x: vector<16xf32>) -> vector<16xf32> {
  // CHECK: error: 'math.sin' op has no code on the CPU
  %y = math.sin %x : vector<16xf32>
  return %y : vector<16xf32>
}
