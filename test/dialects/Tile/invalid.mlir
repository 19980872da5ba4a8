// One case per rule of docs/Rationale.md, named by it.
// RUN: fathom-opt %s -split-input-file -verify-diagnostics

func.func @table_c1(%t: !tile.table<4 of memref<4xf32>>) {
  // expected-error @+1 {{a table must have at least 1 buffer, found 0}}
  %0 = tile.weight_table "a.{}" : <0 of memref<4xf32>>
  return
}

// -----

func.func @table_c2() {
  // expected-error @+1 {{buffers of a table must have static shapes and identity layout, found 'memref<?xf32>'}}
  %0 = tile.weight_table "a.{}" : <4 of memref<?xf32>>
  return
}

// -----

func.func @select_buffer_c1(%t: !tile.table<4 of memref<4xf32>>, %i: index) {
  // expected-error @+1 {{result must be the table's buffer type 'memref<4xf32>', found 'memref<8xf32>'}}
  %0 = tile.select_buffer %t[%i] : <4 of memref<4xf32>> -> memref<8xf32>
  return
}

// -----

func.func @load_c1(%b: memref<?x64xf32>, %i: index) {
  // expected-error @+1 {{result must be a tile of static power-of-two dimensions, found 'tensor<48xf32>'}}
  %0 = tile.load %b[%i, %i] : memref<?x64xf32> -> tensor<48xf32>
  return
}

// -----

func.func @load_c1_rank(%b: memref<?x64xf32>, %i: index) {
  // expected-error @+1 {{result 'result' must have rank at least 1, found 'tensor<f32>'}}
  %0 = tile.load %b[%i, %i] : memref<?x64xf32> -> tensor<f32>
  return
}

// -----

func.func @load_c2(%b: memref<?x64xf32>, %i: index) {
  // expected-error @+1 {{'result' must have the element type 'f32' (the buffer's), found 'bf16'}}
  %0 = tile.load %b[%i, %i] : memref<?x64xf32> -> tensor<16xbf16>
  return
}

// -----

func.func @load_c3(%b: memref<?x64xf32>, %i: index) {
  // expected-error @+1 {{must have one index per dimension of the buffer (2), found 1}}
  %0 = tile.load %b[%i] : memref<?x64xf32> -> tensor<16xf32>
  return
}

// -----

func.func @load_c4(%b: memref<?x64xf32>, %i: index) {
  // expected-error @+1 {{'result' must have at most the rank of the buffer (2), found 3}}
  %0 = tile.load %b[%i, %i] : memref<?x64xf32> -> tensor<2x2x16xf32>
  return
}

// -----

func.func @load_c5(%b: memref<?x64xf32>, %i: index) {
  // expected-error @+1 {{must have no bounds or one per dimension of the tile (2), found 1}}
  %0 = tile.load %b[%i, %i] bounds[%i] : memref<?x64xf32> -> tensor<2x16xf32>
  return
}

// -----

func.func @load_c6(%b: memref<?x64xf32>, %i: index) {
  // expected-error @+1 {{without bounds 'result' must fit into the buffer (64), found 128}}
  %0 = tile.load %b[%i, %i] : memref<?x64xf32> -> tensor<128xf32>
  return
}

// -----

func.func @store_c1(%b: memref<?x64xf32>, %v: tensor<48xf32>, %i: index) {
  // expected-error @+1 {{operand must be a tile of static power-of-two dimensions, found 'tensor<48xf32>'}}
  tile.store %v, %b[%i, %i] : tensor<48xf32>, memref<?x64xf32>
  return
}

// -----

func.func @store_c2(%b: memref<?x64xf32>, %v: tensor<16xbf16>, %i: index) {
  // expected-error @+1 {{'value' must have the element type 'f32' (the buffer's), found 'bf16'}}
  tile.store %v, %b[%i, %i] : tensor<16xbf16>, memref<?x64xf32>
  return
}

// -----

func.func @store_c3(%b: memref<?x64xf32>, %v: tensor<16xf32>, %i: index) {
  // expected-error @+1 {{must have one index per dimension of the buffer (2), found 1}}
  tile.store %v, %b[%i] : tensor<16xf32>, memref<?x64xf32>
  return
}

// -----

func.func @store_c4(%b: memref<64xf32>, %v: tensor<2x16xf32>, %i: index) {
  // expected-error @+1 {{'value' must have at most the rank of the buffer (1), found 2}}
  tile.store %v, %b[%i] : tensor<2x16xf32>, memref<64xf32>
  return
}

// -----

func.func @store_c5(%b: memref<?x64xf32>, %v: tensor<16xf32>, %i: index) {
  // expected-error @+1 {{must have no bounds or one per dimension of the tile (1), found 2}}
  tile.store %v, %b[%i, %i] bounds[%i, %i] : tensor<16xf32>, memref<?x64xf32>
  return
}

// -----

func.func @store_c6(%b: memref<8xf32>, %v: tensor<16xf32>, %i: index) {
  // expected-error @+1 {{without bounds 'value' must fit into the buffer (8), found 16}}
  tile.store %v, %b[%i] : tensor<16xf32>, memref<8xf32>
  return
}

