// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tiles of AMX as 16 vectors of 512 bits, a row each; what lies beyond a tile's
// shape is zero.
#include "codegen/CPU/PlainInstructions.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/IR/Module.h"

#include <array>

using namespace llvm;
using namespace fathom::cpu;

static constexpr unsigned kRows = 16, kRowBytes = 64;

namespace {
using Rows = std::array<Value *, kRows>;

struct Tiles {
  Module &module;
  IRBuilder<> b;
  FixedVectorType *row;
  DenseMap<Value *, Rows> tiles;
  Function *product = nullptr;

  explicit Tiles(Module &module)
      : module(module), b(module.getContext()),
        row(FixedVectorType::get(b.getInt32Ty(), kRowBytes / 4)) {}

  // ---- A product is long, so it is a function ----

  /// for i = 0 .. count-1, with one value that each turn changes.
  Value *loop(Value *count, Value *init,
              function_ref<Value *(Value *, Value *)> body) {
    Function *function = b.GetInsertBlock()->getParent();
    BasicBlock *before = b.GetInsertBlock();
    auto *turn = BasicBlock::Create(b.getContext(), "turn", function),
         *after = BasicBlock::Create(b.getContext(), "after", function);
    b.CreateBr(turn);
    b.SetInsertPoint(turn);
    PHINode *i = b.CreatePHI(b.getInt64Ty(), 2);
    PHINode *value = b.CreatePHI(init->getType(), 2);
    i->addIncoming(b.getInt64(0), before);
    value->addIncoming(init, before);
    Value *changed = body(i, value), *next = b.CreateAdd(i, b.getInt64(1));
    i->addIncoming(next, b.GetInsertBlock());
    value->addIncoming(changed, b.GetInsertBlock());
    b.CreateCondBr(b.CreateICmpULT(next, count), turn, after);
    b.SetInsertPoint(after);
    return changed;
  }

  /// tdpbf16ps of tiles in memory: sum [rows, 16] f32, x [rows, pairs] and y
  /// [pairs, 16] of pairs of bf16.
  Function *makeProduct() {
    IRBuilder<>::InsertPointGuard guard(b);
    Type *pointer = b.getPtrTy(), *word = b.getInt64Ty();
    auto *type = FunctionType::get(
        b.getVoidTy(), {pointer, pointer, pointer, word, word}, false);
    Function *function = Function::Create(type, GlobalValue::InternalLinkage,
                                          "tile_product", module);
    function->addFnAttr(Attribute::NoInline);
    b.SetInsertPoint(BasicBlock::Create(b.getContext(), "entry", function));
    Value *sum = function->getArg(0), *x = function->getArg(1),
          *y = function->getArg(2), *none = b.getInt64(0);
    auto *floats = FixedVectorType::get(b.getFloatTy(), row->getNumElements());
    auto rowAt = [&](Value *tile, Value *number) {
      return b.CreateGEP(row, tile, number);
    };
    loop(function->getArg(3), none, [&](Value *i, Value *) {
      auto *both = StructType::get(floats, floats);
      Value *sums =
          loop(function->getArg(4), Constant::getNullValue(both),
               [&](Value *pair, Value *before) {
                 Value *at = b.CreateGEP(b.getInt32Ty(), rowAt(x, i), pair);
                 Value *left = b.CreateVectorSplat(
                     row->getNumElements(), b.CreateLoad(b.getInt32Ty(), at));
                 Value *right = b.CreateLoad(row, rowAt(y, pair));
                 Value *after = before;
                 for (unsigned part : {0, 1})
                   after = b.CreateInsertValue(
                       after,
                       addProductsOfPairs(b, b.CreateExtractValue(before, part),
                                          left, right, part == 1),
                       part);
                 return after;
               });
      Value *total =
          flushSubnormals(b, b.CreateFAdd(b.CreateExtractValue(sums, 0),
                                          b.CreateExtractValue(sums, 1)));
      Value *old = flushSubnormals(b, b.CreateLoad(floats, rowAt(sum, i)));
      b.CreateStore(flushSubnormals(b, b.CreateFAdd(old, total)),
                    rowAt(sum, i));
      return none;
    });
    b.CreateRetVoid();
    return function;
  }

  /// Room for a tile in the frame of the function around.
  Value *room() {
    BasicBlock &entry = b.GetInsertBlock()->getParent()->getEntryBlock();
    return IRBuilder<>(&entry, entry.begin())
        .CreateAlloca(ArrayType::get(row, kRows));
  }
  Value *inMemory(const Rows &rows) {
    Value *memory = room();
    for (unsigned i = 0; i < kRows; ++i)
      b.CreateAlignedStore(rows[i], b.CreateConstGEP1_32(row, memory, i),
                           Align(1));
    return memory;
  }

  // ---- Instructions ----

