// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "codegen/Common/StepSchedule.h"

#include "dialects/DSV4/IR/CacheLayout.h"
#include "dialects/Tile/IR/Grid.h"
#include "dialects/Tile/IR/Tile.h"
#include "passes/PlanMemory.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MathExtras.h"

#include <map>

using namespace mlir;

namespace fathom {

//===-- Caches -----------------------------------------------------------===//

static std::vector<format::CacheComponent>
componentsOf(dsv4::CacheType type) {
  std::vector<format::CacheComponent> all;
  for (const dsv4::CacheComponent &c : dsv4::cacheComponents(type))
    all.push_back({c.name.str(), c.rowBytes});
  return all;
}

FailureOr<std::vector<format::Cache>> collectCaches(ModuleOp imported) {
  std::vector<format::Cache> caches;
  llvm::StringMap<Type> seen;
  for (auto function : imported.getOps<FunctionOpInterface>())
    for (unsigned i = 0, e = function.getNumArguments(); i < e; ++i) {
      auto type = dyn_cast<dsv4::CacheType>(function.getArgumentTypes()[i]);
      if (!type)
        continue;
      auto name =
          function.getArgAttrOfType<StringAttr>(i, dsv4::kCacheNameAttr);
      if (!name)
        return function.emitOpError("argument ")
               << i << " is a cache without " << dsv4::kCacheNameAttr;
      auto [found, isNew] = seen.try_emplace(name.getValue(), type);
      if (!isNew && found->second != type)
        return function.emitOpError("cache '")
               << name.getValue() << "' has type " << Type(type) << " here and "
               << found->second << " elsewhere";
      if (isNew)
        caches.push_back({name.str(), stringifyEnum(type.getKind()).str(),
                          stringifyEnum(type.getFormat()).str(),
                          static_cast<uint64_t>(type.getRows()),
                          componentsOf(type)});
    }
  return caches;
}

//===-- Grids ------------------------------------------------------------===//

/// The record of one result of a grid map.
static std::optional<format::GridAxis> gridAxis(AffineExpr expr) {
  std::optional<SmallVector<tile::GridTerm>> terms = tile::gridTerms(expr);
  if (!terms)
    return std::nullopt;
  format::GridAxis axis;
  for (const tile::GridTerm &term : *terms)
    axis.push_back({term.dim < 0    ? format::Count::One
                    : term.dim == 0 ? format::Count::Tokens
                                    : format::Count::Rows,
                    static_cast<uint64_t>(term.divide),
                    static_cast<uint64_t>(term.multiply)});
  return axis;
}

//===-- Entries ----------------------------------------------------------===//

namespace {

/// Numbers what launches refer to, over all schedules of a module.
class ScheduleWriter {
public:
  ScheduleWriter(const Checkpoint &checkpoint, format::Manifest &manifest)
      : checkpoint(checkpoint), manifest(manifest) {}

  LogicalResult add(func::FuncOp schedule);

private:
  struct Ports {
    std::vector<format::Port> inputs, outputs;
    std::vector<std::optional<format::Arg>> ofArgument;
  };
  FailureOr<Ports> readPorts(func::FuncOp schedule);
  LogicalResult addLaunch(tile::LaunchOp launch, const Ports &ports,
                          format::Specialisation &into);
  FailureOr<format::Arg> argument(tile::LaunchOp launch, Value operand,
                                  const Ports &ports, uint64_t &weightBytes);
  FailureOr<uint32_t> weight(Operation *op, StringRef name);
  FailureOr<uint32_t> table(tile::WeightTableOp op);
  FailureOr<format::Arg> cache(tile::CacheOp op);

