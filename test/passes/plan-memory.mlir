// RUN: fathom-opt %s -fathom-plan-memory -split-input-file -verify-diagnostics | FileCheck %s

#tokens = affine_map<(d0, d1) -> (d0)>

tile.kernel @k(%x: memref<?x16xf32>, %y: memref<?x16xf32>) {
  tile.return
}
tile.kernel @flat(%x: memref<?xf32>, %y: memref<?x16xf32>) {
  tile.return
}
tile.kernel @four(%a: memref<?x64xf32>, %b: memref<?x64xf32>,
                  %c: memref<?x64xf32>, %d: memref<?x64xf32>) {
  tile.return
}

// A chain needs two buffers: the third has the first one's bytes. 16 tokens of
// 64 bytes are 1024 bytes.
// CHECK-LABEL: func.func @chain
// CHECK-SAME: tile.workspace_bytes = 2048 : i64
func.func @chain(%t: index {tile.port = "count.tokens"}, %r: index {tile.port = "count.rows"},
                 %in: memref<?x16xf32> {tile.port = "streams"},
                 %out: memref<?x16xf32> {tile.port = "logits", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 16 : i64} {
  // CHECK: memref.alloc{{.*}}tile.offset = 0 : i64
  // CHECK: memref.alloc{{.*}}tile.offset = 1024 : i64
  // CHECK: memref.alloc{{.*}}tile.offset = 0 : i64
  %a = memref.alloc(%t) : memref<?x16xf32>
  %b = memref.alloc(%t) : memref<?x16xf32>
  %c = memref.alloc(%r) : memref<?x16xf32>
  tile.launch @k #tokens(%in, %a) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @k #tokens(%a, %b) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @k #tokens(%b, %c) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @k #tokens(%c, %out) : memref<?x16xf32>, memref<?x16xf32>
  return
}

// A view keeps its buffer alive; sizes may be products of counts.
// CHECK-LABEL: func.func @views
// CHECK-SAME: tile.workspace_bytes = 3072 : i64
func.func @views(%t: index {tile.port = "count.tokens"},
                 %in: memref<?x16xf32> {tile.port = "streams"},
                 %out: memref<?x16xf32> {tile.port = "logits", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  %c8 = arith.constant 8 : index
  %n = arith.muli %t, %c8 : index
  // CHECK: memref.alloc{{.*}}tile.offset = 0 : i64{{.*}}memref<?x16xf32>
  %a = memref.alloc(%n) : memref<?x16xf32>
  %flat = memref.collapse_shape %a [[0, 1]] : memref<?x16xf32> into memref<?xf32>
  // The larger of the two, though it comes later, has the lower place.
  // CHECK: memref.alloc{{.*}}tile.offset = 2816 : i64
  // CHECK: memref.alloc{{.*}}tile.offset = 2048 : i64
  %b = memref.alloc(%t) : memref<?x16xf32>
  %c = memref.alloc() : memref<12x16xf32>
  %d = memref.cast %c : memref<12x16xf32> to memref<?x16xf32>
  tile.launch @k #tokens(%in, %a) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @k #tokens(%in, %b) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @k #tokens(%b, %d) : memref<?x16xf32>, memref<?x16xf32>
  tile.launch @flat #tokens(%flat, %out) : memref<?xf32>, memref<?x16xf32>
  tile.launch @k #tokens(%d, %out) : memref<?x16xf32>, memref<?x16xf32>
  return
}

// Views from the start of a buffer, which the last launch keeps alive.
// CHECK-LABEL: func.func @views_from_the_start
// CHECK-SAME: tile.workspace_bytes = 512 : i64
func.func @views_from_the_start(%t: index {tile.port = "count.tokens"},
                                %out: memref<?x16xf32> {tile.port = "logits", tile.output})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  %a = memref.alloc() : memref<64xf32>
  %b = memref.alloc() : memref<64xf32>
  %part = memref.subview %a[0] [%t] [1] : memref<64xf32> to memref<?xf32, strided<[1]>>
  %first = memref.cast %part : memref<?xf32, strided<[1]>> to memref<?xf32>
  %second = memref.cast %b : memref<64xf32> to memref<?xf32>
  %same = memref.reinterpret_cast %a to offset: [0], sizes: [%t], strides: [1]
      : memref<64xf32> to memref<?xf32, strided<[1]>>
  %third = memref.cast %same : memref<?xf32, strided<[1]>> to memref<?xf32>
  tile.launch @flat #tokens(%first, %out) : memref<?xf32>, memref<?x16xf32>
  tile.launch @flat #tokens(%second, %out) : memref<?xf32>, memref<?x16xf32>
  tile.launch @flat #tokens(%third, %out) : memref<?xf32>, memref<?x16xf32>
  return
}

// Of at most 10 tokens; rows are of 256 bytes.
// CHECK-LABEL: func.func @bounds
// CHECK-SAME: tile.workspace_bytes = 4608 : i64
func.func @bounds(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 10 : i64} {
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %c7 = arith.constant 7 : index
  %three = arith.ceildivui %t, %c4 : index
  %four = arith.ceildivsi %t, %c3 : index
  %seven = arith.maxsi %three, %c7 : index
  %least = arith.minui %t, %c4 : index
  // From the largest on.
  // CHECK: memref.alloc{{.*}}tile.offset = 3840 : i64
  // CHECK: memref.alloc{{.*}}tile.offset = 1792 : i64
  // CHECK: memref.alloc{{.*}}tile.offset = 0 : i64
  // CHECK: memref.alloc{{.*}}tile.offset = 2816 : i64
  %a = memref.alloc(%three) : memref<?x64xf32>
  %b = memref.alloc(%four) : memref<?x64xf32>
  %c = memref.alloc(%seven) : memref<?x64xf32>
  %d = memref.alloc(%least) : memref<?x64xf32>
  tile.launch @four #tokens(%a, %b, %c, %d)
      : memref<?x64xf32>, memref<?x64xf32>, memref<?x64xf32>, memref<?x64xf32>
  return
}

// Other functions are left alone.
// CHECK-LABEL: func.func @other
// CHECK-NOT: tile.offset
func.func @other() {
  %a = memref.alloc() : memref<4xf32>
  return
}

// -----

func.func @unknown_size(%t: index {tile.port = "count.tokens"}, %x: index {tile.port = "other"})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  // expected-error @+1 {{size 0 is not an expression of the schedule's counts whose maximum is known}}
  %a = memref.alloc(%x) : memref<?x16xf32>
  return
}

