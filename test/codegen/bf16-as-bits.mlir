// RUN: fathom-opt --fathom-cpu-bf16-as-bits %s | FileCheck %s

// Between blocks, and between the loads and stores of a copy, there is no bf16:
// a level without registers for it would round such a value again.
// CHECK-LABEL: llvm.func @moves
// CHECK-NOT: bf16
// CHECK: llvm.mlir.constant(dense<16256> : vector<16xi16>) : vector<16xi16>
// CHECK: llvm.load %{{.*}} {alignment = 2 : i64} : !llvm.ptr -> vector<16xi16>
// CHECK: ^bb2(%{{.*}}: vector<16xi16>)
// CHECK: llvm.shufflevector {{.*}} : vector<16xi16>
// CHECK-NOT: llvm.bitcast
// CHECK: llvm.store {{.*}} : vector<16xi16>, !llvm.ptr
// CHECK: llvm.return
llvm.func @moves(%p: !llvm.ptr, %c: i1) {
  %one = llvm.mlir.constant(dense<1.0> : vector<16xbf16>) : vector<16xbf16>
  llvm.cond_br %c, ^bb1, ^bb2(%one : vector<16xbf16>)
^bb1:
  %x = llvm.load %p {alignment = 2 : i64} : !llvm.ptr -> vector<16xbf16>
  llvm.br ^bb2(%x : vector<16xbf16>)
^bb2(%y: vector<16xbf16>):
  %z = llvm.shufflevector %y, %y [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] : vector<16xbf16>
  %bits = llvm.bitcast %z : vector<16xbf16> to vector<16xi16>
  llvm.store %bits, %p : vector<16xi16>, !llvm.ptr
  llvm.return
}

// What computes on bf16 keeps it.
// CHECK-LABEL: llvm.func @computes
// CHECK: %[[X:.*]] = llvm.load %{{.*}} : !llvm.ptr -> vector<32xi16>
// CHECK: %[[F:.*]] = llvm.bitcast %[[X]] : vector<32xi16> to vector<32xbf16>
// CHECK: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%{{.*}}, %[[F]], %{{.*}}) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
// CHECK: %[[N:.*]] = llvm.call_intrinsic "llvm.x86.avx512bf16.cvtneps2bf16.512"(%{{.*}}) : (vector<16xf32>) -> vector<16xbf16>
// CHECK: %[[B:.*]] = llvm.bitcast %[[N]] : vector<16xbf16> to vector<16xi16>
// CHECK: llvm.store %[[B]], %{{.*}} : vector<16xi16>, !llvm.ptr
llvm.func @computes(%p: !llvm.ptr, %acc: vector<16xf32>) {
  %x = llvm.load %p : !llvm.ptr -> vector<32xbf16>
  %y = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%acc, %x, %x) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
  %n = llvm.call_intrinsic "llvm.x86.avx512bf16.cvtneps2bf16.512"(%y) : (vector<16xf32>) -> vector<16xbf16>
  llvm.store %n, %p : vector<16xbf16>, !llvm.ptr
  llvm.return
}
