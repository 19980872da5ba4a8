// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "passes/DSV4ToTile/TileShapes.h"

#include <limits>

namespace fathom {

/// Between chunks sums go through memory and activations are packed anew, so
/// that chunks should be long; a tile of 64 tokens must stay in the
/// second-level cache.
static constexpr TileShapes kCPU = {
    /*name=*/"cpu",
    /*chunk=*/2048,
    /*turnElements=*/0,
    /*oneRows=*/32,
    /*fewRows=*/64,
    /*manyRows=*/128,
    /*leastRows=*/8,
    /*routerRows=*/64,
    /*gateRows=*/16,
    /*fewTokens=*/16,
    /*manyTokens=*/64,
    /*fewPairs=*/{8, 4, 2, 1},
    /*manyPairs=*/{32, 16},
    /*pairsByLevel=*/true,
    /*oneExpertBytes=*/64 << 10,
    /*expertBytes=*/128 << 10,
    /*expertRows=*/256,
    /*sharedTokens=*/std::numeric_limits<int64_t>::max(),
    /*rowsByExpert=*/false,
    /*togetherTokens=*/64,
    /*upInTurn=*/false,
    /*chosenTogether=*/false,
    /*hashByScalars=*/false,
    /*routedScores=*/1,
    /*streamChannels=*/64,
    /*streamByStream=*/false,
    /*streamTokens=*/8,
    /*mixRows=*/1,
    /*mixChunk=*/256,
    /*headShare=*/0,
    /*sharesTogether=*/1,
    /*matrixApart=*/false,
    /*finishChannels=*/2048,
    /*heldPieces=*/8,
    /*countsRows=*/true,
    /*codes=*/false,
    /*headTokens=*/std::numeric_limits<int64_t>::max(),
    /*cacheRows=*/32,
    /*leastHeads=*/4, // less fills no vector
    /*fewHeads=*/8,
    /*manyHeads=*/16,
    /*severalHeads=*/32,
    /*partHeads=*/16,
    /*headsLast=*/false,
    /*sumsBySteps=*/false,
    /*largestApart=*/false,
    /*rectangles=*/false,
    /*splitTokens=*/0,
    /*splitBytes=*/0,
    /*scoreBytes=*/0,
    /*projectedHead=*/1024,
    /*valueRows=*/1024,
    /*indexKeys=*/32,
    /*indexStrip=*/1024,
    /*scoresApart=*/false,
    /*fewCandidates=*/1024,
    /*manyCandidates=*/16384,
    /*selectionTile=*/256,
    /*rowPiece=*/1024,
    /*rowHeads=*/16,
    /*poolChannels=*/64,
    /*elements=*/1024,
};

/// Tensor cores take 64 or 128 rows, and what a program holds must fit into the
/// registers of 8 warps.
static constexpr TileShapes kCUDA = {
    /*name=*/"cuda",
    /*chunk=*/128,
    /*turnElements=*/32 << 10,
    /*oneRows=*/128,
    /*fewRows=*/128,
    /*manyRows=*/128,
    /*leastRows=*/64,
    /*routerRows=*/64,
    /*gateRows=*/std::numeric_limits<int64_t>::max(),
    /*fewTokens=*/16,
    /*manyTokens=*/64,
    /*fewPairs=*/{16},
    /*manyPairs=*/{16},
    /*pairsByLevel=*/false,
    /*oneExpertBytes=*/1 << 20,
    /*expertBytes=*/1 << 20,
    /*expertRows=*/128,
    /*sharedTokens=*/64,
    /*rowsByExpert=*/true,
    /*togetherTokens=*/16,
    /*upInTurn=*/true,
    /*chosenTogether=*/true,
    /*hashByScalars=*/true,
    // Two a thread of four warps: of fewer, sm_90 starts a group of warps more.
    /*routedScores=*/256,
    /*streamChannels=*/64,
    /*streamByStream=*/true,
    /*streamTokens=*/32,
    /*mixRows=*/64,
    /*mixChunk=*/128,
    /*headShare=*/512,
    /*sharesTogether=*/16,
    /*matrixApart=*/true,
    /*finishChannels=*/1024,
    /*heldPieces=*/8,
    /*countsRows=*/false,
    /*codes=*/true,
    /*headTokens=*/16,
    /*cacheRows=*/64,
    /*leastHeads=*/8,
    /*fewHeads=*/16,
    /*manyHeads=*/16,
    /*severalHeads=*/1024,
    /*partHeads=*/32,
    /*headsLast=*/true,
    /*sumsBySteps=*/true,
    /*largestApart=*/true,
    /*rectangles=*/true,
    /*splitTokens=*/16,
    /*splitBytes=*/64 << 20,
    // What a choice bounds, a step's tokens bound: the plan says what it takes.
    /*scoreBytes=*/std::numeric_limits<int64_t>::max(),
    /*projectedHead=*/1024,
    /*valueRows=*/256,
    /*indexKeys=*/64,
    /*indexStrip=*/1024,
    /*scoresApart=*/false,
    /*fewCandidates=*/1024,
    /*manyCandidates=*/4096,
    /*selectionTile=*/4096,
    /*rowPiece=*/1024,
    /*rowHeads=*/16,
    /*poolChannels=*/64,
    /*elements=*/1024,
};

/// A vector unit has 192 KB for all tiles that live at once, and decoding takes
/// several times a tile of weights; the cube unit's first level holds 512 KB.
static constexpr TileShapes kAscend = {
    /*name=*/"ascend",
    /*chunk=*/128,
    /*turnElements=*/0,
    /*oneRows=*/64,
    /*fewRows=*/64,
    /*manyRows=*/64,
    /*leastRows=*/16,
    /*routerRows=*/64,
    /*gateRows=*/std::numeric_limits<int64_t>::max(),
    /*fewTokens=*/16,
    /*manyTokens=*/32,
    /*fewPairs=*/{16},
    /*manyPairs=*/{32, 16},
    /*pairsByLevel=*/false,
    /*oneExpertBytes=*/1 << 20,
    /*expertBytes=*/1 << 20,
    /*expertRows=*/32,
    /*sharedTokens=*/std::numeric_limits<int64_t>::max(),
    /*rowsByExpert=*/false,
    /*togetherTokens=*/64,
    /*upInTurn=*/false,
    /*chosenTogether=*/false,
    /*hashByScalars=*/false,
    /*routedScores=*/1,
    /*streamChannels=*/32,
    /*streamByStream=*/false,
    /*streamTokens=*/32,
    /*mixRows=*/1,
    /*mixChunk=*/128,
    /*headShare=*/0,
    /*sharesTogether=*/1,
    /*matrixApart=*/false,
    /*finishChannels=*/128,
    /*heldPieces=*/0,
    /*countsRows=*/false,
    /*codes=*/false,
    /*headTokens=*/std::numeric_limits<int64_t>::max(),
    /*cacheRows=*/32,
    /*leastHeads=*/16, // fractals of the cube unit
    /*fewHeads=*/16,
    /*manyHeads=*/16,
    /*severalHeads=*/32,
    /*partHeads=*/16,
    /*headsLast=*/false,
    /*sumsBySteps=*/false,
    /*largestApart=*/true,
    /*rectangles=*/true,
    /*splitTokens=*/0,
    /*splitBytes=*/0,
    /*scoreBytes=*/0,
    /*projectedHead=*/64,
    /*valueRows=*/1024,
    /*indexKeys=*/32,
    /*indexStrip=*/1024,
    /*scoresApart=*/true,
    /*fewCandidates=*/1024,
    /*manyCandidates=*/4096,
    /*selectionTile=*/256,
    /*rowPiece=*/256,
    /*rowHeads=*/4,
    /*poolChannels=*/32,
    /*elements=*/512,
};

/// Where the cube unit multiplies codes. A processor whose cube unit does not
/// decodes them where it would have loaded values, to the same numbers.
static constexpr TileShapes codesOf(TileShapes shapes, const char *name) {
  shapes.name = name;
  shapes.codes = true;
  return shapes;
}
static constexpr TileShapes kAscendCodes = codesOf(kAscend, "ascend-codes");

static constexpr const TileShapes *kAll[] = {&kCPU, &kCUDA, &kAscend,
                                             &kAscendCodes};

const TileShapes *TileShapes::find(llvm::StringRef target) {
  for (const TileShapes *shapes : kAll)
    if (target == shapes->name)
      return shapes;
  return nullptr;
}

std::string TileShapes::names() {
  std::string all;
  for (const TileShapes *shapes : kAll)
    all += (all.empty() ? "" : ", ") + std::string(shapes->name);
  return all;
}

} // namespace fathom