// -----

func.func @gather_c1(%b: memref<?x64xf32>, %r: tensor<3xi32>) {
  // expected-error @+1 {{operand must be a tile of static power-of-two dimensions, found 'tensor<3xi32>'}}
  %0 = tile.gather %b[%r] : memref<?x64xf32>, tensor<3xi32> -> tensor<3x64xf32>
  return
}

// -----

func.func @gather_c2(%b: memref<?x4x64xf32>, %r: tensor<4xi32>) {
  // expected-error @+1 {{operand 'buffer' must have rank 1 or 2, found 'memref<?x4x64xf32>'}}
  %0 = tile.gather %b[%r] : memref<?x4x64xf32>, tensor<4xi32> -> tensor<4x64xf32>
  return
}

// -----

func.func @gather_c3(%b: memref<?x64xf32>, %r: tensor<2x2xi32>) {
  // expected-error @+1 {{operand 'rows' must have rank 1, found 'tensor<2x2xi32>'}}
  %0 = tile.gather %b[%r] : memref<?x64xf32>, tensor<2x2xi32> -> tensor<4x64xf32>
  return
}

// -----

func.func @gather_c4(%b: memref<?x64xf32>, %r: tensor<4xi32>) {
  // expected-error @+1 {{'result' must have the rank of the buffer (2) and as many rows as 'rows' (4), found 'tensor<8x64xf32>'}}
  %0 = tile.gather %b[%r] : memref<?x64xf32>, tensor<4xi32> -> tensor<8x64xf32>
  return
}

// -----

func.func @gather_c5(%b: memref<?x64xf32>, %r: tensor<4xi32>) {
  // expected-error @+1 {{'result' must have the element type 'f32' (the buffer's), found 'i32'}}
  %0 = tile.gather %b[%r] : memref<?x64xf32>, tensor<4xi32> -> tensor<4x64xi32>
  return
}

// -----

func.func @gather_c6(%b: memref<?xf32>, %r: tensor<4xi32>, %i: index) {
  // expected-error @+1 {{operand 'column' must be absent for a buffer of rank 1}}
  %0 = tile.gather %b[%r, %i] : memref<?xf32>, tensor<4xi32> -> tensor<4xf32>
  return
}

// -----

func.func @gather_scaled_c1(%b: memref<?x64xf8E4M3FN>, %s: memref<?x8xf8E8M0FNU>, %r: tensor<3xi32>) {
  // expected-error @+1 {{operand must be a tile of static power-of-two dimensions, found 'tensor<3xi32>'}}
  %0 = tile.gather_scaled %b, %s[%r] block 64 : memref<?x64xf8E4M3FN>, memref<?x8xf8E8M0FNU>, tensor<3xi32> -> tensor<4x64xf32>
  return
}

// -----

func.func @gather_scaled_c2(%b: memref<?x64xf32>, %s: memref<?x8xf8E8M0FNU>, %r: tensor<4xi32>) {
  // expected-error @+1 {{operand 'codes' must have rank 2 and be of f8E4M3FN or i8, found 'memref<?x64xf32>'}}
  %0 = tile.gather_scaled %b, %s[%r] block 64 : memref<?x64xf32>, memref<?x8xf8E8M0FNU>, tensor<4xi32> -> tensor<4x64xf32>
  return
}

// -----

func.func @gather_scaled_c3(%b: memref<?x64xf8E4M3FN>, %s: memref<?x8xf32>, %r: tensor<4xi32>) {
  // expected-error @+1 {{operand 'scales' must have rank 2 and be of f8E8M0FNU, found 'memref<?x8xf32>'}}
  %0 = tile.gather_scaled %b, %s[%r] block 64 : memref<?x64xf8E4M3FN>, memref<?x8xf32>, tensor<4xi32> -> tensor<4x64xf32>
  return
}

// -----

func.func @gather_scaled_c4(%b: memref<?x64xf8E4M3FN>, %s: memref<?x8xf8E8M0FNU>, %r: tensor<4xi32>) {
  // expected-error @+1 {{'result' must have rank 2 and a row for each of 'rows', found 'tensor<8x64xf32>' for 'tensor<4xi32>'}}
  %0 = tile.gather_scaled %b, %s[%r] block 64 : memref<?x64xf8E4M3FN>, memref<?x8xf8E8M0FNU>, tensor<4xi32> -> tensor<8x64xf32>
  return
}

// -----

func.func @gather_scaled_c5(%b: memref<?x64xi8>, %s: memref<?x2xf8E8M0FNU>, %r: tensor<4xi32>) {
  // expected-error @+1 {{attribute 'block' must be a power of two, enough for the 128 values of a row, found 32}}
  %0 = tile.gather_scaled %b, %s[%r] block 32 : memref<?x64xi8>, memref<?x2xf8E8M0FNU>, tensor<4xi32> -> tensor<4x64xf32>
  return
}

// -----

