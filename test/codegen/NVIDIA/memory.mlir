// Loads and stores: views that start anywhere, sizes from bounds, tokens.
// REQUIRES: tileirdisasm, fathom-tile-to-cudatile
// RUN: fathom-tile-to-cudatile %s sm_90 %t && tileirdisasm %t | FileCheck %s

// Leading dimensions are single elements; the size of an unknown one is not
// asked for. Without bounds nothing is padded.
// CHECK-LABEL: entry @rows(
// CHECK: assume div_by<16>
// CHECK: make_tensor_view {{.*}}, shape = [2147483647, 4, 64], strides = [256, 64, 1]
// CHECK: make_strided_view {{.*}} : strided_view<tile=(1x1x64), traversal_strides=[1,1,1], tensor_view<
// CHECK: load_view_tko weak {{.*}} -> tile<1x1x64xf32>, token
// CHECK: reshape {{.*}} -> tile<64xf32>
tile.kernel @rows(%x: memref<?x4x64xf32>, %y: memref<?x64xf32>) {
  %zero = arith.constant 0 : index
  %i = tile.program_id 0
  %v = tile.load %x[%i, %zero, %zero] : memref<?x4x64xf32> -> tensor<64xf32>
  tile.store %v, %y[%i, %zero] : tensor<64xf32>, memref<?x64xf32>
  tile.return
}

// A count lies in device memory; it is the size of the views.
// CHECK-LABEL: entry @bounded(
// CHECK-SAME: tile<ptr<i32>>)
// CHECK: load_ptr_tko weak {{.*}} : tile<ptr<i32>> -> tile<i32>, token
// CHECK: assume bounded<0, 2147483647>
// CHECK: make_tensor_view {{.*}}, shape = [{{%[^ ]+}}, 100], strides = [100, 1]
// CHECK: make_strided_view {{.*}} padding_value = zero, tensor_view<?x100xbf16
// CHECK: make_strided_view {{.*}} traversal_strides=[1,1], tensor_view<?x100xbf16
tile.kernel @bounded(%x: memref<?x100xbf16>, %y: memref<?x100xbf16>, %n: index) {
  %zero = arith.constant 0 : index
  %w = arith.constant 100 : index
  %i = tile.program_id 1
  %v = tile.load %x[%i, %zero] bounds[%n, %w] : memref<?x100xbf16> -> tensor<8x128xbf16>
  tile.store %v, %y[%i, %zero] bounds[%n, %w] : tensor<8x128xbf16>, memref<?x100xbf16>
  tile.return
}

// Rows by number, 16 a view: negative ones are clamped for the load and zero
// afterwards; a scatter masks them.
// CHECK-LABEL: entry @gather(
// CHECK: maxi {{.*}} signed : tile<32xi32>
// CHECK: make_gather_scatter_view {{.*}} : gather_scatter_view<tile=(16x64), padding_value = zero, tensor_view<1000x448xf8E4M3FN, strides=[448,1]>, sparse_dim=0>
// CHECK-COUNT-2: extract {{.*}} : tile<32xi32> -> tile<16xi32>
// CHECK: cat {{.*}} dim = 0 : tile<16x64xf8E4M3FN>, tile<16x64xf8E4M3FN> -> tile<32x64xf8E4M3FN>
// CHECK: select {{.*}} : tile<32x64xi1>, tile<32x64xf8E4M3FN>
// CHECK: muli {{.*}} : tile<32x1xi32>
// CHECK: cmpi less_than {{.*}} signed : tile<32x64xi32>
// CHECK: store_ptr_tko weak {{.*}} : tile<32x64xptr<f8E4M3FN>>, tile<32x64xf8E4M3FN>, tile<32x64xi1> -> token
tile.kernel @gather(%x: memref<1000x448xf8E4M3FN>, %r: memref<32xi32>, %y: memref<500x448xf8E4M3FN>) {
  %zero = arith.constant 0 : index
  %c = arith.constant 384 : index
  %rows = tile.load %r[%zero] : memref<32xi32> -> tensor<32xi32>
  %v = tile.gather %x[%rows, %c] : memref<1000x448xf8E4M3FN>, tensor<32xi32> -> tensor<32x64xf8E4M3FN>
  tile.scatter %v, %y[%rows, %c] : tensor<32x64xf8E4M3FN>, memref<500x448xf8E4M3FN>, tensor<32xi32>
  tile.return
}

