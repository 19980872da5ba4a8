// The shapes of tiles follow the target; the chunk of K does not follow the
// tokens. A tile of several tokens says to the CPU how many are there. An unknown
// target is refused.
// RUN: fathom-opt %s -fathom-dsv4-to-tile | FileCheck %s --check-prefix=CPU
// RUN: fathom-opt %s -fathom-dsv4-to-tile=target=cuda | FileCheck %s --check-prefix=CUDA
// RUN: not fathom-opt %s -fathom-dsv4-to-tile=target=tpu 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// UNKNOWN: error: unknown target 'tpu' for tile shapes: there are cpu, cuda, ascend, ascend-codes{{$}}

// CPU-LABEL: tile.kernel @linear_t64(
// CPU: tile.load %arg0{{.*}} -> tensor<64x1x2048xbf16>
// CPU: tile.load %arg1{{.*}} -> tensor<128x2048xbf16>
// CPU: %[[THERE:.*]] = arith.subi %arg3, %{{.*}} : index
// CPU: tile.dot <nt> %{{.*}}, %{{.*}}, %{{.*}} columns %[[THERE]] :
// CPU-LABEL: tile.kernel @linear_t1(
// CPU: tile.load %arg0{{.*}} -> tensor<1x1x2048xbf16>
// CPU: tile.load %arg1{{.*}} -> tensor<32x2048xbf16>
// CPU: tile.dot <nt> %{{[0-9]+}}, %{{[0-9]+}}, %{{[a-z0-9]+}} :

// CUDA-LABEL: tile.kernel @linear_t64(
// CUDA: tile.load %arg0{{.*}} -> tensor<64x1x128xbf16>
// CUDA: tile.load %arg1{{.*}} -> tensor<128x128xbf16>
// CUDA: tile.dot <nt> %{{[0-9]+}}, %{{[0-9]+}}, %{{[a-z0-9]+}} :
// CUDA-LABEL: tile.kernel @linear_t1(
// CUDA: tile.load %arg0{{.*}} -> tensor<1x1x256xbf16>
// CUDA: tile.load %arg1{{.*}} -> tensor<128x128xbf16>
func.func @main(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %slots: tensor<?xi32>, %rows: tensor<?xi32>) -> (tensor<?x256xf32>, tensor<?x4096xbf16>) {
  %table = dsv4.parameter "embed.weight" : tensor<64x4096xbf16>
  %w = dsv4.parameter "head.weight" : tensor<256x4096xbf16>
  %x = dsv4.embed %ids, %table : (tensor<?xi32>, tensor<64x4096xbf16>) -> tensor<?x4096xbf16>
  %y = dsv4.linear %x, %w : (tensor<?x4096xbf16>, tensor<256x4096xbf16>) -> tensor<?x256xf32>
  return %y, %x : tensor<?x256xf32>, tensor<?x4096xbf16>
}