func.func @gather_scaled_c6(%b: memref<?x64xi8>, %s: memref<?x4xf8E8M0FNU>, %r: tensor<4xi32>) {
  // expected-error @+1 {{'result' must have at most the 128 columns of a row, found 256}}
  %0 = tile.gather_scaled %b, %s[%r] block 32 : memref<?x64xi8>, memref<?x4xf8E8M0FNU>, tensor<4xi32> -> tensor<4x256xbf16>
  return
}

// -----

func.func @scatter_c1(%b: memref<?x64xf32>, %r: tensor<4xi32>, %v: tensor<4x48xf32>) {
  // expected-error @+1 {{operand must be a tile of static power-of-two dimensions, found 'tensor<4x48xf32>'}}
  tile.scatter %v, %b[%r] : tensor<4x48xf32>, memref<?x64xf32>, tensor<4xi32>
  return
}

// -----

func.func @scatter_c2(%b: memref<f32>, %r: tensor<4xi32>, %v: tensor<4xf32>) {
  // expected-error @+1 {{operand 'buffer' must have rank 1 or 2, found 'memref<f32>'}}
  tile.scatter %v, %b[%r] : tensor<4xf32>, memref<f32>, tensor<4xi32>
  return
}

// -----

func.func @scatter_c3(%b: memref<?x64xf32>, %r: tensor<i32>, %v: tensor<4x64xf32>) {
  // expected-error @+1 {{operand 'rows' must have rank 1, found 'tensor<i32>'}}
  tile.scatter %v, %b[%r] : tensor<4x64xf32>, memref<?x64xf32>, tensor<i32>
  return
}

// -----

func.func @scatter_c4(%b: memref<?x64xf32>, %r: tensor<4xi32>, %v: tensor<4xf32>) {
  // expected-error @+1 {{'value' must have the rank of the buffer (2) and as many rows as 'rows' (4), found 'tensor<4xf32>'}}
  tile.scatter %v, %b[%r] : tensor<4xf32>, memref<?x64xf32>, tensor<4xi32>
  return
}

// -----

func.func @scatter_c5(%b: memref<?x64xf32>, %r: tensor<4xi32>, %v: tensor<4x8xi32>) {
  // expected-error @+1 {{'value' must have the element type 'f32' (the buffer's), found 'i32'}}
  tile.scatter %v, %b[%r] : tensor<4x8xi32>, memref<?x64xf32>, tensor<4xi32>
  return
}

// -----

func.func @scatter_c6(%b: memref<?xf32>, %r: tensor<4xi32>, %v: tensor<4xf32>, %i: index) {
  // expected-error @+1 {{operand 'column' must be absent for a buffer of rank 1}}
  tile.scatter %v, %b[%r, %i] : tensor<4xf32>, memref<?xf32>, tensor<4xi32>
  return
}

// -----

func.func @dot_c1(%l: tensor<4x6xf32>, %r: tensor<8x6xf32>, %a: tensor<4x8xf32>) {
  // expected-error @+1 {{operand must be a tile of static power-of-two dimensions, found 'tensor<4x6xf32>'}}
  %0 = tile.dot <nt> %l, %r, %a : tensor<4x6xf32>, tensor<8x6xf32>, tensor<4x8xf32>
  return
}

// -----

func.func @dot_c1_rank(%l: tensor<16xf32>, %r: tensor<8x16xf32>, %a: tensor<4x8xf32>) {
  // expected-error @+1 {{operand 'lhs' must have rank 2, found 'tensor<16xf32>'}}
  %0 = tile.dot <nt> %l, %r, %a : tensor<16xf32>, tensor<8x16xf32>, tensor<4x8xf32>
  return
}

// -----

func.func @dot_c2(%l: tensor<4x16xi8>, %r: tensor<8x16xf32>, %a: tensor<4x8xf32>) {
  // expected-error @+1 {{operand 'lhs' must be of f32 or bf16, found 'i8'}}
  %0 = tile.dot <nt> %l, %r, %a : tensor<4x16xi8>, tensor<8x16xf32>, tensor<4x8xf32>
  return
}

// -----

func.func @dot_c3_nt(%l: tensor<4x16xf32>, %r: tensor<8x32xf32>, %a: tensor<4x8xf32>) {
  // expected-error @+1 {{operands 'lhs' and 'rhs' must agree in K in form nt, found 16 and 32}}
  %0 = tile.dot <nt> %l, %r, %a : tensor<4x16xf32>, tensor<8x32xf32>, tensor<4x8xf32>
  return
}

// -----

func.func @dot_c3_nn(%l: tensor<4x16xf32>, %r: tensor<8x16xf32>, %a: tensor<4x16xf32>) {
  // expected-error @+1 {{operands 'lhs' and 'rhs' must agree in K in form nn, found 16 and 8}}
  %0 = tile.dot <nn> %l, %r, %a : tensor<4x16xf32>, tensor<8x16xf32>, tensor<4x16xf32>
  return
}

// -----

