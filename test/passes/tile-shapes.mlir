// The shapes of tiles follow the target; the chunk of K does not follow the
// tokens. A tile of several tokens says to the CPU how many are there. The
// router's matrix is small, so that a few tokens' programs have few rows of it on
// the CPU. An unknown target is refused.
// RUN: fathom-opt %s -fathom-dsv4-to-tile | FileCheck %s --check-prefix=CPU
// RUN: fathom-opt %s -fathom-dsv4-to-tile=target=cuda | FileCheck %s --check-prefix=CUDA
// RUN: not fathom-opt %s -fathom-dsv4-to-tile=target=tpu 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// UNKNOWN: error: unknown target 'tpu' for tile shapes: there are cpu, cuda, ascend, ascend-codes{{$}}

// CPU-LABEL: tile.kernel @gate_t64(
// CPU: tile.load %arg1{{.*}} -> tensor<64x2048xbf16>
// CPU-LABEL: tile.kernel @linear_t64(
// CPU: tile.load %arg0{{.*}} -> tensor<64x1x2048xbf16>
// CPU: %[[THERE:.*]] = arith.subi %arg3, %{{.*}} : index
// CPU: tile.load %arg1{{.*}} -> tensor<128x2048xbf16>
// CPU: tile.dot <nt> %{{.*}}, %{{.*}}, %{{.*}} columns %[[THERE]] :
// CPU-LABEL: tile.kernel @gate_t16(
// CPU: tile.load %arg1{{.*}} -> tensor<16x2048xbf16>
// CPU-LABEL: tile.kernel @gate_t8(
// CPU: tile.load %arg1{{.*}} -> tensor<16x2048xbf16>
// CPU-LABEL: tile.kernel @linear_t1(
// CPU: tile.load %arg0{{.*}} -> tensor<1x1x2048xbf16>
// CPU: tile.load %arg1{{.*}} -> tensor<32x2048xbf16>
// CPU: tile.dot <nt> %{{[0-9]+}}, %{{[0-9]+}}, %{{[a-z0-9]+}} :

// CUDA-LABEL: tile.kernel @linear_t64(
// CUDA: tile.load %arg0{{.*}} -> tensor<64x1x128xbf16>
// CUDA: tile.load %arg1{{.*}} -> tensor<128x128xbf16>
// CUDA: tile.dot <nt> %{{[0-9]+}}, %{{[0-9]+}}, %{{[a-z0-9]+}} :
// CUDA-LABEL: tile.kernel @gate_t16(
// CUDA: tile.load %arg1{{.*}} -> tensor<64x128xbf16>
// CUDA-LABEL: tile.kernel @linear_t1(
// CUDA: tile.load %arg0{{.*}} -> tensor<1x1x256xbf16>
// CUDA: tile.load %arg1{{.*}} -> tensor<128x128xbf16>
func.func @main(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %slots: tensor<?xi32>, %rows: tensor<?xi32>) -> (tensor<?x256xf32>, tensor<?x64xf32>, tensor<?x4096xbf16>) {
  %table = dsv4.parameter "embed.weight" : tensor<64x4096xbf16>
  %w = dsv4.parameter "head.weight" : tensor<256x4096xbf16>
  %x = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<64x4096xbf16>) -> tensor<?x4096xbf16>
  %y = dsv4.linear %x, %w : (tensor<?x4096xbf16>, tensor<256x4096xbf16>) -> tensor<?x256xf32>
  %r = dsv4.parameter "gate.weight" : tensor<64x4096xbf16>
  %s = dsv4.gate %x, %r : (tensor<?x4096xbf16>, tensor<64x4096xbf16>) -> tensor<?x64xf32>
  return %y, %s, %x : tensor<?x256xf32>, tensor<?x64xf32>, tensor<?x4096xbf16>
}
