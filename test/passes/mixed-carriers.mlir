// Operations may change the carrier. A fused kernel rounds to one, so that a group
// whose members have several is lowered member by member: which kernels are made
// for one token where all are bf16, and where one is f32.
// RUN: sed 's/RANK/bf16/g; s/WEIGHT/bf16/g; s/NORM/bf16/g; s/SHARED/bf16/g; s/SUM/bf16/g' %s > %t.mlir
// RUN: fathom-opt %t.mlir --pass-pipeline="builtin.module(fathom-fuse-attention-input,fathom-fuse-sparse-attention,func.func(fathom-fuse-hyper-connection,fathom-fuse-experts),fathom-dsv4-to-tile{buckets=1})" -o %t.equal.mlir
// RUN: FileCheck %s --check-prefix=EQUAL --input-file=%t.equal.mlir
// RUN: sed 's/RANK/f32/g; s/WEIGHT/bf16/g; s/NORM/bf16/g; s/SHARED/bf16/g; s/SUM/bf16/g' %s > %t.mlir
// RUN: fathom-opt %t.mlir --pass-pipeline="builtin.module(fathom-fuse-attention-input,fathom-dsv4-to-tile{buckets=1})" -o %t.rank.mlir
// RUN: FileCheck %s --check-prefix=MEMBERS --input-file=%t.rank.mlir
// RUN: sed 's/RANK/bf16/g; s/WEIGHT/f32/g; s/NORM/bf16/g; s/SHARED/bf16/g; s/SUM/bf16/g' %s > %t.mlir
// RUN: fathom-opt %t.mlir --pass-pipeline="builtin.module(fathom-fuse-sparse-attention,fathom-dsv4-to-tile{buckets=1})" -o %t.weight.mlir
// RUN: FileCheck %s --check-prefix=MEMBERS --input-file=%t.weight.mlir
// RUN: sed 's/RANK/bf16/g; s/WEIGHT/bf16/g; s/NORM/f32/g; s/SHARED/f32/g; s/SUM/f32/g' %s > %t.mlir
// RUN: fathom-opt %t.mlir --pass-pipeline="builtin.module(func.func(fathom-fuse-hyper-connection),fathom-dsv4-to-tile{buckets=1})" -o %t.norm.mlir
// RUN: FileCheck %s --check-prefix=MEMBERS --input-file=%t.norm.mlir
// RUN: sed 's/RANK/bf16/g; s/WEIGHT/bf16/g; s/NORM/bf16/g; s/SHARED/f32/g; s/SUM/bf16/g' %s > %t.mlir
// RUN: fathom-opt %t.mlir --pass-pipeline="builtin.module(func.func(fathom-fuse-experts),fathom-dsv4-to-tile{buckets=1})" -o %t.shared.mlir
// RUN: FileCheck %s --check-prefix=MEMBERS --input-file=%t.shared.mlir
// RUN: sed 's/RANK/bf16/g; s/WEIGHT/bf16/g; s/NORM/bf16/g; s/SHARED/bf16/g; s/SUM/f32/g' %s > %t.mlir
// RUN: fathom-opt %t.mlir --pass-pipeline="builtin.module(func.func(fathom-fuse-experts),fathom-dsv4-to-tile{buckets=1})" -o %t.sum.mlir
// RUN: FileCheck %s --check-prefix=MEMBERS --input-file=%t.sum.mlir

// EQUAL-DAG: tile.launch @queries_
// EQUAL-DAG: tile.launch @index_select_
// EQUAL-DAG: tile.launch @hc_finish_
// EQUAL-DAG: tile.launch @moe_up_
// MEMBERS-NOT: {{@(queries|index_select|hc_finish|moe_up)_}}