  const Checkpoint &checkpoint;
  format::Manifest &manifest;
  llvm::StringMap<uint32_t> weights, tables;
  std::map<uint32_t, uint32_t> files; // of the checkpoint -> of the manifest
};

} // namespace

static format::Count portCount(StringRef name) {
  return name == "rows" || name == "logits" ? format::Count::Rows
                                            : format::Count::Tokens;
}

/// dtype and bytes of a row of a port; nothing for another kind of buffer.
static std::optional<format::Port> portOf(StringRef name, MemRefType type) {
  if (type.getRank() < 1 || !type.getLayout().isIdentity())
    return std::nullopt;
  format::Port port;
  port.name = name.str();
  port.count = portCount(name);
  Type element = type.getElementType();
  if (element.isInteger(32))
    port.dtype = "I32";
  else if (element.isF32())
    port.dtype = "F32";
  else if (element.isBF16())
    port.dtype = "BF16";
  else
    return std::nullopt;
  port.rowBytes = element.getIntOrFloatBitWidth() / 8;
  for (int64_t size : type.getShape().drop_front()) {
    if (ShapedType::isDynamic(size))
      return std::nullopt;
    port.rowBytes *= size;
  }
  return port;
}

FailureOr<ScheduleWriter::Ports>
ScheduleWriter::readPorts(func::FuncOp schedule) {
  Ports ports;
  for (unsigned i = 0, e = schedule.getNumArguments(); i < e; ++i) {
    auto name = schedule.getArgAttrOfType<StringAttr>(i, tile::kPortAttr);
    if (!name)
      return schedule.emitOpError("argument ")
             << i << " has no " << tile::kPortAttr;
    format::Arg arg;
    if (name == "count.tokens" || name == "count.rows") {
      arg.kind = format::Arg::Kind::Count;
      arg.count =
          name == "count.rows" ? format::Count::Rows : format::Count::Tokens;
      ports.ofArgument.push_back(arg);
      continue;
    }
    auto type = dyn_cast<MemRefType>(schedule.getArgumentTypes()[i]);
    std::optional<format::Port> port;
    if (type)
      port = portOf(name.getValue(), type);
    if (!port)
      return schedule.emitOpError("port '")
             << name.getValue() << "' has type "
             << schedule.getArgumentTypes()[i]
             << "; expected a memref of i32, f32 or bf16 whose leading "
                "dimension alone may be dynamic";
    bool isOutput =
        static_cast<bool>(schedule.getArgAttr(i, tile::kOutputAttr));
    auto &list = isOutput ? ports.outputs : ports.inputs;
    arg.kind = isOutput ? format::Arg::Kind::Output : format::Arg::Kind::Input;
    arg.index = list.size();
    list.push_back(*port);
    ports.ofArgument.push_back(arg);
  }
  return ports;
}

FailureOr<uint32_t> ScheduleWriter::weight(Operation *op, StringRef name) {
  auto [found, isNew] = weights.try_emplace(name, manifest.weights.size());
  if (!isNew)
    return found->second;
  const TensorInfo *tensor = checkpoint.find(name);
  if (!tensor)
    return op->emitOpError("names tensor '")
           << name << "', which the checkpoint does not have";
  auto [file, isNewFile] =
      files.try_emplace(tensor->file, manifest.files.size());
  if (isNewFile) {
    const SafetensorsFile &source = checkpoint.files()[tensor->file];
    manifest.files.push_back(
        {source.name, source.headerBlake3, source.bytes, source.headerBytes});
  }
  format::Weight record;
  record.name = tensor->name;
  record.dtype = dtypeName(tensor->dtype).str();
  record.shape.assign(tensor->shape.begin(), tensor->shape.end());
  record.file = file->second;
  record.offset = tensor->offset;
  record.bytes = tensor->bytes;
  manifest.weights.push_back(std::move(record));
  return found->second;
}

/// A static buffer type that stands for a tensor must have its bytes: a kernel
/// reads exactly that far.
static bool hasBytes(MemRefType type, uint64_t bytes) {
  if (!type.hasStaticShape() || !type.getElementType().isIntOrFloat())
    return false;
  uint64_t width =
      llvm::divideCeil(type.getElementType().getIntOrFloatBitWidth(), 8);
  return static_cast<uint64_t>(type.getNumElements()) * width == bytes;
}

FailureOr<uint32_t> ScheduleWriter::table(tile::WeightTableOp op) {
  auto [found, isNew] =
      tables.try_emplace(op.getName(), manifest.tables.size());
  if (!isNew)
    return found->second;
  auto [before, after] = op.getName().split("{}");
  if (before.size() + after.size() + 2 != op.getName().size())
    return op.emitOpError("has a name without {} for the number");
  auto type = cast<tile::TableType>(op.getResult().getType());
  format::WeightTable record;
  record.name = op.getName().str();
  for (int64_t i = 0; i < type.getCount(); ++i) {
    std::string name = (before + Twine(i) + after).str();
    FailureOr<uint32_t> entry = weight(op, name);
    if (failed(entry))
      return failure();
    if (!hasBytes(type.getBuffer(), manifest.weights[*entry].bytes))
      return op.emitOpError("expects tensor '")
             << name << "' to fill " << type.getBuffer() << ", but it has "
             << manifest.weights[*entry].bytes << " bytes";
    record.weights.push_back(*entry);
  }
  manifest.tables.push_back(std::move(record));
  return found->second;
}

FailureOr<format::Arg> ScheduleWriter::cache(tile::CacheOp op) {
  format::Arg arg;
  arg.kind = format::Arg::Kind::Cache;
  for (auto [i, cache] : llvm::enumerate(manifest.caches)) {
    if (cache.name != op.getName())
      continue;
    arg.index = i;
    for (auto [j, component] : llvm::enumerate(cache.components)) {
      if (component.name != op.getComponent())
        continue;
      arg.component = j;
      auto type = cast<MemRefType>(op.getResult().getType());
      uint64_t bytes = 0;
      if (type.getRank() >= 1 && type.getElementType().isIntOrFloat()) {
        bytes = type.getElementType().getIntOrFloatBitWidth() / 8;
        for (int64_t size : type.getShape().drop_front())
          bytes *= ShapedType::isDynamic(size) ? 0 : size;
      }
      if (bytes != component.rowBytes)
        return op.emitOpError("has rows of ")
               << bytes << " bytes; the cache stores " << component.rowBytes;
      return arg;
    }
  }
  return op.emitOpError("names component '")
         << op.getComponent() << "' of cache '" << op.getName()
         << "', which the model does not have";
}

FailureOr<format::Arg> ScheduleWriter::argument(tile::LaunchOp launch,
                                                Value operand,
                                                const Ports &ports,
                                                uint64_t &weightBytes) {
  Value base = tile::viewBase(operand);
  if (!base) {
    launch.emitOpError("takes a view that does not start where its buffer "
                       "starts");
    return failure();
  }
  if (auto argument = dyn_cast<BlockArgument>(base))
    return *ports.ofArgument[argument.getArgNumber()];

  format::Arg arg;
  Operation *op = base.getDefiningOp();
  if (auto named = dyn_cast<tile::WeightOp>(op)) {
    FailureOr<uint32_t> index = weight(op, named.getName());
    if (failed(index))
      return failure();
    arg.kind = format::Arg::Kind::Weight;
    arg.index = *index;
    const uint64_t bytes = manifest.weights[*index].bytes;
    if (!hasBytes(cast<MemRefType>(base.getType()), bytes)) {
      named.emitOpError("has type ")
          << base.getType() << ", but the tensor has " << bytes << " bytes";
      return failure();
    }
    weightBytes += bytes;
    return arg;
  }
  if (auto named = dyn_cast<tile::WeightTableOp>(op)) {
    FailureOr<uint32_t> index = table(named);
    if (failed(index))
      return failure();
    arg.kind = format::Arg::Kind::Table;
    arg.index = *index;
    for (uint32_t entry : manifest.tables[*index].weights)
      weightBytes += manifest.weights[entry].bytes;
    return arg;
  }
  if (auto named = dyn_cast<tile::CacheOp>(op))
    return cache(named);
  if (isa<memref::AllocOp>(op)) {
    auto offset = op->getAttrOfType<IntegerAttr>(tile::kOffsetAttr);
    if (!offset) {
      op->emitOpError("has no ") << tile::kOffsetAttr << "; plan memory first";
      return failure();
    }
    arg.kind = format::Arg::Kind::Workspace;
    arg.offset = offset.getInt();
    return arg;
  }
  launch.emitOpError("takes an operand that is no weight, cache, port, count "
                     "or buffer of the schedule: ")
      << operand;
  return failure();
}

LogicalResult ScheduleWriter::addLaunch(tile::LaunchOp launch,
                                        const Ports &ports,
                                        format::Specialisation &into) {
  format::Launch record;
  record.kernel = launch.getKernel().str();
  AffineMap grid = launch.getGrid();
  if (grid.getNumResults() > 3)
    return launch.emitOpError("has a grid of more than three axes");
  for (auto [i, expr] : llvm::enumerate(grid.getResults())) {
    std::optional<format::GridAxis> axis = gridAxis(expr);
    if (!axis)
      return launch.emitOpError("grid axis ")
             << i << " is not a sum of c, c * d and c * (d ceildiv k)";
    record.grid[i] = *axis;
  }
  for (Value operand : launch.getOperands()) {
    FailureOr<format::Arg> arg =
        argument(launch, operand, ports, record.weightBytes);
    if (failed(arg))
      return failure();
    record.args.push_back(*arg);
  }
  into.launches.push_back(std::move(record));
  return success();
}

static bool samePorts(const std::vector<format::Port> &a,
                      const std::vector<format::Port> &b) {
  return llvm::equal(a, b, [](const format::Port &x, const format::Port &y) {
    return x.name == y.name && x.dtype == y.dtype && x.count == y.count &&
           x.rowBytes == y.rowBytes;
  });
}

LogicalResult ScheduleWriter::add(func::FuncOp schedule) {
  auto name = schedule->getAttrOfType<StringAttr>(tile::kEntryAttr);
  auto tokens = schedule->getAttrOfType<IntegerAttr>(tile::kMaxTokensAttr);
  auto workspace = schedule->getAttrOfType<IntegerAttr>(tile::kWorkspaceAttr);
  if (!name || !tokens || !workspace)
    return schedule.emitOpError("needs ")
           << tile::kEntryAttr << ", " << tile::kMaxTokensAttr << " and "
           << tile::kWorkspaceAttr << "; plan memory first";
  FailureOr<Ports> ports = readPorts(schedule);
  if (failed(ports))
    return failure();

  auto entry = llvm::find_if(manifest.entries, [&](const format::Entry &e) {
    return e.name == name.getValue();
  });
  if (entry == manifest.entries.end()) {
    manifest.entries.push_back(
        {name.str(), std::move(ports->inputs), std::move(ports->outputs), {}});
    entry = std::prev(manifest.entries.end());
  } else if (!samePorts(entry->inputs, ports->inputs) ||
             !samePorts(entry->outputs, ports->outputs)) {
    return schedule.emitOpError("has other ports than another specialisation "
                                "of entry '")
           << name.getValue() << "'";
  }
  format::Specialisation specialisation;
  specialisation.maxTokens = tokens.getInt();
  specialisation.workspaceBytes = workspace.getInt();
  for (auto launch : schedule.front().getOps<tile::LaunchOp>())
    if (failed(addLaunch(launch, *ports, specialisation)))
      return failure();
  // The runtime takes the first that is large enough.
  auto place = llvm::upper_bound(
      entry->specialisations, specialisation,
      [](const auto &a, const auto &b) { return a.maxTokens < b.maxTokens; });
  entry->specialisations.insert(place, std::move(specialisation));
  return success();
}

LogicalResult scheduleEntries(ModuleOp planned, const Checkpoint &checkpoint,
                              format::Manifest &manifest) {
  ScheduleWriter writer(checkpoint, manifest);
  for (auto schedule : planned.getOps<func::FuncOp>())
    if (schedule->hasAttr(tile::kEntryAttr) && failed(writer.add(schedule)))
      return failure();
  if (manifest.entries.empty())
    return planned.emitError("has no schedule function (tile.entry)");
  return success();
}

} // namespace fathom
