// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a target wants of the tiles of a program: the one place that knows.
// Everything here may depend on the target, on the model and, where it says so,
// on the tokens of a step; what decides an order of sums never on tokens.
#pragma once

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>

namespace fathom {

struct TileShapes {
  const char *name;

  //===-- Products with weights ------------------------------------------===//

  /// Longest chunk of K. Decides an order of sums.
  int64_t chunk;
  /// Most elements of a block's weights that one token's program takes in a
  /// turn, chunk by chunk: more than one chunk where a turn costs much beside
  /// them.
  int64_t turnElements;
  /// Rows of a block of weights, of a program for one token, for up to 16 and
  /// for more.
  int64_t oneRows, fewRows, manyRows;
  /// Least rows of a block where a matrix has room for them; blocks then may
  /// lie partly beyond the matrix.
  int64_t leastRows;
  /// Rows of the router's block where its scores end a longer kernel.
  int64_t routerRows;
  /// Most rows of the router's block where its scores are a kernel of up to 16
  /// tokens: its matrix is small, and every thread should have some of it.
  int64_t gateRows;
  /// Tokens that a program takes of up to 16 and of more.
  int64_t fewTokens, manyTokens;
  /// Tokens of an expert taken at once, likewise: every number as long as more
  /// than the next are left; 0 is none.
  int64_t fewPairs[4], manyPairs[2];
  /// Whether levels of the target leave some of these out (TokenLoops.h).
  bool pairsByLevel;
  /// A program of an expert reads as many rows as make this many bytes, if they
  /// are no more than expertRows: enough to hide what it does before and after,
  /// few enough for every thread to have several programs. Of one token, and
  /// of several, which have more experts and are prepared in every program.
  int64_t oneExpertBytes, expertBytes;
  /// Most rows of a program of an expert, whatever their bytes.
  int64_t expertRows;
  /// Most tokens that a program of the shared experts takes, tile by tile.
  int64_t sharedTokens;
  /// Whether a launch copies the tokens' rows in the order of their experts,
  /// who then find them behind each other.
  bool rowsByExpert;
  /// Most tokens of values, not codes, whose products with an expert's gate and
  /// up are one walk rather than one after the other.
  int64_t togetherTokens;
  /// Whether one token's products with an expert's gate and up are two walks.
  bool upInTurn;
  /// Whether one token's chosen experts are walked together where they end in
  /// one sum, rather than one after the other.
  bool chosenTogether;
  /// Whether one token's program finds the expert that a table has for it by
  /// scalars, so that what loads its weights waits for no tile.
  bool hashByScalars;
  /// Least scores of a token in the tile that the largest are chosen from, if
  /// need be beside experts that do not exist. Decides an order of sums.
  int64_t routedScores;
  /// Channels of a program that ends with the streams, hence of one share of
  /// the next mix. Decides an order of sums.
  int64_t streamChannels;
  /// Whether such a program takes its streams one after the other, all
  /// coefficients at once, rather than the streams at once. Decides an order of
  /// sums.
  bool streamByStream;
  /// Most tokens whose streams are updated together: what is at hand for them
  /// should stay close, and of few tokens none that are not there be taken.
  /// `streamByStream` holds a product that ends with the streams to it, too:
  /// there parts of a tile cannot be taken one after the other.
  int64_t streamTokens;
  /// Least rows of a tile of a mix's weights; those that are none are zero.
  int64_t mixRows;
  /// Longest chunk of a mix by itself. Decides an order of sums.
  int64_t mixChunk;
  /// Channels of all streams of a program that makes a share of the head's mix,
  /// which the next launch adds up; none: the program of the row walks them
  /// all. Decides an order of sums.
  int64_t headShare;
  /// Most shares of a mix that are read before they are added.
  int64_t sharesTogether;
  /// Whether the matrix of a mix is made by a program of its own beside those
  /// that go on with the mix, which do not need it.
  bool matrixApart;
  /// Channels that the end of a mix takes at once, if its program does not hold
  /// the whole row.
  int64_t finishChannels;
  /// Most pieces of `rowPiece` channels of which a program holds the whole row,
  /// so that it is read once.
  int64_t heldPieces;

  /// Whether products are told how many of a tile's tokens, or which rows of a
  /// cache, are there, and leave the others out.
  bool countsRows;
  /// Whether quantised inputs of products with scaled weights go through memory
  /// as codes and scales, for targets that multiply codes.
  bool codes;
  /// Most tokens of a step whose heads are normed and rotated by the program
  /// that makes them: it must hold the whole head.
  int64_t headTokens;

  //===-- Attention ------------------------------------------------------===//

  /// Rows of a cache that a step of attention takes. Decides an order of sums.
  int64_t cacheRows;
  /// Heads of a program: least, for one token of a model with at most
  /// `severalHeads`, else, and where programs take parts of the channels.
  int64_t leastHeads, fewHeads, manyHeads, severalHeads, partHeads;
  /// Heads are the last dimension of attention's sums, not the first.
  bool headsLast;
  /// The sums of every step of rows begin at zero and are added to those
  /// before. Decides an order of sums.
  bool sumsBySteps;
  /// The largest score of all is found in a launch of its own, and scores are
  /// computed again; else a program keeps those of its heads and all rows.
  bool largestApart;
  /// Rows of a cache that lie behind each other are read as rectangles.
  bool rectangles;
  /// Most tokens whose steps of rows are shared out to programs (which needs
  /// sumsBySteps), and most bytes that their sums may take; most bytes of
  /// scores where programs take parts of the channels.
  int64_t splitTokens, splitBytes, scoreBytes;
  /// Widest head whose norm, rotation and so on follow its projection within
  /// one program, which then has a block of weights of as many rows.
  int64_t projectedHead;
  /// Most rows of a head's weight that a program walks together where its
  /// input is values, not codes.
  int64_t valueRows;
  /// Keys that a step of the indexer takes, and of a program that scores alone.
  int64_t indexKeys, indexStrip;
  /// Whether scores of the indexer go through memory, and a launch of its own
  /// chooses.
  bool scoresApart;
  /// Least blocks that a program chooses from, for one token and for more.
  int64_t fewCandidates, manyCandidates;
  /// Entries of a list that a selection looks at together.
  int64_t selectionTile;

  //===-- Rows -----------------------------------------------------------===//

  /// Widest row that a program keeps in one tile, and the widest piece of a
  /// wider one. Decides an order of sums.
  int64_t rowPiece;
  /// Heads, or rows of heads, that a program of a norm takes.
  int64_t rowHeads;
  /// Widest piece of a row that a compressor pools: all its tokens lie in one
  /// tile.
  int64_t poolChannels;
  /// Widest piece of a row where no sum goes over it.
  int64_t elements;

  /// Null for a target that is not known.
  static const TileShapes *find(llvm::StringRef target);
  /// Of all that are known: "cpu, cuda".
  static std::string names();
};

} // namespace fathom