func.func @dot_c3_tn(%l: tensor<16x4xf32>, %r: tensor<8x16xf32>, %a: tensor<4x16xf32>) {
  // expected-error @+1 {{operands 'lhs' and 'rhs' must agree in K in form tn, found 16 and 8}}
  %0 = tile.dot <tn> %l, %r, %a : tensor<16x4xf32>, tensor<8x16xf32>, tensor<4x16xf32>
  return
}

// -----

func.func @dot_c4(%l: tensor<4x16xf32>, %r: tensor<8x16xf32>, %a: tensor<8x4xf32>) {
  // expected-error @+1 {{operand 'acc' must be 4x8 (M x N), found 8x4}}
  %0 = tile.dot <nt> %l, %r, %a : tensor<4x16xf32>, tensor<8x16xf32>, tensor<8x4xf32>
  return
}

// -----

func.func @dot_scaled_c1(%w: tensor<8x64xf8E4M3FN>, %s: tensor<2xf8E8M0FNU>, %x: tensor<4x64xbf16>, %a: tensor<8x4xf32>) {
  // expected-error @+1 {{operand 'scale' must have rank 2, found 'tensor<2xf8E8M0FNU>'}}
  %0 = tile.dot_scaled %w, %s, %x, %a : tensor<8x64xf8E4M3FN>, tensor<2xf8E8M0FNU>, tensor<4x64xbf16>, tensor<8x4xf32>
  return
}

// -----

func.func @dot_scaled_c2(%w: tensor<8x64xf32>, %s: tensor<1x2xf8E8M0FNU>, %x: tensor<4x64xbf16>, %a: tensor<8x4xf32>) {
  // expected-error @+1 {{operand 'weight' must be of f8E4M3FN or i8, found 'f32'}}
  %0 = tile.dot_scaled %w, %s, %x, %a : tensor<8x64xf32>, tensor<1x2xf8E8M0FNU>, tensor<4x64xbf16>, tensor<8x4xf32>
  return
}

// -----

func.func @dot_scaled_c2_x(%w: tensor<8x64xf8E4M3FN>, %s: tensor<1x2xf8E8M0FNU>, %x: tensor<4x64xi32>, %a: tensor<8x4xf32>) {
  // expected-error @+1 {{operand 'x' must be of f32 or bf16, found 'i32'}}
  %0 = tile.dot_scaled %w, %s, %x, %a : tensor<8x64xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<4x64xi32>, tensor<8x4xf32>
  return
}

// -----

func.func @dot_scaled_c3(%w: tensor<8x64xi8>, %s: tensor<1x2xf8E8M0FNU>, %x: tensor<4x64xbf16>, %a: tensor<8x4xf32>) {
  // expected-error @+1 {{operand 'x' must be 4x128 (N x K), found 4x64}}
  %0 = tile.dot_scaled %w, %s, %x, %a : tensor<8x64xi8>, tensor<1x2xf8E8M0FNU>, tensor<4x64xbf16>, tensor<8x4xf32>
  return
}

// -----

func.func @dot_scaled_c4(%w: tensor<8x64xf8E4M3FN>, %s: tensor<16x2xf8E8M0FNU>, %x: tensor<4x64xbf16>, %a: tensor<8x4xf32>) {
  // expected-error @+1 {{dimensions of operand 'scale' must divide 8x64 (M x K), found 16x2}}
  %0 = tile.dot_scaled %w, %s, %x, %a : tensor<8x64xf8E4M3FN>, tensor<16x2xf8E8M0FNU>, tensor<4x64xbf16>, tensor<8x4xf32>
  return
}

// -----

func.func @dot_scaled_c6(%w: tensor<8x64xf8E4M3FN>, %s: tensor<1x2xf8E8M0FNU>, %x: tensor<4x64xf8E4M3FN>, %a: tensor<8x4xf32>) {
  // expected-error @+1 {{operand 'x_scale' must be there if 'x' is of f8E4M3FN, and only then}}
  %0 = tile.dot_scaled %w, %s, %x, %a : tensor<8x64xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<4x64xf8E4M3FN>, tensor<8x4xf32>
  return
}

// -----

func.func @dot_scaled_c6_values(%w: tensor<8x64xf8E4M3FN>, %s: tensor<1x2xf8E8M0FNU>, %x: tensor<4x64xbf16>, %t: tensor<4x1xf8E8M0FNU>, %a: tensor<8x4xf32>) {
  // expected-error @+1 {{operand 'x_scale' must be there if 'x' is of f8E4M3FN, and only then}}
  %0 = tile.dot_scaled %w, %s, %x scaled %t, %a : tensor<8x64xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<4x64xbf16> scaled tensor<4x1xf8E8M0FNU>, tensor<8x4xf32>
  return
}

// -----

func.func @dot_scaled_c7(%w: tensor<8x64xf8E4M3FN>, %s: tensor<1x2xf8E8M0FNU>, %x: tensor<4x64xf8E4M3FN>, %t: tensor<2x1xf8E8M0FNU>, %a: tensor<8x4xf32>) {
  // expected-error @+1 {{operand 'x_scale' must have as many rows as 'x' and columns that divide K (x is 4x64), found 2x1}}
  %0 = tile.dot_scaled %w, %s, %x scaled %t, %a : tensor<8x64xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<4x64xf8E4M3FN> scaled tensor<2x1xf8E8M0FNU>, tensor<8x4xf32>
  return
}