// -----

// expected-error @+1 {{needs tile.max_tokens, a positive number of tokens}}
func.func @no_maximum() attributes {tile.entry = "step"} {
  return
}

// -----

func.func @too_large(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 1099511627776 : i64} {
  // expected-error @+1 {{needs more memory than can be addressed at 1099511627776 tokens}}
  %a = memref.alloc(%t) : memref<?x4096xf32>
  return
}

// -----

tile.kernel @k(%x: memref<?xf32>) {
  tile.return
}
func.func @inner_view(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  %a = memref.alloc() : memref<64xi8>
  %c4 = arith.constant 4 : index
  %b = memref.view %a[%c4][%t] : memref<64xi8> to memref<?xf32>
  // expected-error @+1 {{uses a view that starts inside its buffer}}
  tile.launch @k affine_map<(d0, d1) -> (d0)>(%b) : memref<?xf32>
  return
}

// -----

tile.kernel @k(%x: memref<?xf32>) {
  tile.return
}
func.func @inner_subview(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  %a = memref.alloc() : memref<64xf32>
  %b = memref.subview %a[%t] [%t] [1] : memref<64xf32> to memref<?xf32, strided<[1], offset: ?>>
  %c = memref.cast %b : memref<?xf32, strided<[1], offset: ?>> to memref<?xf32>
  // expected-error @+1 {{uses a view that starts inside its buffer}}
  tile.launch @k affine_map<(d0, d1) -> (d0)>(%c) : memref<?xf32>
  return
}

