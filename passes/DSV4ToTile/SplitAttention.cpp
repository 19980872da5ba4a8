// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attention shared out to more programs than there are tokens and blocks of
// heads. First the scores: a program for every step of rows, which leaves them
// and the largest of them. Then the sums, in one of two ways:
//
// - of few tokens: a program for every step makes its sums, and a program for a
//   part of the channels adds those of all steps in their order; or
// - behind an indexer, whose choice bounds how many steps there are: a program
//   for a part of the channels goes through all steps. That is a launch less,
//   and such a program holds so little that it needs no memory but registers.
//
// Either way a step's sums begin at zero and are added in the order of the
// steps, as one program alone does it: no bit depends on who does what.
#include "passes/DSV4ToTile/Attention.h"

using namespace mlir;
using P = mlir::arith::CmpIPredicate;

namespace fathom {

/// Steps that are added by one piece of code.
static constexpr int64_t kTogether = 4;

namespace {
struct Split {
  Lowering &l;
  AttentionPlan &plan;
  int64_t windowSteps, steps; // both in whole groups of kTogether
  Value scores, largest;

  Split(Lowering &l, AttentionPlan &plan);
  bool pays() const;
  /// Channels of a program that takes a part.
  int64_t part() const;
  Value workspace(Shape shape) {
    dsv4::AttentionOp op = plan.op;
    return l.workspace(op.getQ(), 1, shape, l.b.getF32Type());
  }
  void launch(StringRef name, ValueRange operands, int64_t third,
              function_ref<void(AttentionProgram &)> write);
  void launchScores();
  void launchSums(Value result);
  void launchParts(Value result);