// -----

func.func @dot_scaled_c5(%w: tensor<8x64xf8E4M3FN>, %s: tensor<1x2xf8E8M0FNU>, %x: tensor<4x64xbf16>, %a: tensor<4x8xf32>) {
  // expected-error @+1 {{operand 'acc' must be 8x4 (M x N), found 4x8}}
  %0 = tile.dot_scaled %w, %s, %x, %a : tensor<8x64xf8E4M3FN>, tensor<1x2xf8E8M0FNU>, tensor<4x64xbf16>, tensor<4x8xf32>
  return
}

// -----

func.func @reduce_c1(%x: tensor<4x16xf32>) {
  // expected-error @+1 {{attribute 'dim' must be a dimension of 'x', found 2 for 'tensor<4x16xf32>'}}
  %0 = tile.reduce <add> %x {dim = 2} : tensor<4x16xf32>
  return
}

// -----

func.func @reduce_c1_missing(%x: tensor<4x16xf32>) {
  // expected-error @+1 {{needs the attribute 'dim'}}
  %0 = tile.reduce <add> %x : tensor<4x16xf32>
  return
}

// -----

func.func @kernel_c5_reduce(%x: tensor<4x6xf32>) {
  // expected-error @+1 {{operand must be a tile of static power-of-two dimensions, found 'tensor<4x6xf32>'}}
  %0 = tile.reduce <add> %x {dim = 1} : tensor<4x6xf32>
  return
}

// -----

func.func @scan_c1(%x: tensor<4xi32>) {
  // expected-error @+1 {{attribute 'dim' must be a dimension of a tile of rank 1, found 1}}
  %0 = tile.scan %x {dim = 1} : tensor<4xi32>
  return
}

// -----

func.func @broadcast_c1(%x: tensor<4xf32>) {
  // expected-error @+1 {{'result' must have the element type 'f32' (the operand's), found 'bf16'}}
  %0 = tile.broadcast %x dims [1] : tensor<4xf32> -> tensor<4x8xbf16>
  return
}

// -----

func.func @broadcast_c2(%x: tensor<4xf32>) {
  // expected-error @+1 {{attribute 'dims' must be ascending dimensions of the result (rank 3), found 2, 1}}
  %0 = tile.broadcast %x dims [2, 1] : tensor<4xf32> -> tensor<4x8x2xf32>
  return
}

// -----

func.func @broadcast_c3(%x: tensor<4xf32>) {
  // expected-error @+1 {{operand 'x' must be 8 (the result without 'dims'), found 4}}
  %0 = tile.broadcast %x dims [0] : tensor<4xf32> -> tensor<4x8xf32>
  return
}

// -----

func.func @reshape_c1(%x: tensor<4xf32>) {
  // expected-error @+1 {{'result' must have the element type 'f32' (the operand's), found 'i32'}}
  %0 = tile.reshape %x : tensor<4xf32> -> tensor<2x2xi32>
  return
}

// -----

func.func @reshape_c2(%x: tensor<4xf32>) {
  // expected-error @+1 {{result must have as many elements as 'x' (4), found 8}}
  %0 = tile.reshape %x : tensor<4xf32> -> tensor<2x4xf32>
  return
}

// -----

func.func @transpose_c1(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{attribute 'permutation' must permute the dimensions of 'x', found [}}
  %0 = tile.transpose %x [0, 0] : tensor<4x8xf32>
  return
}

// -----

func.func @iota_c1() {
  // expected-error @+1 {{result must have rank 1, found 'tensor<2x4xi32>'}}
  %0 = tile.iota : tensor<2x4xi32>
  return
}

// -----

func.func @deinterleave_c1(%x: tensor<4x1xf32>) {
  // expected-error @+1 {{operand 'x' must have an even last dimension, found 'tensor<4x1xf32>'}}
  %0, %1 = tile.deinterleave %x : tensor<4x1xf32>
  return
}

// -----

func.func @interleave_c1(%x: tensor<f32>) {
  // expected-error @+1 {{operand 'even' must have rank at least 1, found 'tensor<f32>'}}
  %0 = tile.interleave %x, %x : tensor<f32>
  return
}

// -----

func.func @unpack_fp4_c1(%x: tensor<4x8xi8>) {
  // expected-error @+1 {{result 'result' must be 4x16 (two values a byte), found 4x8}}
  %0 = tile.unpack_fp4 %x : tensor<4x8xi8> -> tensor<4x8xf32>
  return
}

// -----

func.func @pack_fp4_c1(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{operand 'x' must be 4x16 (two values a byte), found 4x8}}
  %0 = tile.pack_fp4 %x : tensor<4x8xf32> -> tensor<4x8xi8>
  return
}

// -----

func.func @weight_c1() {
  // expected-error @+1 {{attribute 'name' must not be empty}}
  %0 = tile.weight "" : memref<4xf32>
  return
}

