// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/CPU/PlainInstructions.h"

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/IR/Module.h"

using namespace llvm;
using namespace fathom::cpu;

Value *fathom::cpu::flushSubnormals(IRBuilderBase &b, Value *x) {
  auto *words = cast<VectorType>(x->getType())->getWithNewType(b.getInt32Ty());
  auto word = [&](uint32_t value) { return ConstantInt::get(words, value); };
  Value *bits = b.CreateBitCast(x, words);
  Value *isSmall = b.CreateICmpEQ(b.CreateAnd(bits, word(0x7F800000)), word(0));
  bits = b.CreateSelect(isSmall, b.CreateAnd(bits, word(0x80000000)), bits);
  return b.CreateBitCast(bits, x->getType());
}

Value *fathom::cpu::addProductsOfPairs(IRBuilderBase &b, Value *sum, Value *x,
                                       Value *y, bool second) {
  auto *words =
      cast<VectorType>(sum->getType())->getWithNewType(b.getInt32Ty());
  auto factor = [&](Value *v) {
    Value *bits = b.CreateBitCast(v, words);
    bits = second ? b.CreateAnd(bits, ConstantInt::get(words, 0xFFFF0000))
                  : b.CreateShl(bits, 16);
    return flushSubnormals(b, b.CreateBitCast(bits, sum->getType()));
  };
  return flushSubnormals(
      b, b.CreateIntrinsic(Intrinsic::fma, {sum->getType()},
                           {factor(x), factor(y), flushSubnormals(b, sum)}));
}

namespace {
struct Plain {
  IRBuilder<> b;
  IntrinsicInst &call;

  explicit Plain(IntrinsicInst &call) : b(&call), call(call) {}

  /// Puts together lane by lane what `lane` gives.
  Value *lanes(FixedVectorType *type, function_ref<Value *(unsigned)> lane) {
    Value *all = PoisonValue::get(type);
    for (unsigned i = 0; i < type->getNumElements(); ++i)
      all = b.CreateInsertElement(all, lane(i), i);
    return all;
  }

  /// Elements of all `parts`, one after the other, by the lowest bits of each
  /// number in `numbers`: vpermps, vpermw, vpermi2b.
  Value *lookUp(ArrayRef<Value *> parts, Value *numbers) {
    auto *part = cast<FixedVectorType>(parts[0]->getType());
    unsigned each = part->getNumElements();
    Type *element = part->getElementType();
    auto *table = ArrayType::get(element, each * parts.size());
    // In the entry block: loops would grow the stack.
    BasicBlock &entry = call.getFunction()->getEntryBlock();
    Value *memory = IRBuilder<>(&entry, entry.begin()).CreateAlloca(table);
    for (auto [i, part] : enumerate(parts))
      b.CreateAlignedStore(
          part, b.CreateConstInBoundsGEP2_32(table, memory, 0, i * each),
          Align(1));
    return lanes(part, [&](unsigned i) -> Value * {
      Value *number = b.CreateExtractElement(numbers, i);
      number = b.CreateAnd(number, each * parts.size() - 1);
      number = b.CreateZExt(number, b.getInt64Ty());
      Value *at = b.CreateInBoundsGEP(table, memory, {b.getInt64(0), number});
      return b.CreateLoad(element, at);
    });
  }

  /// vpshufb: within each 128 bits, zero where a number is negative.
  Value *shuffleBytes(Value *bytes, Value *numbers) {
    auto *type = cast<FixedVectorType>(bytes->getType());
    return lanes(type, [&](unsigned i) -> Value * {
      Value *number = b.CreateExtractElement(numbers, i);
      Value *at = b.CreateAdd(b.CreateAnd(number, 15), b.getInt8(i / 16 * 16));
      return b.CreateSelect(b.CreateICmpSLT(number, b.getInt8(0)), b.getInt8(0),
                            b.CreateExtractElement(bytes, at));
    });
  }

  /// vdpbf16ps: of each pair the second product comes first.
  Value *dotPairs(Value *sum, Value *x, Value *y) {
    for (bool second : {true, false})
      sum = addProductsOfPairs(b, sum, x, y, second);
    return sum;
  }

  Value *replacement() {
    auto operand = [&](unsigned i) { return call.getArgOperand(i); };
    switch (call.getIntrinsicID()) {
    case Intrinsic::x86_avx512_permvar_sf_512:
    case Intrinsic::x86_avx512_permvar_hi_512:
      return lookUp({operand(0)}, operand(1));
    case Intrinsic::x86_avx512_vpermi2var_qi_512:
      return lookUp({operand(0), operand(2)}, operand(1));
    case Intrinsic::x86_avx512_pshuf_b_512:
      return shuffleBytes(operand(0), operand(1));
    case Intrinsic::x86_avx512bf16_dpbf16ps_512:
      return dotPairs(operand(0), operand(1), operand(2));
    default:
      return nullptr;
    }
  }
};
} // namespace

void fathom::cpu::replaceInstructions(Module &module) {
  SmallVector<IntrinsicInst *> calls;
  for (Function &function : module)
    for (BasicBlock &block : function)
      for (Instruction &instruction : block)
        if (auto *call = dyn_cast<IntrinsicInst>(&instruction))
          calls.push_back(call);
  for (IntrinsicInst *call : calls) {
    Value *replacement = Plain(*call).replacement();
    if (!replacement)
      continue;
    call->replaceAllUsesWith(replacement);
    call->eraseFromParent();
  }
}