  /// Calls take(cache, rows) for the step that a program is for, if there is
  /// such a step.
  using OneStep =
      function_ref<void(const CacheReader &, const AttentionProgram::Rows &)>;
  void oneStep(AttentionProgram &a, Value number, OneStep take) const;
  /// Over groups of steps, ascending: take(state, first step of the group, how
  /// many steps there are from it on).
  using Group = function_ref<SmallVector<Value>(ValueRange, Value, Value)>;
  SmallVector<Value> overGroups(AttentionProgram &a, ValueRange state,
                                Group take) const;
  Value stepsOf(KernelBuilder &k, Value rows) const;
  /// Over all steps, ascending: take(state, number of the step, cache, rows).
  using Each = function_ref<SmallVector<Value>(
      ValueRange, Value, const CacheReader &, const AttentionProgram::Rows &)>;
  SmallVector<Value> overSteps(AttentionProgram &a, ValueRange state,
                               Each take) const;
  Value largestOf(AttentionProgram &a, Value buffer) const;
  Value scoresOf(AttentionProgram &a, Value buffer, Value number) const {
    return a.k.load(buffer, {a.t, a.k.muli(number, plan.step), a.h},
                    {plan.step, plan.block});
  }
  Value added(KernelBuilder &k, Value sum, Value group, Value left) const;
  void ofPart(AttentionProgram &a, Value c,
              function_ref<void(bool)> write) const;
  /// Stores the channels from `c` on, turned back if `turns`. `angles`: the
  /// arguments of cosines and sines.
  void store(AttentionProgram &a, ValueRange sums, Value c, bool turns,
             unsigned angles, unsigned out) const;
};
} // namespace

Split::Split(Lowering &l, AttentionPlan &plan) : l(l), plan(plan) {
  windowSteps = llvm::alignTo(plan.windowSteps(), kTogether);
  steps = windowSteps;
  if (plan.compressed.type)
    steps += llvm::alignTo(plan.compressedSteps(), kTogether);
}

bool Split::pays() const {
  int64_t channels = plan.chosen ? 0 : plan.tileWidth;
  int64_t bytes =
      l.maxTokens * steps * plan.paddedHeads() * (plan.step + channels + 2) * 4;
  bool fits = plan.chosen ? bytes <= l.shapes.scoreBytes
                          : l.maxTokens <= l.shapes.splitTokens &&
                                bytes <= l.shapes.splitBytes;
  return plan.sumsBySteps && fits && part() >= 8;
}

int64_t Split::part() const {
  int64_t rope = plan.window.type.getRope();
  return std::min(pow2Divisor(plan.width - rope, 64), pow2Divisor(rope, 64));
}

void Split::launch(StringRef name, ValueRange operands, int64_t third,
                   function_ref<void(AttentionProgram &)> write) {
  std::string params = plan.params;
  if (plan.chosen)
    params += "_" + std::to_string(plan.chosen);
  auto kernel =
      l.kernels.get(name, params, operands.getTypes(), [&](KernelBuilder &k) {
        AttentionProgram a(k, plan);
        write(a);
      });
  dsv4::AttentionOp op = plan.op;
  Lowering::Grid grid;
  grid.like = op.getQ();
  grid.others[0] = plan.headBlocks();
  grid.others[1] = third;
  l.launch(kernel, grid, operands);
}

void Split::oneStep(AttentionProgram &a, Value number, OneStep take) const {
  KernelBuilder &k = a.k;
  auto inWindow = [&] {
    AttentionProgram::Window w = a.windowRange();
    Value at = k.addi(w.from, k.muli(number, plan.step));
    k.when(k.cmpi(P::sle, at, a.position),
           [&] { take(plan.window, a.windowRows(w, at)); });
  };
  if (!plan.compressed.type)
    return inWindow();
  k.when(k.cmpi(P::slt, number, k.ci(windowSteps)), inWindow, [&] {
    AttentionProgram::Compressed c = a.compressedRange();
    Value at = k.muli(k.subi(number, k.ci(windowSteps)), plan.step);
    k.when(k.cmpi(P::slt, at, c.count),
           [&] { take(plan.compressed, a.compressedRows(c, at)); });
  });
}

/// How many steps these rows are.
Value Split::stepsOf(KernelBuilder &k, Value rows) const {
  return k.divi(k.addi(rows, k.ci(plan.step - 1)), plan.step);
}

SmallVector<Value> Split::overSteps(AttentionProgram &a, ValueRange state,
                                    Each take) const {
  KernelBuilder &k = a.k;
  AttentionProgram::Window w = a.windowRange();
  Value rows = k.subi(k.addi(a.position, k.ci(1)), w.from);
  SmallVector<Value> next =
      k.loop(k.ci(0), stepsOf(k, rows), k.ci(1), state,
             [&](Value number, ValueRange carried) {
               Value at = k.addi(w.from, k.muli(number, plan.step));
               return take(carried, number, plan.window, a.windowRows(w, at));
             });
  if (!plan.compressed.type)
    return next;
  AttentionProgram::Compressed c = a.compressedRange();
  return k.loop(k.ci(0), stepsOf(k, c.count), k.ci(1), next,
                [&](Value i, ValueRange carried) {
                  return take(carried, k.addi(i, k.ci(windowSteps)),
                              plan.compressed,
                              a.compressedRows(c, k.muli(i, plan.step)));
                });
}

SmallVector<Value> Split::overGroups(AttentionProgram &a, ValueRange state,
                                     Group take) const {
  KernelBuilder &k = a.k;
  auto over = [&](ValueRange from, int64_t first, Value rows) {
    Value end = k.addi(k.ci(first), stepsOf(k, rows));
    return k.loop(k.ci(first), end, k.ci(kTogether), from,
                  [&](Value at, ValueRange carried) {
                    return take(carried, at, k.subi(end, at));
                  });
  };
  AttentionProgram::Window w = a.windowRange();
  Value rows = k.subi(k.addi(a.position, k.ci(1)), w.from);
  SmallVector<Value> next = over(state, 0, rows);
  if (!plan.compressed.type)
    return next;
  return over(next, windowSteps, a.compressedRange().count);
}

/// What lies beyond the last step counts for nothing.
static Value isStep(KernelBuilder &k, Value left, Shape shape) {
  Value i =
      k.icmp(P::slt, k.iota(kTogether), k.splat(k.toI32(left), {kTogether}));
  SmallVector<int64_t> others;
  for (size_t d = 1; d < shape.size(); ++d)
    others.push_back(d);
  return k.broadcast(i, others, shape);
}

Value Split::largestOf(AttentionProgram &a, Value buffer) const {
  KernelBuilder &k = a.k;
  SmallVector<int64_t> shape{kTogether, plan.block};
  return overGroups(
      a, k.full(-1e30, {plan.block}),
      [&](ValueRange m, Value at, Value left) -> SmallVector<Value> {
        Value x = k.load(buffer, {a.t, at, a.h}, shape);
        x = k.select(isStep(k, left, shape), x, k.full(-1e30, shape));
        return {k.max(m[0], k.reduce(tile::ReduceKind::Max, x, 0))};
      })[0];
}

/// `sum` and the tiles of a group, one after the other.
Value Split::added(KernelBuilder &k, Value sum, Value group, Value left) const {
  SmallVector<int64_t> shape(k.type(group).getShape()), one(shape);
  group = k.select(isStep(k, left, shape), group, k.full(0, shape));
  one[0] = 1;
  SmallVector<OpFoldResult> offsets(shape.size(), k.b.getIndexAttr(0)), sizes,
      strides(shape.size(), k.b.getIndexAttr(1));
  for (int64_t d : one)
    sizes.push_back(k.b.getIndexAttr(d));
  for (int64_t i = 0; i < kTogether; ++i) {
    offsets[0] = k.b.getIndexAttr(i);
    Value x = tensor::ExtractSliceOp::create(
        k.b, k.loc, k.type(group).clone(one), group, offsets, sizes, strides);
    sum = k.add(sum, k.reshape(x, k.type(sum).getShape()));
  }
  return sum;
}

void Split::store(AttentionProgram &a, ValueRange sums, Value c, bool turns,
                  unsigned angles, unsigned out) const {
  KernelBuilder &k = a.k;
  int64_t channels = part();
  Value y = a.divided(sums[1], sums[0], channels);
  if (turns) {
    Value from = k.divi(k.subi(c, k.ci(plan.width - plan.rotated)), 2);
    auto angle = [&](unsigned arg) {
      return k.load(k.arg(arg), {a.t, from}, {channels / 2});
    };
    Value cos = angle(angles), sin = angle(angles + 1);
    y = a.turnedBack(k.f32(y), cos, sin);
  }
  SmallVector<Value> bounds;
  if (plan.heads % plan.block)
    bounds = {k.ci(plan.heads), k.ci(plan.width)};
  k.store(y, k.arg(out), {a.t, a.h, c}, bounds);
}

/// Calls write(whether the channels from `c` on are the rope's).
void Split::ofPart(AttentionProgram &a, Value c,
                   function_ref<void(bool)> write) const {
  int64_t rope = plan.window.type.getRope(), nope = plan.width - rope;
  if (!nope)
    return write(true);
  KernelBuilder &k = a.k;
  k.when(
      k.cmpi(P::sge, c, k.ci(nope)), [&] { write(true); },
      [&] { write(false); });
}

void Split::launchScores() {
  SmallVector<Value> operands(plan.operands);
  unsigned out = operands.size();
  scores = workspace({steps * plan.step, plan.paddedHeads()});
  largest = workspace({steps, plan.paddedHeads()});
  operands.append({scores, largest});
  launch("attention_scores", operands, steps, [&](AttentionProgram &a) {
    KernelBuilder &k = a.k;
    Value number = k.pid(2);
    a.loadQuery();
    oneStep(a, number,
            [&](const CacheReader &cache, const AttentionProgram::Rows &rows) {
              Value s =
                  a.scores(a.keys(cache, rows), a.maskOf(rows.valid), rows);
              k.store(s, k.arg(out), {a.t, k.muli(number, plan.step), a.h});
              k.store(k.reduce(tile::ReduceKind::Max, s, 0), k.arg(out + 1),
                      {a.t, number, a.h});
            });
  });
}

void Split::launchSums(Value result) {
  SmallVector<Value> operands(plan.operands);
  unsigned first = operands.size();
  int64_t heads = plan.paddedHeads(), block = plan.block, channels = part();
  Value top = workspace({heads}), weights = workspace({steps, heads}),
        sums = workspace({steps, plan.tileWidth, heads});
  operands.append({scores, largest, top, weights, sums});
  launch("attention_sums", operands, steps, [&](AttentionProgram &a) {
    KernelBuilder &k = a.k;
    Value number = k.pid(2);
    auto write = [&](const CacheReader &cache,
                     const AttentionProgram::Rows &rows) {
      Value m = largestOf(a, k.arg(first + 1));
      Value p = a.probabilities(scoresOf(a, k.arg(first), number), m);
      SmallVector<Value> zero{k.full(0, {block}),
                              k.full(0, plan.sumShape(plan.tileWidth))};
      SmallVector<Value> own =
          a.addProducts(zero, p, a.keys(cache, rows), rows);
      k.store(own[0], k.arg(first + 3), {a.t, number, a.h});
      k.store(own[1], k.arg(first + 4), {a.t, number, k.ci(0), a.h});
      // The first step of the window is always there.
      k.when(k.cmpi(P::eq, number, k.ci(0)), [&] {
        k.store(m, k.arg(first + 2), {a.t, a.h});
      });
    };
    oneStep(a, number, write);
  });

  operands.assign(plan.operands.begin(), plan.operands.begin() + 4);
  operands.append({top, weights, sums});
  unsigned angles = operands.size();
  if (plan.rotated)
    operands.append({plan.operands[plan.cos], plan.operands[plan.sin]});
  operands.push_back(result);
  launch(plan.rotated ? "attention_merge_unrotated" : "attention_merge",
         operands, plan.width / channels, [&](AttentionProgram &a) {
           KernelBuilder &k = a.k;
           Value c = k.muli(k.pid(2), channels), sink = a.sink();
           Value m = k.load(k.arg(4), {a.t, a.h}, {block});
           SmallVector<Value> all = overGroups(
               a, a.firstSums(sink, m, channels),
               [&](ValueRange sum, Value at, Value left) {
                 Value w = k.load(k.arg(5), {a.t, at, a.h}, {kTogether, block});
                 Value y = k.load(k.arg(6), {a.t, at, c, a.h},
                                  {kTogether, channels, block});
                 return SmallVector<Value>{added(k, sum[0], w, left),
                                           added(k, sum[1], y, left)};
               });
           ofPart(a, c, [&](bool rope) {
             store(a, all, c, rope && plan.rotated, angles,
                   operands.size() - 1);
           });
         });
}

void Split::launchParts(Value result) {
  SmallVector<Value> operands(plan.operands);
  unsigned first = operands.size();
  int64_t channels = part();
  operands.append({scores, largest, result});
  launch(plan.rotated ? "attention_parts_unrotated" : "attention_parts",
         operands, plan.width / channels, [&](AttentionProgram &a) {
           KernelBuilder &k = a.k;
           Value c = k.muli(k.pid(2), channels), sink = a.sink();
           Value m = largestOf(a, k.arg(first + 1));
           ofPart(a, c, [&](bool rope) {
             SmallVector<Value> all = overSteps(
                 a, a.firstSums(sink, m, channels),
                 [&](ValueRange sum, Value number, const CacheReader &cache,
                     const AttentionProgram::Rows &rows) {
                   Value s = scoresOf(a, k.arg(first), number);
                   Value column = rope && cache.hasRope()
                                      ? k.subi(c, k.ci(cache.ropeColumn()))
                                      : c;
                   Value keys = a.marked(
                       cache.read(k, rows.rows, column, channels, rope), rows);
                   return a.addProducts(sum, a.probabilities(s, m), keys, rows);
                 });
             store(a, all, c, rope && plan.rotated, plan.cos, first + 2);
           });
         });
}

bool splitAttention(Lowering &l, AttentionPlan &plan, Value result) {
  Split split(l, plan);
  if (!split.pays())
    return false;
  split.launchScores();
  if (plan.chosen)
    split.launchParts(result);
  else
    split.launchSums(result);
  return true;
}

} // namespace fathom