// -----

func.func @weight_c2() {
  // expected-error @+1 {{result must have a static shape and identity layout, found 'memref<?xf32>'}}
  %0 = tile.weight "a" : memref<?xf32>
  return
}

// -----

func.func @weight_table_c1() {
  // expected-error @+1 {{attribute 'name' must have one '{}', found "a.w"}}
  %0 = tile.weight_table "a.w" : <4 of memref<4xf32>>
  return
}

// -----

func.func @cache_c1() {
  // expected-error @+1 {{attributes 'name' and 'component' must not be empty}}
  %0 = tile.cache "layers.0.window" "" : memref<?x4xf32>
  return
}

// -----

func.func @cache_c2() {
  // expected-error @+1 {{result must be a memref of identity layout with at most the leading dimension dynamic, found 'memref<?x?xf32>'}}
  %0 = tile.cache "layers.0.window" "rows" : memref<?x?xf32>
  return
}

// -----

// expected-error @+1 {{must have no results, found 1}}
tile.kernel @kernel_c1() -> index {
  %i = tile.program_id 0
  tile.return
}

// -----

// expected-error @+1 {{argument 0 must be a memref of identity layout with at most the leading dimension dynamic, a table or an index, found 'memref<4x?xf32>'}}
tile.kernel @kernel_c2(%a: memref<4x?xf32>) {
  tile.return
}

// -----

// expected-error @+1 {{argument 0 must be a memref of identity layout with at most the leading dimension dynamic, a table or an index, found 'memref<4x4xf32, strided<[8, 1]>>'}}
tile.kernel @kernel_c2_layout(%a: memref<4x4xf32, strided<[8, 1]>>) {
  tile.return
}

// -----

// expected-error @+1 {{argument 0 must be a memref of identity layout with at most the leading dimension dynamic, a table or an index, found 'f32'}}
tile.kernel @kernel_c2_scalar(%a: f32) {
  tile.return
}

// -----

// expected-error @+1 {{must have exactly one block, found 2}}
tile.kernel @kernel_c3() {
  cf.br ^next
^next:
  tile.return
}

// -----

// expected-error @+1 {{must end in tile.return}}
tile.kernel @kernel_c3_end(%i: index) {
  llvm.unreachable
}

// -----

// expected-error @+1 {{argument 0 must be either read or written, found both}}
tile.kernel @kernel_c4(%a: memref<64xf32>, %i: index) {
  // expected-note @+1 {{read here}}
  %0 = tile.load %a[%i] : memref<64xf32> -> tensor<4xf32>
  // expected-note @+1 {{written here}}
  tile.store %0, %a[%i] : tensor<4xf32>, memref<64xf32>
  tile.return
}

// -----

// expected-error @+1 {{argument 0 must be either read or written, found both}}
tile.kernel @kernel_c4_selected(%t: !tile.table<4 of memref<64xf32>>, %i: index) {
  %a = tile.select_buffer %t[%i] : <4 of memref<64xf32>> -> memref<64xf32>
  %b = tile.select_buffer %t[%i] : <4 of memref<64xf32>> -> memref<64xf32>
  // expected-note @+1 {{read here}}
  %0 = tile.load %a[%i] : memref<64xf32> -> tensor<4xf32>
  // expected-note @+1 {{written here}}
  tile.store %0, %b[%i] : tensor<4xf32>, memref<64xf32>
  tile.return
}

// -----

// expected-error @+1 {{argument 0 must be either read or written, found both}}
tile.kernel @kernel_c4_scalar(%a: memref<64xi32>, %r: memref<4xi32>, %i: index) {
  // expected-note @+1 {{read here}}
  %0 = memref.load %a[%i] : memref<64xi32>
  %rows = tile.load %r[%i] : memref<4xi32> -> tensor<4xi32>
  // Nested regions count.
  scf.for %j = %i to %i step %i {
    // expected-note @+1 {{written here}}
    tile.scatter %rows, %a[%rows] : tensor<4xi32>, memref<64xi32>, tensor<4xi32>
  }
  tile.return
}

// -----

tile.kernel @kernel_c5(%a: memref<64xf32>, %i: index) {
  %v = memref.load %a[%i] : memref<64xf32>
  // expected-error @+1 {{result must be a tile of static power-of-two dimensions, found 'tensor<48xf32>'}}
  %0 = tensor.splat %v : tensor<48xf32>
  tile.return
}

// -----

// Which of both is written is not known to launches.
tile.kernel @kernel_c6(%a: memref<64xf32>, %b: memref<64xf32>, %v: memref<4xf32>, %i: index) {
  %0 = tile.load %v[%i] : memref<4xf32> -> tensor<4xf32>
  %first = arith.cmpi eq, %i, %i : index
  %m = arith.select %first, %a, %b : memref<64xf32>
  // expected-error @+1 {{must read and write arguments of the kernel, directly or through select_buffer and views}}
  tile.store %0, %m[%i] : tensor<4xf32>, memref<64xf32>
  tile.return
}

