// RUN: fathom-opt --fathom-cpu-choose-tokens=isa=x86-64-v4 %s | FileCheck %s --check-prefixes=CHECK,ALL
// RUN: fathom-opt --fathom-cpu-choose-tokens=isa=x86-64-v4-bf16 %s | FileCheck %s --check-prefixes=CHECK,ALL
// RUN: fathom-opt --fathom-cpu-choose-tokens=isa=x86-64-v4-amx %s | FileCheck %s --check-prefixes=CHECK,TWO
// RUN: fathom-opt --fathom-cpu-choose-tokens=isa=x86-64-v3 %s | FileCheck %s --check-prefixes=CHECK,ALL

// What a loop covers that is left out goes to the next; of the last, to the one
// before.
// CHECK-LABEL: tile.kernel @four(
// CHECK-SAME: %[[O:[^:]*]]:
// CHECK: %[[S8:.*]] = memref.load {{.*}}[%c0]
// CHECK: %[[S4:.*]] = memref.load {{.*}}[%c1]
// CHECK: %[[S2:.*]] = memref.load {{.*}}[%c2]
// CHECK: %[[END:.*]] = memref.load {{.*}}[%c3]
// TWO: scf.for %{{.*}} = %c0 to %[[S8]] step %c8
// TWO: scf.for %{{.*}} = %[[S8]] to %[[END]] step %c4
// TWO-NOT: scf.for
// ALL: scf.for %{{.*}} = %c0 to %[[S8]] step %c8
// ALL: scf.for %{{.*}} = %[[S8]] to %[[S4]] step %c4
// ALL: scf.for %{{.*}} = %[[S4]] to %[[S2]] step %c2
// ALL: scf.for %{{.*}} = %[[S2]] to %[[END]] step %c1
// ALL-NOT: scf.for
// CHECK: tile.return
tile.kernel @four(%s: memref<4xindex>, %o: memref<64xindex>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %s8 = memref.load %s[%c0] : memref<4xindex>
  %s4 = memref.load %s[%c1] : memref<4xindex>
  %s2 = memref.load %s[%c2] : memref<4xindex>
  %end = memref.load %s[%c3] : memref<4xindex>
  scf.for %t = %c0 to %s8 step %c8 {
    memref.store %c8, %o[%t] : memref<64xindex>
  } {tile.tokens = 8 : i64}
  scf.for %t = %s8 to %s4 step %c4 {
    memref.store %c4, %o[%t] : memref<64xindex>
  } {tile.tokens = 4 : i64}
  scf.for %t = %s4 to %s2 step %c2 {
    memref.store %c2, %o[%t] : memref<64xindex>
  } {tile.tokens = 2 : i64}
  scf.for %t = %s2 to %end step %c1 {
    memref.store %c1, %o[%t] : memref<64xindex>
  } {tile.tokens = 1 : i64}
  tile.return
}

// A vector kernel makes no more of a large tile than is there: one size of them.
// CHECK-LABEL: tile.kernel @two(
// CHECK: %[[S32:.*]] = memref.load {{.*}}[%c0]
// CHECK: %[[END:.*]] = memref.load {{.*}}[%c1]
// TWO: scf.for %{{.*}} = %c0 to %[[S32]] step %c32
// TWO: scf.for %{{.*}} = %[[S32]] to %[[END]] step %c16
// ALL: scf.for %{{.*}} = %c0 to %[[END]] step %c32
// ALL-NOT: scf.for
// CHECK: tile.return
tile.kernel @two(%s: memref<2xindex>, %o: memref<64xindex>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  %c32 = arith.constant 32 : index
  %s32 = memref.load %s[%c0] : memref<2xindex>
  %end = memref.load %s[%c1] : memref<2xindex>
  scf.for %t = %c0 to %s32 step %c32 {
    memref.store %c32, %o[%t] : memref<64xindex>
  } {tile.tokens = 32 : i64}
  scf.for %t = %s32 to %end step %c16 {
    memref.store %c16, %o[%t] : memref<64xindex>
  } {tile.tokens = 16 : i64}
  tile.return
}

// Loops without the mark, and a marked one that has nobody beside it to cover
// for it, stay.
// CHECK-LABEL: tile.kernel @others(
// CHECK: scf.for {{.*}} to %c4 step %c2
// CHECK: scf.for {{.*}} = %c4 to %c8 step %c1
// CHECK: scf.for {{.*}} = %c0 to %c4 step %c8
// CHECK: scf.for {{.*}} = %c0 to %c4 step %c2
// CHECK: scf.for {{.*}} = %c0 to %c4 step %c1
// CHECK: tile.return
tile.kernel @others(%o: memref<64xindex>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  scf.for %t = %c0 to %c4 step %c2 {
    memref.store %c2, %o[%t] : memref<64xindex>
  }
  scf.for %t = %c4 to %c8 step %c1 {
    memref.store %c1, %o[%t] : memref<64xindex>
  }
  scf.for %t = %c0 to %c4 step %c8 {
    memref.store %c8, %o[%t] : memref<64xindex>
  } {tile.tokens = 8 : i64}
  scf.for %t = %c0 to %c4 step %c2 {
    memref.store %c2, %o[%t] : memref<64xindex>
  } {tile.tokens = 2 : i64}
  scf.for %t = %c0 to %c4 step %c1 {
    memref.store %c1, %o[%t] : memref<64xindex>
  } {tile.tokens = 1 : i64}
  tile.return
}
