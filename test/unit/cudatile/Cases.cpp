// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes a module with every operation of the bytecode writer, an entry for
// each group:  fathom-cudatile-cases FILE [ENTRY]
#include "codegen/NVIDIA/Bytecode/Writer.h"

#include <cstdio>
#include <functional>

using namespace fathom::cudatile;

namespace {
using S = Scalar;
struct Case {
  const char *name;
  std::vector<Type> arguments;
  std::function<void(Function &)> body;
};

Type i32() { return Type::tile(S::I32); }
Type pointer(Scalar s) { return Type::tile(pointerTo(s)); }
Attributes rounded(Rounding r) {
  Attributes a;
  a.rounding = r;
  return a;
}
Attributes signedness(Signedness s) {
  Attributes a;
  a.sign = s;
  return a;
}

/// A whole buffer of this shape as one tile.
Value whole(Function &f, const Value &base, llvm::ArrayRef<int64_t> shape) {
  llvm::SmallVector<Size> sizes, strides;
  int64_t stride = 1;
  for (int64_t d : llvm::reverse(shape)) {
    strides.insert(strides.begin(), Size(stride));
    stride *= d;
  }
  for (int64_t d : shape)
    sizes.push_back(d);
  return f.partitionView(f.tensorView(f.assumeDivBy(base, 16), sizes, strides),
                         shape, Padding::Zero);
}
ValueList zeros(Function &f, size_t n) {
  return ValueList(n, f.splatInt(S::I32, 0));
}
Value load(Function &f, unsigned argument, llvm::ArrayRef<int64_t> shape) {
  return f
      .loadView(whole(f, f.argument(argument), shape), zeros(f, shape.size()))
      .first;
}
void store(Function &f, const Value &tile, unsigned argument) {
  f.storeView(tile, whole(f, f.argument(argument), tile.type.shape),
              zeros(f, tile.type.shape.size()));
}
void floats(Function &f) {
  Value x = load(f, 0, {64});
  for (Op op : {Op::AbsF, Op::NegF, Op::Ceil, Op::Floor, Op::Cos, Op::Sin,
                Op::Log, Op::Log2, Op::Exp2, Op::RSqrt, Op::Sqrt})
    x = f.unary(op, x);
  x = f.unary(Op::Exp, x, rounded(Rounding::Full));
  x = f.unary(Op::TanH, x, rounded(Rounding::Approximate));
  for (Op op : {Op::AddF, Op::SubF, Op::MulF, Op::Pow, Op::RemF})
    x = f.binary(op, x, x);
  Attributes a;
  a.ftz = true;
  a.rounding = Rounding::Approximate;
  x = f.binary(Op::DivF, x, x, a);
  a = {};
  a.nan = true;
  x = f.binary(Op::MaxF, x, f.binary(Op::MinF, x, x), a);
  x = f.one(Op::Fma, x.type, {x, x, x});
  store(f,
        f.select(f.compareFloat(Comparison::LT, false, x, x), x,
                 f.splatFloat(S::F32, 1.5, {64})),
        1);
}
void integers(Function &f) {
  Value x = load(f, 0, {64});
  for (Op op : {Op::AddI, Op::SubI, Op::MulI, Op::MulHiI, Op::AndI, Op::OrI,
                Op::XOrI, Op::ShLI, Op::ShRI, Op::RemI, Op::MaxI})
    x = f.binary(op, x, x);
  x = f.binary(Op::MinI, x, x, signedness(Signedness::Unsigned));
  Attributes a = rounded(Rounding::Zero);
  x = f.binary(Op::DivI, x, x, a);
  a.rounding = Rounding::PositiveInfinity;
  x = f.binary(Op::DivI, x, x, a);
  x = f.unary(Op::NegI, f.unary(Op::AbsI, x));
  Value r = f.one(Op::IToF, x.type.with(Element(S::F32)), x);
  a.rounding = Rounding::IntegerToZero;
  x = f.one(Op::FToI, x.type, r, a);
  x = f.truncateInt(f.extendInt(x, S::I64, Signedness::Signed), S::I32);
  Value more = f.compareInt(Comparison::GE, Signedness::Unsigned, x,
                            f.splatInt(S::I32, -7, {64}));
  store(f, f.select(more, x, f.iota(64)), 1);
}
void shapes(Function &f) {
  Value x = load(f, 0, {4, 8});
  Value y = f.cat(x, x, 1);
  y = f.extract(y, llvm::ArrayRef<int64_t>{0, 1}, {4, 8});
  y = f.permute(y, {1, 0});
  y = f.reshape(y, {1, 32});
  y = f.broadcast(y, {4, 32});
  Value bits = f.bitcast(y, S::I32);
  Value bytes = f.one(Op::Pack, Type::tile(S::I8, 512), f.reshape(bits, {128}));
  Value words = f.one(Op::Unpack, Type::tile(S::I16, 256), bytes);
  f.assume(words, [] {
    Fact fact;
    fact.kind = Fact::Kind::SameElements;
    fact.groups.push_back(2);
    return fact;
  }());
  Value narrow = f.convertFloat(y, S::BF16);
  store(f, narrow, 1);
}
void views(Function &f) {
  Value n = f.assumeBounded(f.argument(2), 0, 4096), z = f.splatInt(S::I32, 0);
  Value base = f.assumeDivBy(f.argument(0), 16);
  Value tensor = f.tensorView(base, {n, 512}, {512, 1});
  Value part = f.partitionView(tensor, {64, 32}, Padding::NaN, {1, 0});
  Attributes hinted;
  hinted.hints["sm_90"]["allow_tma"] = {1, true};
  hinted.hints["sm_90"]["latency"] = {3, false};
  auto [a, token] = f.loadView(part, {z, z}, hinted);
  Value strided = f.stridedView(tensor, {32, 64}, {1, 1}, Padding::Zero);
  Attributes after;
  after.token = token;
  auto [b, second] = f.loadView(strided, {n, z}, after);
  Value gather = f.gatherView(tensor, {64, 32}, 0);
  auto [c, third] = f.loadView(gather, {f.iota(64), z});
  Value joined = f.one(Op::JoinTokens, Type::token(), {second, third});
  after.token = joined;
  f.storeView(f.binary(Op::AddF, a, c), whole(f, f.argument(1), {64, 32}),
              {z, z}, after);
  f.emit(Op::GetTensorShape, {i32(), i32()}, ValueList{tensor});
  f.emit(Op::GetIndexSpaceShape, {i32(), i32()}, ValueList{part});
  f.emit(Op::GetNumTileBlocks, {i32(), i32(), i32()}, ValueList());
  f.blockIds();
  (void)b;
}
void pointers(Function &f) {
  Value at = f.offset(f.spread(f.argument(0), {32}), f.iota(32));
  Attributes a;
  a.mask = f.compareInt(Comparison::LT, Signedness::Signed, f.iota(32),
                        f.spread(f.argument(2), {32}));
  a.padding = f.splatInt(S::I32, 0, {32});
  a.order = Order::Acquire;
  a.scope = Scope::Device;
  auto [x, token] = f.loadPtr(at, a);
  a.padding = {};
  a.token = token;
  a.order = Order::Release;
  a.scope = Scope::System;
  f.storePtr(at, x, a);
  Value address = f.one(Op::PtrToInt, Type::tile(S::I64, 32), at);
  Value back = f.one(Op::IntToPtr, at.type, address);
  Value other = f.one(Op::PtrToPtr, Type::tile(pointerTo(S::F32), 32), back);
  f.loadPtr(other);
  Attributes atomic;
  atomic.order = Order::Relaxed;
  atomic.scope = Scope::Device;
  f.emit(Op::AtomicRMW, {x.type, Type::token()}, {{at}, {x}}, atomic);
  atomic.order = Order::AcqRel;
  f.emit(Op::AtomicCAS, {x.type, Type::token()}, {{at}, {x}, {x}}, atomic);
  atomic.order = Order::Relaxed;
  atomic.token = f.makeToken();
  Value tensor = f.tensorView(f.argument(1), {32}, {1});
  f.emit(Op::AtomicRedView, Type::token(),
         {{f.partitionView(tensor, 32)}, zeros(f, 1), {x}}, atomic);
}
void products(Function &f) {
  Value a = load(f, 0, {64, 32}), acc = f.splatFloat(S::F32, 0, {64, 64});
  acc = f.mma(a, f.permute(a, {1, 0}), acc);
  Value e = f.convertFloat(a, S::F8E4M3FN);
  Attributes fast;
  fast.fastAccumulation = true;
  acc = f.one(Op::MmaF, acc.type, {e, f.permute(e, {1, 0}), acc}, fast);
  Value scale = f.bitcast(f.splatInt(S::I8, 127, {64, 1}), S::F8E8M0FNU);
  acc = f.one(Op::MmaFScaled, acc.type,
              {e, f.permute(e, {1, 0}), acc, scale, f.permute(scale, {1, 0})});
  Value b = f.splatInt(S::I8, 1, {64, 64});
  Attributes unsignedB;
  unsignedB.signB = Signedness::Unsigned;
  f.one(Op::MmaI, Type::tile(S::I32, {64, 64}),
        {b, b, f.splatInt(S::I32, 0, {64, 64})}, unsignedB);
  store(f, acc, 1);
}
void reductions(Function &f) {
  Value x = load(f, 0, {16, 64});
  auto add = [&](const Value &e, const Value &acc) {
    return f.binary(Op::AddF, e, acc);
  };
  Value sums = f.reduce(x, 1, {S::F32, 0}, add);
  Value scanned = f.scan(x, 1, true, {S::F32, 0xFF800000}, add);
  Value pair = f.broadcast(f.reshape(sums, {16, 1}), {16, 64});
  store(f, f.binary(Op::MulF, scanned, pair), 1);
}
void control(Function &f) {
  Value x = load(f, 0, {64}), zero = f.splatInt(S::I32, 0),
        one = f.splatInt(S::I32, 1), n = f.argument(2);
  ValueList r = f.forLoop(zero, n, one, x, [&](const Value &, ValueRef c) {
    return ValueList{f.binary(Op::AddF, c[0], x)};
  });
  Value many = f.compareInt(Comparison::GT, Signedness::Signed, n, one);
  r = f.ifElse(
      many, x.type, [&] { return ValueList{f.binary(Op::MulF, x, r[0])}; },
      [&] { return ValueList{x}; });
  auto leave = [&](ValueRef) { f.emit(Op::Break, {}, ValueList{r[0]}); };
  auto body = [&](ValueRef carried) {
    // An if without else, then the next round.
    f.emit(Op::If, {}, ValueList{many}, {}, Function::Region{{}, leave});
    f.emit(Op::Continue, {}, ValueList{carried[0]});
  };
  ValueList l = f.emit(Op::Loop, x.type, ValueList{x}, {},
                       Function::Region{{x.type}, body});
  Attributes text;
  text.text = "n = %i\n";
  f.emit(Op::Print, Type::token(), ValueList{n}, text);
  text.text = "too few";
  f.emit(Op::Assert, {}, ValueList{many}, text);
  text.text = "table";
  f.one(Op::GetGlobal, Type::tile(pointerTo(S::I32)), {}, text);
  store(f, l[0], 1);
}
} // namespace

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  std::string wanted = argc > 2 ? argv[2] : "";
  Type p32 = pointer(S::F32);
  const Case cases[] = {
      {"floats", {p32, p32}, floats},
      {"integers", {pointer(S::I32), pointer(S::I32)}, integers},
      {"shapes", {p32, pointer(S::BF16)}, shapes},
      {"views", {p32, p32, i32()}, views},
      {"pointers", {pointer(S::I32), pointer(S::I32), i32()}, pointers},
      {"products", {pointer(S::BF16), p32}, products},
      {"reductions", {p32, p32}, reductions},
      {"control", {p32, p32, i32()}, control},
  };
  Module module("fathom tests");
  module.global("table", Type::tile(S::I32, 4), std::string(16, '\1'));
  for (const Case &c : cases) {
    if (!wanted.empty() && wanted != c.name)
      continue;
    Hints hints;
    if (std::string(c.name) == "control")
      hints = {{"sm_90",
                {{"num_worker_warps_per_cta", {8, false}},
                 {"occupancy", {2, false}}}}};
    Function &f = module.entry(c.name, c.arguments, hints);
    c.body(f);
    f.ret();
  }
  llvm::Expected<std::string> file = module.finish();
  if (!file) {
    std::fprintf(stderr, "%s\n", llvm::toString(file.takeError()).c_str());
    return 1;
  }
  FILE *out = std::fopen(argv[1], "wb");
  if (!out || std::fwrite(file->data(), 1, file->size(), out) != file->size())
    return 1;
  return std::fclose(out) ? 1 : 0;
}