// -----

tile.kernel @kernel_c6_if(%a: memref<64xf32>, %b: memref<64xf32>, %i: index) {
  %first = arith.cmpi eq, %i, %i : index
  %m = scf.if %first -> memref<64xf32> {
    scf.yield %a : memref<64xf32>
  } else {
    scf.yield %b : memref<64xf32>
  }
  // expected-error @+1 {{must read and write arguments of the kernel, directly or through select_buffer and views}}
  %0 = tile.load %m[%i] : memref<64xf32> -> tensor<4xf32>
  tile.return
}

// -----

tile.kernel @kernel_c6_for(%a: memref<64xf32>, %b: memref<64xf32>, %i: index) {
  %m = scf.for %j = %i to %i step %i iter_args(%c = %a) -> memref<64xf32> {
    // expected-error @+1 {{must read and write arguments of the kernel, directly or through select_buffer and views}}
    %0 = memref.load %c[%i] : memref<64xf32>
    scf.yield %b : memref<64xf32>
  }
  tile.return
}

// -----

tile.kernel @kernel_c6_own(%i: index) {
  %m = memref.alloc() : memref<64xf32>
  // expected-error @+1 {{must read and write arguments of the kernel, directly or through select_buffer and views}}
  %0 = tile.load %m[%i] : memref<64xf32> -> tensor<4xf32>
  tile.return
}

// -----

func.func private @elsewhere(memref<64xf32>)
tile.kernel @kernel_c6_unknown(%a: memref<64xf32>) {
  // expected-error @+1 {{does not say what it reads and writes}}
  func.call @elsewhere(%a) : (memref<64xf32>) -> ()
  tile.return
}

// -----

// A view of an argument is the argument.
tile.kernel @view_of_argument(%a: memref<64xf32>, %b: memref<64xf32>, %i: index) {
  %m = memref.cast %a : memref<64xf32> to memref<?xf32>
  %0 = tile.load %m[%i] : memref<?xf32> -> tensor<4xf32>
  tile.store %0, %b[%i] : tensor<4xf32>, memref<64xf32>
  tile.return
}

// -----

func.func @load_elements(%b: memref<64xindex>, %i: index) {
  // expected-error @+1 {{must be statically shaped tensor of signless integer or floating-point values, but got 'tensor<4xindex>'}}
  %0 = tile.load %b[%i] : memref<64xindex> -> tensor<4xindex>
  return
}

// -----

