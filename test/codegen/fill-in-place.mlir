// What is made to become a part of a buffer is made there, unless something else
// looks at either in between, or the part's place is not known.
// RUN: fathom-opt --fathom-cpu-fill-in-place %s | FileCheck %s

// CHECK-LABEL: func.func @pieces
// CHECK: %[[ALL:.*]] = memref.alloc() : memref<4x32xf32>
// CHECK-DAG: %[[LEFT:.*]] = memref.subview %[[ALL]][0, 0] [4, 16] [1, 1]
// CHECK-DAG: %[[RIGHT:.*]] = memref.subview %[[ALL]][0, 16] [4, 16] [1, 1]
// CHECK-NOT: memref.alloc
// CHECK: scf.for
// CHECK: vector.store %{{.*}}, %[[LEFT]]
// CHECK: linalg.generic {{.*}} outs(%[[RIGHT]] : memref<4x16xf32, strided<[32, 1], offset: 16>>)
// CHECK-NOT: memref.copy
func.func @pieces(%x: memref<4x16xf32>, %o: memref<4x32xf32>) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %four = arith.constant 4 : index
  %a = memref.alloc() : memref<4x16xf32>
  scf.for %i = %zero to %four step %one {
    %v = vector.load %x[%i, %zero] : memref<4x16xf32>, vector<16xf32>
    vector.store %v, %a[%i, %zero] : memref<4x16xf32>, vector<16xf32>
  }
  %all = memref.alloc() : memref<4x32xf32>
  %left = memref.subview %all[0, 0] [4, 16] [1, 1] : memref<4x32xf32> to memref<4x16xf32, strided<[32, 1]>>
  memref.copy %a, %left : memref<4x16xf32> to memref<4x16xf32, strided<[32, 1]>>
  %b = memref.alloc() : memref<4x16xf32>
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]} ins(%x : memref<4x16xf32>) outs(%b : memref<4x16xf32>) {
  ^bb0(%in: f32, %out: f32):
    %n = arith.negf %in : f32
    linalg.yield %n : f32
  }
  %right = memref.subview %all[0, 16] [4, 16] [1, 1] : memref<4x32xf32> to memref<4x16xf32, strided<[32, 1], offset: 16>>
  memref.copy %b, %right : memref<4x16xf32> to memref<4x16xf32, strided<[32, 1], offset: 16>>
  scf.for %i = %zero to %four step %one {
    %v = vector.load %all[%i, %zero] : memref<4x32xf32>, vector<32xf32>
    vector.store %v, %o[%i, %zero] : memref<4x32xf32>, vector<32xf32>
  }
  return
}

// The part is read while the buffer is filled.
// CHECK-LABEL: func.func @exchanged
// CHECK: memref.copy
func.func @exchanged(%o: memref<32xf32>) {
  %zero = arith.constant 0 : index
  %sixteen = arith.constant 16 : index
  %all = memref.alloc() : memref<32xf32>
  %ones = arith.constant dense<1.0> : vector<16xf32>
  vector.store %ones, %all[%zero] : memref<32xf32>, vector<16xf32>
  vector.store %ones, %all[%sixteen] : memref<32xf32>, vector<16xf32>
  %a = memref.alloc() : memref<16xf32>
  %v = vector.load %all[%sixteen] : memref<32xf32>, vector<16xf32>
  vector.store %v, %a[%zero] : memref<16xf32>, vector<16xf32>
  %part = memref.subview %all[0] [16] [1] : memref<32xf32> to memref<16xf32, strided<[1]>>
  memref.copy %a, %part : memref<16xf32> to memref<16xf32, strided<[1]>>
  %w = vector.load %all[%zero] : memref<32xf32>, vector<32xf32>
  vector.store %w, %o[%zero] : memref<32xf32>, vector<32xf32>
  return
}

// It is read by the part's own name.
// CHECK-LABEL: func.func @exchanged_by_name
// CHECK: memref.copy
func.func @exchanged_by_name(%o: memref<32xf32>) {
  %zero = arith.constant 0 : index
  %all = memref.alloc() : memref<32xf32>
  %ones = arith.constant dense<1.0> : vector<32xf32>
  vector.store %ones, %all[%zero] : memref<32xf32>, vector<32xf32>
  %part = memref.subview %all[0] [16] [1] : memref<32xf32> to memref<16xf32, strided<[1]>>
  %a = memref.alloc() : memref<16xf32>
  %twos = arith.constant dense<2.0> : vector<16xf32>
  vector.store %twos, %a[%zero] : memref<16xf32>, vector<16xf32>
  %v = vector.load %part[%zero] : memref<16xf32, strided<[1]>>, vector<16xf32>
  memref.copy %a, %part : memref<16xf32> to memref<16xf32, strided<[1]>>
  %w = vector.load %all[%zero] : memref<32xf32>, vector<32xf32>
  vector.store %w, %o[%zero] : memref<32xf32>, vector<32xf32>
  vector.store %v, %o[%zero] : memref<32xf32>, vector<16xf32>
  return
}

// The buffer is used after the copy, too.
// CHECK-LABEL: func.func @kept
// CHECK: memref.copy
func.func @kept(%o: memref<32xf32>) {
  %zero = arith.constant 0 : index
  %sixteen = arith.constant 16 : index
  %ones = arith.constant dense<1.0> : vector<16xf32>
  %a = memref.alloc() : memref<16xf32>
  vector.store %ones, %a[%zero] : memref<16xf32>, vector<16xf32>
  %all = memref.alloc() : memref<32xf32>
  %part = memref.subview %all[0] [16] [1] : memref<32xf32> to memref<16xf32, strided<[1]>>
  memref.copy %a, %part : memref<16xf32> to memref<16xf32, strided<[1]>>
  %v = vector.load %a[%zero] : memref<16xf32>, vector<16xf32>
  vector.store %v, %all[%sixteen] : memref<32xf32>, vector<16xf32>
  %w = vector.load %all[%zero] : memref<32xf32>, vector<32xf32>
  vector.store %w, %o[%zero] : memref<32xf32>, vector<32xf32>
  return
}

// Where the part begins is not known when compiling; the buffer is not a whole
// one but of a loop around it.
// CHECK-LABEL: func.func @elsewhere
// CHECK-COUNT-2: memref.copy
func.func @elsewhere(%at: index, %o: memref<32xf32>) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %ones = arith.constant dense<1.0> : vector<16xf32>
  %all = memref.alloc() : memref<32xf32>
  %a = memref.alloc() : memref<16xf32>
  vector.store %ones, %a[%zero] : memref<16xf32>, vector<16xf32>
  %part = memref.subview %all[%at] [16] [1] : memref<32xf32> to memref<16xf32, strided<[1], offset: ?>>
  memref.copy %a, %part : memref<16xf32> to memref<16xf32, strided<[1], offset: ?>>
  scf.for %i = %zero to %one step %one {
    %b = memref.alloc() : memref<16xf32>
    vector.store %ones, %b[%zero] : memref<16xf32>, vector<16xf32>
    %first = memref.subview %all[0] [16] [1] : memref<32xf32> to memref<16xf32, strided<[1]>>
    memref.copy %b, %first : memref<16xf32> to memref<16xf32, strided<[1]>>
  }
  %w = vector.load %all[%zero] : memref<32xf32>, vector<32xf32>
  vector.store %w, %o[%zero] : memref<32xf32>, vector<32xf32>
  return
}
