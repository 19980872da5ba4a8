// Of a selection that chooses among the blocks that a token sees, as many as it sees
// stand before every -1. Elsewhere each index is looked at.
// RUN: sed 's/RATIO/4/g' %s | fathom-opt - -fathom-dsv4-to-tile=buckets=1 | FileCheck %s --check-prefix=SEEN
// RUN: sed 's/RATIO/128/g' %s | fathom-opt - -fathom-dsv4-to-tile=buckets=1 | FileCheck %s --check-prefix=ANY
// RUN: sed 's/RATIO/128/g' %s | fathom-opt - -fathom-dsv4-to-tile="buckets=1 target=cuda check-kernels" -o /dev/null
// A fusion takes such a selection for no member.
// RUN: sed 's/RATIO/4/g' %s | fathom-opt - -fathom-fuse-sparse-attention | FileCheck %s --check-prefix=GROUP
// RUN: sed 's/RATIO/128/g' %s | fathom-opt - -fathom-fuse-sparse-attention | FileCheck %s --check-prefix=APART

// SEEN-LABEL: tile.kernel @attention_
// SEEN-NOT: _any
// SEEN: tile.load %arg{{[0-9]+}}{{.*}} -> tensor<{{[0-9]+}}xi32>
// SEEN-NOT: arith.cmpi
// SEEN: tile.gather
// ANY-LABEL: tile.kernel @attention_{{.*}}_any(
// ANY: %[[IN:.*]] = arith.cmpi slt, %{{.*}} : tensor<[[N:[0-9]+]]xi32>
// ANY: %[[B:.*]] = tile.load %arg{{[0-9]+}}{{.*}} -> tensor<[[N]]xi32>
// ANY-NEXT: %[[ZERO:.*]] = arith.constant dense<0> : tensor<[[N]]xi32>
// ANY-NEXT: %[[SOME:.*]] = arith.cmpi sge, %[[B]], %[[ZERO]]
// ANY-NEXT: arith.andi %[[IN]], %[[SOME]]

// GROUP: dsv4.fused sparse_attention {
// GROUP-NEXT: dsv4.index_scores
// GROUP-NEXT: dsv4.select_topk
// GROUP-NEXT: dsv4.attention
// APART-NOT: dsv4.fused
// APART: dsv4.attention

!window = !dsv4.cache<window, 144 rows of 128, rope = 64, fp8>
!blocks = !dsv4.cache<compressed, 64 rows of 128, rope = 64, fp8>
!index = !dsv4.cache<index, 64 rows of 64, rope = 0, fp4>
func.func @step(%ids: tensor<?xi32>, %p: tensor<?xi32>, %s: tensor<?xi32>, %rows: tensor<?xi32>,
    %w: !window {dsv4.cache_name = "w"}, %c: !blocks {dsv4.cache_name = "c"}, %x: !index {dsv4.cache_name = "x"})
    -> (tensor<?x97xf32>, tensor<?x8x128xbf16>) {
  %table = dsv4.parameter "embed" : tensor<97x64xbf16>
  %e = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<97x64xbf16>) -> tensor<?x64xbf16>
  %wq = dsv4.parameter "wq" : tensor<1024x64xbf16>
  %wi = dsv4.parameter "wi" : tensor<256x64xbf16>
  %ww = dsv4.parameter "ww" : tensor<4x64xbf16>
  %sink = dsv4.parameter "sink" : tensor<8xf32>
  %q = dsv4.linear %e, %wq : (tensor<?x64xbf16>, tensor<1024x64xbf16>) -> tensor<?x8x128xbf16>
  %iq = dsv4.linear %e, %wi : (tensor<?x64xbf16>, tensor<256x64xbf16>) -> tensor<?x4x64xbf16>
  %iw = dsv4.linear %e, %ww : (tensor<?x64xbf16>, tensor<4x64xbf16>) -> tensor<?x4xbf16>
  %scores = dsv4.index_scores %iq, %iw, %x, %p, %s {ratio = RATIO} : (tensor<?x4x64xbf16>, tensor<?x4xbf16>, !index, tensor<?xi32>, tensor<?xi32>) -> tensor<?x64xf32>
  %i = dsv4.select_topk %scores, %p {k = 5, ratio = RATIO} : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<?x5xi32>
  %o = dsv4.attention %q, %w, %c, %i, %sink, %p, %s {window = 128, ratio = 4, scale = 0.088 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1>} : (tensor<?x8x128xbf16>, !window, !blocks, tensor<?x5xi32>, tensor<8xf32>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8x128xbf16>
  %r = dsv4.select_rows %e, %rows : (tensor<?x64xbf16>, tensor<?xi32>) -> tensor<?x64xbf16>
  %logits = dsv4.linear %r, %table : (tensor<?x64xbf16>, tensor<97x64xbf16>) -> tensor<?x97xf32>
  return %logits, %o : tensor<?x97xf32>, tensor<?x8x128xbf16>
}
