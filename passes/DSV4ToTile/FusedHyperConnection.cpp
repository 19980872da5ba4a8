// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Groups of hyper-connections: the sub-layer's last matrix with the post-mix
// and the shares of the next mix, then the rest of the mix.
#include "passes/DSV4ToTile/Streams.h"
#include "passes/DSV4ToTile/WeightTile.h"

using namespace mlir;

namespace fathom {

/// y = W x, rounded, goes into the streams as it comes.
static void linearAndUpdate(Lowering &l, dsv4::LinearOp linear,
                            const Residual &r) {
  auto weight = cast<RankedTensorType>(linear.getWeight().getType());
  WeightTile w = WeightTile::of(l.shapes, weight.getShape(),
                                weight.getElementType(), weight.getDimSize(0));
  // One token's input is quantised on its way into every program, which costs
  // less than a launch.
  Value input = linear.getX();
  auto quantise = input.getDefiningOp<dsv4::FakeQuantizeOp>();
  if (quantise && quantise->getBlock() != linear->getBlock())
    quantise = {};
  if (quantise && l.tokenTile() == 1 && quantisesChunks(quantise, w.k, w.chunk))
    input = quantise.getX();
  else if (quantise)
    lowerFakeQuantize(l, std::exchange(quantise, {}));
  StreamsUpdate update(l, r);
  bool scaled = bool(linear.getScale());
  SmallVector<Value> operands;
  ActivationArg x(operands, l.activation(input));
  unsigned weightAt = operands.size();
  operands.push_back(l.buffer(linear.getWeight()));
  if (scaled)
    operands.push_back(l.buffer(linear.getScale()));
  unsigned first = operands.size();
  operands.append(update.operands);
  operands.push_back(l.count(linear.getX()));
  w.rows = update.block();
  w.ragged = false;
  w.byCodes = x.isCodes() || (quantise && l.shapes.codes);
  Type carrier =
      cast<RankedTensorType>(linear.getResult().getType()).getElementType();
  int64_t tokens = l.tokenTile();
  if (l.shapes.streamByStream)
    tokens = std::min(tokens, l.shapes.streamTokens);
  auto kernel = l.kernels.get(
      "linear_streams",
      update.params +
          (quantise ? "_q" + std::to_string(quantise.getBlock()) : "") + "_t" +
          std::to_string(tokens),
      ValueRange(operands).getTypes(), [&](KernelBuilder &k) {
        Value c = k.muli(k.pid(0), w.rows), t = k.muli(k.pid(1), tokens),
              count = k.arg(operands.size() - 1);
        SmallVector<Value> bounds;
        if (tokens > 1)
          bounds = {count, k.ci(w.k)};
        auto loadX = [&](Value k0, int64_t width) {
          XTile tile = x.load(k, {t, k0}, {tokens, width}, bounds);
          return quantise ? quantised(k, l.shapes, tile.x, quantise)
                                .ofTokens(tile.first, tile.end)
                          : tile;
        };
        WeightOperand operand{k.arg(weightAt),
                              scaled ? k.arg(weightAt + 1) : Value()};
        Value y = walkK(k, w, operand, c, tokens, loadX)[0];
        y = tokens == 1 ? k.reshape(y, {1, w.rows}) : k.transpose(y);
        update.apply(k, first, tokens, k.f32(k.to(y, carrier)), t, c, count);
      });
  Lowering::Grid grid;
  grid.like = linear.getX();
  grid.tokenAxis = 1;
  grid.perProgram = tokens;
  grid.others[0] = update.blocks();
  l.launch(kernel, grid, operands);
  if (r.pre)
    finishMix(l, r, update.shares);
}

bool lowerHyperConnection(Lowering &l, dsv4::FusedOp group) {
  Residual r = Residual::of(group);
  dsv4::LinearOp linear;
  for (Operation &op : group.members())
    if (auto o = dyn_cast<dsv4::LinearOp>(op))
      linear = o;
  SmallVector<Operation *> members = r.members();
  if (linear)
    members.append(
        {linear, linear.getX().getDefiningOp<dsv4::FakeQuantizeOp>()});
  if (!r.fits(l.shapes) || !hasOnly(group, members) ||
      !yieldsOnly(group, r.results()))
    return false;
  if (!linear)
    updateAndFinish(l, r);
  else if (r.post && r.post.getY() == linear.getResult())
    linearAndUpdate(l, linear, r);
  else
    return false;
  return true;
}

} // namespace fathom
