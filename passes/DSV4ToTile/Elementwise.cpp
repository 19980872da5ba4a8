// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Copies and elementwise operations: one program per token and chunk.
#include "passes/DSV4ToTile/Lowering.h"

using namespace mlir;

namespace fathom {

/// [T, ...] as [T, W].
static Value rows2D(Lowering &l, Value tensor) {
  Value m = l.buffer(tensor);
  auto type = cast<MemRefType>(m.getType());
  if (type.getRank() == 2)
    return m;
  int64_t width = 1;
  for (int64_t d : type.getShape().drop_front())
    width *= d;
  return l.expand(m, {width});
}

using Body = function_ref<Value(KernelBuilder &, ArrayRef<Value>)>;

/// result[t, c] = body(inputs[t, c]...), all of one shape.
static void elementwise(Lowering &l, StringRef name, std::string params,
                        ValueRange inputs, Value result, Body body) {
  l.result(result, inputs.front());
  SmallVector<Value> operands;
  for (Value v : inputs)
    operands.push_back(rows2D(l, v));
  operands.push_back(rows2D(l, result));
  auto type = cast<MemRefType>(operands.front().getType());
  int64_t width = type.getDimSize(1),
          chunk = pow2Divisor(width, l.shapes.elements);
  auto kernel = l.kernels.get(
      name, params, ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.pid(0), c = k.muli(k.pid(1), chunk);
        SmallVector<Value> tiles;
        for (unsigned i = 0; i < inputs.size(); ++i)
          tiles.push_back(k.f32(k.load(k.arg(i), {t, c}, {chunk})));
        Value out = k.arg(inputs.size());
        k.store(k.to(body(k, tiles), k.argType(inputs.size()).getElementType()),
                out, {t, c});
      });
  Lowering::Grid grid;
  grid.like = inputs.front();
  grid.others[0] = width / chunk;
  l.launch(kernel, grid, operands);
}

void lowerScale(Lowering &l, dsv4::ScaleOp op) {
  double factor = op.getFactor().convertToDouble();
  elementwise(
      l, "scale", number(factor), op.getX(), op.getResult(),
      [&](KernelBuilder &k, ArrayRef<Value> x) { return k.mul(x[0], factor); });
}

void lowerSwiGLU(Lowering &l, dsv4::SwiGLUOp op) {
  double limit = op.getLimit().convertToDouble();
  elementwise(l, "swiglu", number(limit), {op.getG(), op.getU()},
              op.getResult(), [&](KernelBuilder &k, ArrayRef<Value> x) {
                Shape s = k.type(x[0]).getShape();
                Value top = k.full(limit, s);
                Value g = k.min(x[0], top);
                Value u = k.max(k.min(x[1], top), k.full(-limit, s));
                return k.mul(k.mul(g, k.sigmoid(g)), u);
              });
}

void lowerMoECombine(Lowering &l, dsv4::MoECombineOp op) {
  elementwise(
      l, "moe_combine", "", {op.getRouted(), op.getShared()}, op.getResult(),
      [&](KernelBuilder &k, ArrayRef<Value> x) { return k.add(x[0], x[1]); });
}

/// Row i of `out` is row index(i) of `source`, both [*, W].
static void copyRows(Lowering &l, StringRef name, Value index, Value source,
                     Value result) {
  l.result(result, index);
  SmallVector<Value> operands{l.buffer(index), rows2D(l, source),
                              rows2D(l, result)};
  int64_t width = cast<MemRefType>(operands[1].getType()).getDimSize(1);
  int64_t chunk = pow2Divisor(width, l.shapes.elements);
  auto kernel = l.kernels.get(
      name, "", ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value i = k.pid(0), c = k.muli(k.pid(1), chunk);
        Value row = k.loadIndex(k.arg(0), i);
        Value x = k.load(k.arg(1), {row, c}, {chunk});
        k.store(k.to(x, k.argType(2).getElementType()), k.arg(2), {i, c});
      });
  Lowering::Grid grid;
  grid.like = index;
  grid.others[0] = width / chunk;
  l.launch(kernel, grid, operands);
}

void lowerEmbed(Lowering &l, dsv4::EmbedOp op) {
  copyRows(l, "embed", op.getIds(), op.getTable(), op.getResult());
}

void lowerSelectRows(Lowering &l, dsv4::SelectRowsOp op) {
  copyRows(l, "select_rows", op.getRows(), op.getX(), op.getResult());
}

/// result[t, s, :] = e[t, :] (+ h[t, s, :] if given) for every stream s.
static void overStreams(Lowering &l, StringRef name, Value e, Value h,
                        Value result) {
  SmallVector<Value> operands{l.buffer(e)};
  if (h)
    operands.push_back(l.buffer(h));
  operands.push_back(l.result(result, e));
  auto type = cast<MemRefType>(operands.back().getType());
  int64_t streams = type.getDimSize(1), width = type.getDimSize(2);
  int64_t chunk = pow2Divisor(width, l.shapes.elements);
  auto kernel = l.kernels.get(
      name, "", ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value t = k.pid(0), c = k.muli(k.pid(1), chunk), s = k.pid(2);
        Value x = k.f32(k.load(k.arg(0), {t, c}, {chunk}));
        if (h)
          x = k.add(x, k.f32(k.load(k.arg(1), {t, s, c}, {chunk})));
        unsigned out = h ? 2 : 1;
        k.store(k.to(x, k.argType(out).getElementType()), k.arg(out),
                {t, s, c});
      });
  Lowering::Grid grid;
  grid.like = e;
  grid.others[0] = width / chunk;
  grid.others[1] = streams;
  l.launch(kernel, grid, operands);
}

void lowerHCExpand(Lowering &l, dsv4::HCExpandOp op) {
  overStreams(l, "hc_expand", op.getX(), {}, op.getResult());
}

void lowerAddStreams(Lowering &l, dsv4::AddStreamsOp op) {
  overStreams(l, "add_streams", op.getE(), op.getH(), op.getResult());
}

} // namespace fathom