  static unsigned number(Value *v) {
    return cast<ConstantInt>(v)->getZExtValue();
  }

  /// Row i of a tile in a buffer, and the type of as much as it has.
  std::pair<Value *, Type *> rowOf(IntrinsicInst &call, unsigned i) {
    Value *at = b.CreateMul(call.getArgOperand(3), b.getInt64(i));
    return {b.CreateGEP(b.getInt8Ty(), call.getArgOperand(2), at),
            FixedVectorType::get(b.getInt32Ty(),
                                 number(call.getArgOperand(1)) / 4)};
  }

  Rows load(IntrinsicInst &call) {
    Rows rows;
    rows.fill(Constant::getNullValue(row));
    for (unsigned i = 0; i < number(call.getArgOperand(0)); ++i) {
      auto [at, type] = rowOf(call, i);
      Value *part = b.CreateAlignedLoad(type, at, Align(1));
      unsigned count = cast<FixedVectorType>(type)->getNumElements();
      SmallVector<int> lanes;
      for (unsigned lane = 0; lane < row->getNumElements(); ++lane)
        lanes.push_back(std::min(lane, count)); // the first of the zeros
      rows[i] =
          b.CreateShuffleVector(part, Constant::getNullValue(type), lanes);
    }
    return rows;
  }

  void store(IntrinsicInst &call) {
    const Rows &rows = tiles.at(call.getArgOperand(4));
    for (unsigned i = 0; i < number(call.getArgOperand(0)); ++i) {
      auto [at, type] = rowOf(call, i);
      SmallVector<int> lanes;
      for (unsigned j = 0; j < cast<FixedVectorType>(type)->getNumElements();
           ++j)
        lanes.push_back(j);
      b.CreateAlignedStore(b.CreateShuffleVector(rows[i], lanes), at, Align(1));
    }
  }

  Rows multiply(IntrinsicInst &call) {
    if (!product)
      product = makeProduct();
    Value *sum = inMemory(tiles.at(call.getArgOperand(3)));
    b.CreateCall(product, {sum, inMemory(tiles.at(call.getArgOperand(4))),
                           inMemory(tiles.at(call.getArgOperand(5))),
                           b.getInt64(number(call.getArgOperand(0))),
                           b.getInt64(number(call.getArgOperand(2)) / 4)});
    Rows rows;
    for (unsigned i = 0; i < kRows; ++i)
      rows[i] =
          b.CreateAlignedLoad(row, b.CreateConstGEP1_32(row, sum, i), Align(1));
    return rows;
  }

  /// Whether it was an instruction on tiles.
  bool replace(Instruction &instruction) {
    b.SetInsertPoint(&instruction);
    if (auto *phi = dyn_cast<PHINode>(&instruction)) {
      if (!phi->getType()->isX86_AMXTy())
        return false;
      for (Value *&value : tiles[phi])
        value = b.CreatePHI(row, phi->getNumIncomingValues());
      return true;
    }
    auto *call = dyn_cast<IntrinsicInst>(&instruction);
    switch (call ? call->getIntrinsicID() : Intrinsic::not_intrinsic) {
    case Intrinsic::x86_tileloadd64_internal:
      tiles[call] = load(*call);
      return true;
    case Intrinsic::x86_tilezero_internal:
      tiles[call].fill(Constant::getNullValue(row));
      return true;
    case Intrinsic::x86_tilestored64_internal:
      store(*call);
      return true;
    case Intrinsic::x86_tdpbf16ps_internal:
      tiles[call] = multiply(*call);
      return true;
    default:
      return false;
    }
  }

  void run() {
    SmallVector<Instruction *> replaced;
    SmallVector<Function *> functions;
    for (Function &function : module)
      functions.push_back(&function);
    for (Function *function : functions) {
      // Blocks lie in an order in which values come before their uses, but for
      // those of phis.
      SmallVector<Instruction *> all;
      for (BasicBlock &block : *function)
        for (Instruction &instruction : block)
          all.push_back(&instruction);
      for (Instruction *instruction : all)
        if (replace(*instruction))
          replaced.push_back(instruction);
    }
    for (Instruction *instruction : replaced)
      if (auto *phi = dyn_cast<PHINode>(instruction))
        for (unsigned i = 0; i < phi->getNumIncomingValues(); ++i)
          for (auto [to, from] :
               zip(tiles.at(phi), tiles.at(phi->getIncomingValue(i))))
            cast<PHINode>(to)->addIncoming(from, phi->getIncomingBlock(i));
    for (Instruction *instruction : reverse(replaced)) {
      if (!instruction->getType()->isVoidTy())
        instruction->replaceAllUsesWith(
            PoisonValue::get(instruction->getType()));
      instruction->eraseFromParent();
    }
  }
};
} // namespace

void fathom::cpu::replaceTiles(Module &module) { Tiles(module).run(); }