// Few rows are masked pointers.
// CHECK-LABEL: entry @few(
// CHECK: load_ptr_tko weak {{.*}} : tile<2x64xptr<f32>>, tile<2x64xi1>, tile<2x64xf32> -> tile<2x64xf32>, token
// CHECK-NOT: gather
// CHECK: return
tile.kernel @few(%x: memref<?x64xf32>, %r: memref<2xi32>, %y: memref<2x64xf32>) {
  %zero = arith.constant 0 : index
  %rows = tile.load %r[%zero] : memref<2xi32> -> tensor<2xi32>
  %v = tile.gather %x[%rows, %zero] : memref<?x64xf32>, tensor<2xi32> -> tensor<2x64xf32>
  tile.store %v, %y[%zero, %zero] : tensor<2x64xf32>, memref<2x64xf32>
  tile.return
}

// Rows that are said to lie behind each other are a rectangle; those that are
// not valid are zero all the same.
// CHECK-LABEL: entry @consecutive(
// CHECK-NOT: gather
// CHECK: make_strided_view {{.*}} : strided_view<tile=(32x64), traversal_strides=[1,1], padding_value = zero, tensor_view<2147483647x64xbf16
// CHECK: load_view_tko
// CHECK: select {{.*}} : tile<32x64xi1>, tile<32x64xbf16>
tile.kernel @consecutive(%x: memref<?x64xbf16>, %y: memref<32x64xbf16>) {
  %zero = arith.constant 0 : index
  %p = tile.program_id 0
  %first = arith.index_cast %p : index to i32
  %start = tensor.splat %first : tensor<32xi32>
  %i = tile.iota : tensor<32xi32>
  %row = arith.addi %start, %i : tensor<32xi32>
  %end = arith.constant dense<20> : tensor<32xi32>
  %valid = arith.cmpi slt, %i, %end : tensor<32xi32>
  %none = arith.constant dense<-1> : tensor<32xi32>
  %rows = arith.select %valid, %row, %none : tensor<32xi1>, tensor<32xi32>
  %v = tile.gather %x[%rows, %zero] {tile.consecutive} : memref<?x64xbf16>, tensor<32xi32> -> tensor<32x64xbf16>
  tile.store %v, %y[%zero, %zero] : tensor<32x64xbf16>, memref<32x64xbf16>
  tile.return
}

// Stores to one buffer are in order, through loops and branches too.
// CHECK-LABEL: entry @ordered(
// CHECK: [[FIRST:%[^ ]+]] = make_token
// CHECK: for {{.*}} iter_values({{%[^ ]+}} = [[FIRST]]) -> (token)
// CHECK: store_view_tko {{.*}} token =
// CHECK: continue
// CHECK: if {{.*}} -> (token)
// CHECK: store_ptr_tko {{.*}} token={{.*}} -> token
// CHECK: } else {
// CHECK-NEXT: yield
tile.kernel @ordered(%x: memref<64xf32>, %y: memref<?x64xf32>) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %four = arith.constant 4 : index
  %v = tile.load %x[%zero] : memref<64xf32> -> tensor<64xf32>
  scf.for %i = %zero to %four step %one {
    tile.store %v, %y[%i, %zero] : tensor<64xf32>, memref<?x64xf32>
  }
  %s = memref.load %x[%one] : memref<64xf32>
  %p = tile.program_id 0
  %c = arith.cmpi eq, %p, %zero : index
  scf.if %c {
    memref.store %s, %y[%zero, %one] : memref<?x64xf32>
  }
  tile.return
}

// A buffer of a table is a pointer from memory.
// CHECK-LABEL: entry @table(
// CHECK-SAME: tile<ptr<i64>>
// CHECK: load_ptr_tko weak {{.*}} -> tile<i64>, token
// CHECK: int_to_ptr {{.*}} -> tile<ptr<bf16>>
// CHECK: assume div_by<16>
tile.kernel @table(%t: !tile.table<8 of memref<16x64xbf16>>, %y: memref<16x64xbf16>) {
  %zero = arith.constant 0 : index
  %i = tile.program_id 0
  %b = tile.select_buffer %t[%i] : <8 of memref<16x64xbf16>> -> memref<16x64xbf16>
  %v = tile.load %b[%zero, %zero] : memref<16x64xbf16> -> tensor<16x64xbf16>
  tile.store %v, %y[%zero, %zero] : tensor<16x64xbf16>, memref<16x64xbf16>
  tile.return
}