func.func @load_elements_complex(%b: memref<64xcomplex<f32>>, %i: index) {
  // expected-error @+1 {{must be statically shaped tensor of signless integer or floating-point values, but got 'tensor<4xcomplex<f32>>'}}
  %0 = tile.load %b[%i] : memref<64xcomplex<f32>> -> tensor<4xcomplex<f32>>
  return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %i: index) {
  %0 = tile.load %a[%i, %i] : memref<?x64xf32> -> tensor<4xf32>
  tile.store %0, %b[%i, %i] : tensor<4xf32>, memref<?x64xf32>
  tile.return
}
func.func @launch_c1(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %z: memref<?x32xf32>, %n: index) {
  // expected-error @+1 {{attribute 'grid' must map (tokens, rows) to one to three numbers of programs, found (d0) -> (d0)}}
  tile.launch @k affine_map<(t) -> (t)> (%x, %y, %n) : memref<?x64xf32>, memref<?x64xf32>, index
  return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %i: index) {
  %0 = tile.load %a[%i, %i] : memref<?x64xf32> -> tensor<4xf32>
  tile.store %0, %b[%i, %i] : tensor<4xf32>, memref<?x64xf32>
  tile.return
}
func.func @launch_c2(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %z: memref<?x32xf32>, %n: index) {
  // expected-error @+1 {{attribute 'grid' must have results of the form c, d or c * (d ceildiv k) or sums of them, found d0 + d1 floordiv 2}}
  tile.launch @k affine_map<(t, r) -> (t + r floordiv 2, 1, 1)> (%x, %y, %n) : memref<?x64xf32>, memref<?x64xf32>, index
  return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %i: index) {
  %0 = tile.load %a[%i, %i] : memref<?x64xf32> -> tensor<4xf32>
  tile.store %0, %b[%i, %i] : tensor<4xf32>, memref<?x64xf32>
  tile.return
}
func.func @launch_c2_floor(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %z: memref<?x32xf32>, %n: index) {
  // expected-error @+1 {{attribute 'grid' must have results of the form c, d or c * (d ceildiv k) or sums of them, found d0 floordiv 4}}
  tile.launch @k affine_map<(t, r) -> (t floordiv 4, 1, 1)> (%x, %y, %n) : memref<?x64xf32>, memref<?x64xf32>, index
  return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %i: index) {
  %0 = tile.load %a[%i, %i] : memref<?x64xf32> -> tensor<4xf32>
  tile.store %0, %b[%i, %i] : tensor<4xf32>, memref<?x64xf32>
  tile.return
}
func.func @launch_c2_zero(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %z: memref<?x32xf32>, %n: index) {
  // expected-error @+1 {{attribute 'grid' must have results of the form c, d or c * (d ceildiv k) or sums of them, found 0}}
  tile.launch @k affine_map<(t, r) -> (t, 0, 1)> (%x, %y, %n) : memref<?x64xf32>, memref<?x64xf32>, index
  return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %i: index) {
  %0 = tile.load %a[%i, %i] : memref<?x64xf32> -> tensor<4xf32>
  tile.store %0, %b[%i, %i] : tensor<4xf32>, memref<?x64xf32>
  tile.return
}
func.func @launch_c3(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %z: memref<?x32xf32>, %n: index) {
  // expected-error @+1 {{must name a tile.kernel, found @launch_c3}}
  tile.launch @launch_c3 affine_map<(t, r) -> (t, 1, 1)> (%x, %y, %n) : memref<?x64xf32>, memref<?x64xf32>, index
  return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %i: index) {
  %0 = tile.load %a[%i, %i] : memref<?x64xf32> -> tensor<4xf32>
  tile.store %0, %b[%i, %i] : tensor<4xf32>, memref<?x64xf32>
  tile.return
}
func.func @launch_c4_count(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %z: memref<?x32xf32>, %n: index) {
  // expected-error @+1 {{must have as many operands as the kernel has arguments (3), found 2}}
  tile.launch @k affine_map<(t, r) -> (t, 1, 1)> (%x, %y) : memref<?x64xf32>, memref<?x64xf32>
  return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %i: index) {
  %0 = tile.load %a[%i, %i] : memref<?x64xf32> -> tensor<4xf32>
  tile.store %0, %b[%i, %i] : tensor<4xf32>, memref<?x64xf32>
  tile.return
}
func.func @launch_c4(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %z: memref<?x32xf32>, %n: index) {
  // expected-error @+1 {{operand 1 must have the type of the kernel's argument, 'memref<?x64xf32>', found 'memref<?x32xf32>'}}
  tile.launch @k affine_map<(t, r) -> (t, 1, 1)> (%x, %z, %n) : memref<?x64xf32>, memref<?x32xf32>, index
  return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %i: index) {
  %0 = tile.load %a[%i, %i] : memref<?x64xf32> -> tensor<4xf32>
  tile.store %0, %b[%i, %i] : tensor<4xf32>, memref<?x64xf32>
  tile.return
}
func.func @launch_c5(%x: memref<?x64xf32>, %y: memref<?x64xf32>, %z: memref<?x32xf32>, %n: index) {
  // expected-error @+1 {{operand 1 is written by the kernel and must not be passed twice}}
  tile.launch @k affine_map<(t, r) -> (t, 1, 1)> (%x, %x, %n) : memref<?x64xf32>, memref<?x64xf32>, index
  return
}

// -----

tile.kernel @call_c1(%a: memref<?x64xf32>, %i: index) {
  // expected-error @+1 {{must name a tile.kernel, found @k}}
  tile.call @k(%a) at (%i, %i, %i) : memref<?x64xf32>
  tile.return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>) {
  tile.return
}
tile.kernel @call_c2_count(%a: memref<?x64xf32>, %i: index) {
  // expected-error @+1 {{must have as many operands as the kernel has arguments (1), found 2}}
  tile.call @k(%a, %a) at (%i, %i, %i) : memref<?x64xf32>, memref<?x64xf32>
  tile.return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>) {
  tile.return
}
tile.kernel @call_c2(%a: memref<?x32xf32>, %i: index) {
  // expected-error @+1 {{operand 0 must have the type of the kernel's argument, 'memref<?x64xf32>', found 'memref<?x32xf32>'}}
  tile.call @k(%a) at (%i, %i, %i) : memref<?x32xf32>
  tile.return
}

// -----

tile.kernel @k(%n: index) {
  tile.return
}
tile.kernel @call_c3(%n: index) {
  %i = tile.program_id 0
  // expected-error @+1 {{operand 0 must be an argument of the kernel that calls}}
  tile.call @k(%i) at (%n, %n, %n) : index
  tile.return
}

// -----

tile.kernel @call_c4(%n: index) {
  // expected-error @+1 {{must name a kernel that calls none, found @call_c4}}
  tile.call @call_c4(%n) at (%n, %n, %n) : index
  tile.return
}

// -----

tile.kernel @k(%a: memref<?x64xf32>, %b: memref<?x64xf32>, %i: index) {
  %0 = tile.load %a[%i, %i] : memref<?x64xf32> -> tensor<4xf32>
  tile.store %0, %b[%i, %i] : tensor<4xf32>, memref<?x64xf32>
  tile.return
}
// expected-error @+1 {{argument 0 must be either read or written, found both}}
tile.kernel @kernel_c4_by_call(%a: memref<?x64xf32>, %i: index) {
  // expected-note @+2 {{read here}}
  // expected-note @+1 {{written here}}
  tile.call @k(%a, %a, %i) at (%i, %i, %i) : memref<?x64xf32>, memref<?x64xf32>, index
  tile.return
}