// -----

tile.kernel @k(%x: memref<?xf32>) {
  tile.return
}
func.func @inner_cast(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  %a = memref.alloc() : memref<64xf32>
  %b = memref.reinterpret_cast %a to offset: [%t], sizes: [%t], strides: [1]
      : memref<64xf32> to memref<?xf32, strided<[1], offset: ?>>
  %c = memref.cast %b : memref<?xf32, strided<[1], offset: ?>> to memref<?xf32>
  // expected-error @+1 {{uses a view that starts inside its buffer}}
  tile.launch @k affine_map<(d0, d1) -> (d0)>(%c) : memref<?xf32>
  return
}

// -----

func.func @layout(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  // expected-error @+1 {{has a type that memory planning does not place: 'memref<4xf32, strided<[2]>>'}}
  %a = memref.alloc() : memref<4xf32, strided<[2]>>
  return
}

// -----

func.func @element(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  // expected-error @+1 {{has a type that memory planning does not place: 'memref<4xindex>'}}
  %a = memref.alloc() : memref<4xindex>
  return
}

// -----

// expected-error @+1 {{a step schedule has one block}}
func.func @blocks(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  cf.br ^end
^end:
  return
}

// -----

func.func @copies(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  %a = memref.alloc() : memref<4xf32>
  %b = memref.alloc() : memref<4xf32>
  // expected-error @+1 {{uses a buffer; in a step schedule only tile.launch does}}
  memref.copy %a, %b : memref<4xf32> to memref<4xf32>
  return
}

// -----

func.func @region(%t: index {tile.port = "count.tokens"}, %p: i1 {tile.port = "p"})
    attributes {tile.entry = "step", tile.max_tokens = 4 : i64} {
  // expected-error @+1 {{has a region; a step schedule is straight-line}}
  scf.if %p {
  }
  return
}

// -----

// Rows by number: of an argument, and of what a called kernel takes so.
tile.kernel @part(%x: memref<?x16xf32>, %n: memref<4xi32>, %y: memref<?x16xf32>) {
  %zero = arith.constant 0 : index
  %r = tile.load %n[%zero] : memref<4xi32> -> tensor<4xi32>
  %v = tile.gather %x[%r] : memref<?x16xf32>, tensor<4xi32> -> tensor<4x16xf32>
  tile.store %v, %y[%zero, %zero] : tensor<4x16xf32>, memref<?x16xf32>
  tile.return
}
tile.kernel @whole(%n: memref<4xi32>, %x: memref<?x16xf32>, %y: memref<?x16xf32>) {
  %zero = arith.constant 0 : index
  tile.call @part(%x, %n, %y) at (%zero, %zero, %zero) : memref<?x16xf32>, memref<4xi32>, memref<?x16xf32>
  tile.return
}
func.func @most_rows(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 2147483647 : i64} {
  %x = memref.alloc(%t) : memref<?x16xf32>
  %y = memref.alloc() : memref<4x16xf32>
  %n = memref.alloc() : memref<4xi32>
  %z = memref.cast %y : memref<4x16xf32> to memref<?x16xf32>
  tile.launch @whole affine_map<(d0, d1) -> (d0)>(%n, %x, %z) : memref<4xi32>, memref<?x16xf32>, memref<?x16xf32>
  return
}
func.func @too_many_rows(%t: index {tile.port = "count.tokens"})
    attributes {tile.entry = "step", tile.max_tokens = 2147483648 : i64} {
  %x = memref.alloc(%t) : memref<?x16xf32>
  %y = memref.alloc(%t) : memref<?x16xf32>
  %n = memref.alloc() : memref<4xi32>
  // expected-error @+2 {{unsupported: a buffer of 2147483648 rows, which are taken by number, and 2147483647 are the most}}
  // expected-note @+1 {{choose a smaller --max-step-tokens or --max-context}}
  tile.launch @whole affine_map<(d0, d1) -> (d0)>(%n, %x, %y) : memref<4xi32>, memref<?x16xf32>, memref<?x16xf32>
  return
}