!window = !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>
!blocks = !dsv4.cache<compressed, 64 rows of 128, rope = 64, fp8>
!index = !dsv4.cache<index, 64 rows of 64, rope = 0, fp4>
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>,
    %w: !window {dsv4.cache_name = "w"}, %c: !blocks {dsv4.cache_name = "c"}, %x: !index {dsv4.cache_name = "x"})
    -> (tensor<?x97xf32>, tensor<?x4x256xbf16>, tensor<?x8x128xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x256xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x256xbf16>) -> tensor<?x256xbf16>

  // Queries.
  %wa = dsv4.parameter "wa" : tensor<128x256xbf16>
  %ga = dsv4.parameter "ga" : tensor<128xbf16>
  %wb = dsv4.parameter "wb" : tensor<1024x128xbf16>
  %rank = dsv4.linear %e, %wa : (tensor<?x256xbf16>, tensor<128x256xbf16>) -> tensor<?x128xRANK>
  %na = dsv4.rms_norm %rank, %ga {eps = 1.0e-6 : f64} : (tensor<?x128xRANK>, tensor<128xbf16>) -> tensor<?x128xbf16>
  %q0 = dsv4.linear %na, %wb : (tensor<?x128xbf16>, tensor<1024x128xbf16>) -> tensor<?x8x128xbf16>
  %q = dsv4.head_norm %q0 {eps = 1.0e-6 : f64} : (tensor<?x8x128xbf16>) -> tensor<?x8x128xbf16>

  // Indexer and attention.
  %wi = dsv4.parameter "wi" : tensor<256x256xbf16>
  %ww = dsv4.parameter "ww" : tensor<4x256xbf16>
  %sink = dsv4.parameter "sink" : tensor<8xf32>
  %iq = dsv4.linear %e, %wi : (tensor<?x256xbf16>, tensor<256x256xbf16>) -> tensor<?x4x64xbf16>
  %iw0 = dsv4.linear %e, %ww : (tensor<?x256xbf16>, tensor<4x256xbf16>) -> tensor<?x4xWEIGHT>
  %iw = dsv4.scale %iw0 {factor = 0.125 : f64} : (tensor<?x4xWEIGHT>) -> tensor<?x4xWEIGHT>
  %scores = dsv4.index_scores %iq, %iw, %x, %p, %s {ratio = 4} : (tensor<?x4x64xbf16>, tensor<?x4xWEIGHT>, !index, tensor<?xi32>, tensor<?xi32>) -> tensor<?x64xf32>
  %i = dsv4.select_topk %scores, %p {k = 5, ratio = 4} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x5xi32>
  %o = dsv4.attention %q, %w, %c, %i, %sink, %p, %s {window = 128, ratio = 4, scale = 0.088 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x8x128xbf16>, !window, !blocks, tensor<?x5xi32>, tensor<8xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8x128xbf16>

  // Streams, norm and experts.
  %h = dsv4.hc_expand %e : (tensor<?x256xbf16>) -> tensor<?x4x256xbf16>
  %fn = dsv4.parameter "fn" : tensor<24x1024xf32>
  %base = dsv4.parameter "base" : tensor<24xf32>
  %scale = dsv4.parameter "scale" : tensor<3xf32>
  %y, %post, %comb = dsv4.hc_pre %h, %fn, %base, %scale {hc_eps = 1.0e-6 : f64, norm_eps = 1.0e-6 : f64, iterations = 20} : (tensor<?x4x256xbf16>, tensor<24x1024xf32>, tensor<24xf32>, tensor<3xf32>) -> (tensor<?x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>)
  %gn = dsv4.parameter "gn" : tensor<256xbf16>
  %n = dsv4.rms_norm %y, %gn {eps = 1.0e-6 : f64} : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xNORM>
  %wg = dsv4.parameter "wg" : tensor<8x256xbf16>
  %bias = dsv4.parameter "bias" : tensor<8xf32>
  %all = dsv4.gate %n, %wg : (tensor<?x256xNORM>, tensor<8x256xbf16>) -> tensor<?x8xf32>
  %chosen, %weights = dsv4.route_topk %all, %bias {factor = 1.5 : f64} : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  %w1 = dsv4.stacked_parameter "e.{}.w1" : tensor<8x128x256xbf16>
  %w3 = dsv4.stacked_parameter "e.{}.w3" : tensor<8x128x256xbf16>
  %w2 = dsv4.stacked_parameter "e.{}.w2" : tensor<8x256x128xbf16>
  %routed = dsv4.experts %n, %chosen, %weights, %w1, %w3, %w2 {limit = 10.0 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1, 0, 1, 0>} : (tensor<?x256xNORM>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x128x256xbf16>, tensor<8x128x256xbf16>, tensor<8x256x128xbf16>) -> tensor<?x256xf32>
  %v1 = dsv4.parameter "v1" : tensor<128x256xbf16>
  %v3 = dsv4.parameter "v3" : tensor<128x256xbf16>
  %v2 = dsv4.parameter "v2" : tensor<256x128xbf16>
  %g = dsv4.linear %n, %v1 : (tensor<?x256xNORM>, tensor<128x256xbf16>) -> tensor<?x128xSHARED>
  %u = dsv4.linear %n, %v3 : (tensor<?x256xNORM>, tensor<128x256xbf16>) -> tensor<?x128xSHARED>
  %a = dsv4.swiglu %g, %u {limit = 10.0 : f64} : (tensor<?x128xSHARED>, tensor<?x128xSHARED>) -> tensor<?x128xSHARED>
  %shared = dsv4.linear %a, %v2 : (tensor<?x128xSHARED>, tensor<256x128xbf16>) -> tensor<?x256xSHARED>
  %sum = dsv4.moe_combine %routed, %shared : (tensor<?x256xf32>, tensor<?x256xSHARED>) -> tensor<?x256xSUM>
  %h2 = dsv4.hc_post %sum, %h, %post, %comb : (tensor<?x256xSUM>, tensor<?x4x256xbf16>, tensor<?x4xf32>, tensor<?x4x4xf32>) -> tensor<?x4x256xbf16>

  %r = dsv4.select_rows %e, %rows : (tensor<?x256xbf16>, tensor<?xi32>) -> tensor<?x256xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x256xbf16>, tensor<97x256xbf16>) -> tensor<?x97xf32>
  return %logits, %h2, %o : tensor<?x97xf32>, tensor<?x4x256xbf16>, tensor<?x8x128xbf16>
}
