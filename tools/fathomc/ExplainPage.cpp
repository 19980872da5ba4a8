// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// fathomc explain as one page: styles and drawings are in it, scripts are not
// needed. Written for a reader who has never seen the project.
#include "tools/fathomc/Explain.h"

#include "runtime/format/MemoryPlan.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace llvm;

namespace fathom {

namespace {

constexpr StringLiteral kStyle = R"(
:root { --ink: #1c2330; --soft: #5b6475; --line: #d8dde6; --card: #f6f8fb; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 24px 20px 60px;
  color: var(--ink); background: #fff; line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px;
  overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 40px 0 8px; }
h3 { font-size: 1rem; margin: 20px 0 6px; }
p { max-width: 75ch; margin: 6px 0 12px; }
.soft { color: var(--soft); }
.notice { border-left: 4px solid #c77700; background: #fff6e5;
  padding: 8px 12px; margin: 8px 0; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 16px 0; }
.card { flex: 1 1 150px; background: var(--card); border-radius: 8px;
  padding: 10px 14px; }
.card b { display: block; font-size: 1.3rem; white-space: nowrap; }
.wide { overflow-x: auto; }
.wide svg { min-width: 700px; width: 100%; height: auto; display: block; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { text-align: right; padding: 4px 8px; white-space: nowrap;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .left { text-align: left; }
td.code { font-family: ui-monospace, monospace; font-size: .8rem; }
.bar { display: flex; height: 28px; border-radius: 4px; overflow: hidden;
  background: var(--line); margin-bottom: 10px; }
.bar i { display: block; height: 100%; border-right: 1px solid #fff; }
.key { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: .875rem;
  margin: 4px 0 12px; }
.key i { display: inline-block; width: 12px; height: 12px; border-radius: 3px;
  margin-right: 6px; vertical-align: -1px; }
details { margin: 12px 0; }
summary { cursor: pointer; color: #1b55b5; }
)";

/// Distinct in hue and in lightness; the last is for everything small.
constexpr StringLiteral kColours[] = {"#2563a8", "#e08b1d", "#3f9b5a",
                                      "#b8433f", "#7b58b0", "#28a3b3",
                                      "#a2792f", "#d0679d", "#9aa3b2"};
constexpr size_t kNamed = std::size(kColours) - 1;

/// Text from files and command lines, safe between tags.
std::string safe(StringRef text) {
  std::string out;
  for (char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string size(double bytes) {
  return format::sizeText(static_cast<uint64_t>(bytes));
}

/// "3.2 ms", "41 s".
std::string duration(double seconds) {
  constexpr std::pair<double, StringLiteral> units[] = {
      {1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}};
  if (seconds >= 120)
    return formatv("{0:F1} min", seconds / 60);
  for (const auto &[scale, name] : units)
    if (seconds >= scale)
      return formatv("{0} {1}",
                     seconds / scale >= 100
                         ? formatv("{0:F0}", seconds / scale).str()
                         : formatv("{0:F2}", seconds / scale).str(),
                     name);
  return "0 s";
}

/// "12.3 TFLOP".
std::string operations(double flops) {
  constexpr std::pair<double, StringLiteral> units[] = {
      {1e18, "EFLOP"}, {1e15, "PFLOP"}, {1e12, "TFLOP"},
      {1e9, "GFLOP"},  {1e6, "MFLOP"},  {1e3, "kFLOP"}};
  for (const auto &[scale, name] : units)
    if (flops >= scale)
      return formatv("{0:F1} {1}", flops / scale, name);
  return formatv("{0:F0} FLOP", flops);
}

class Page {
public:
  explicit Page(const Explanation &what) : what(what), os(text) {}
  std::string build();

private:
  void head();
  void cards();
  void roofline();
  void bars();
  void bar(StringRef title, const PhaseCost &phase,
           function_ref<double(const CostGroup &)> value,
           function_ref<std::string(double)> show);
  void key();
  void phaseTable(const PhaseCost &phase);
  void kernels();
  void tensors(StringRef title, ArrayRef<TensorGroup> groups);
  StringRef colourOf(StringRef name) const;

  const Explanation &what;
  std::vector<std::string> named; // operations with a colour of their own
  std::string text;
  raw_string_ostream os;
};

StringRef Page::colourOf(StringRef name) const {
  auto found = llvm::find(named, name);
  return kColours[found == named.end() ? kNamed : found - named.begin()];
}

void Page::head() {
  os << "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
     << "<meta name=\"viewport\" content=\"width=device-width, "
        "initial-scale=1\">\n<title>"
     << safe(what.model) << " explained</title>\n<style>" << kStyle
     << "</style></head><body>\n<h1>What " << safe(what.model)
     << " costs to run</h1>\n"
     << formatv("<p class=\"soft\">Predicted for {0} ({1}), a context of {2} "
                "tokens, {3} sequence{4}, {5} numerics.</p>\n",
                safe(what.device.name), safe(what.device.description),
                what.context, what.batch, what.batch == 1 ? "" : "s",
                what.numerics);
  for (const std::string &notice : what.notices)
    os << "<div class=\"notice\">" << safe(notice) << "</div>\n";
  os << "<p>This page was made by Fathom, a compiler that turns the weights of "
        "a DeepSeek-V4 language model into a program for one machine. It says "
        "what that program has to do, before it is run anywhere. A model reads "
        "a prompt (<b>prefill</b>: many tokens at once) and then writes its "
        "answer (<b>decode</b>: one token after the other, each of them a pass "
        "through all layers). A <b>token</b> is a piece of a word.</p>\n"
     << "<p>Every pass is a list of <b>operations</b>. An operation computes "
        "(counted in floating-point operations, FLOP) and moves bytes: "
        "<b>weights</b>, the <b>cache</b> that holds what the model remembers "
        "of the text so far, and <b>activations</b>, what one operation hands "
        "to the next. It takes as long as the slowest of three things at the "
        "rates that the device's maker publishes: its arithmetic (<i>compute "
        "bound</i>), its bytes (<i>memory bound</i>), or the starting of its "
        "kernels, the small programs that it is made of (<i>launch "
        "bound</i>). Real programs reach a part of these rates: read the times "
        "as a floor.</p>\n";
}

void Page::cards() {
  os << "<div class=\"cards\">\n";
  auto card = [&](const std::string &value, StringRef label) {
    os << "<div class=\"card\"><b>" << value << "</b>" << label << "</div>\n";
  };
  for (const PhaseCost &phase : what.phases) {
    const Workload &w = phase.workload;
    double tokens = double(w.count) * double(w.sequences);
    bool decode = phase.name == "decode";
    card(duration(phase.total.seconds),
         decode ? "at least, for a decoded token of each sequence"
                : "at least, to read the whole context (prefill)");
    card(formatv("{0:F1}/s", tokens / phase.total.seconds),
         decode ? "tokens decoded, all sequences together"
                : "tokens read in prefill");
    card(operations(phase.total.cost.flops() / tokens),
         decode ? "for a decoded token" : "for a token of prefill, on average");
  }
  card(std::to_string(what.after.kernels),
       formatv("kernels for a decoded token, {0} before fusion",
               what.before.kernels)
           .str());
  os << "</div>\n";
}

void Page::roofline() {
  // Two decades of margin around everything that is drawn.
  constexpr double kLeft = 104, kRight = 880, kTop = 20, kBottom = 400;
  double lowX = 1e9, highX = 1, lowY = 1e30;
  double peak = std::max({what.device.bf16,
                          what.published ? what.device.fp8 : 0.0});
  struct Dot {
    const CostGroup *group;
    double x, y;
    bool decode;
  };
  std::vector<Dot> dots;
  for (const PhaseCost &phase : what.phases)
    for (const CostGroup &group : phase.byName) {
      double flops = group.cost.flops(), bytes = group.cost.bytes();
      if (flops <= 0 || bytes <= 0 || group.seconds <= 0)
        continue;
      dots.push_back({&group, flops / bytes, flops / group.seconds,
                      phase.name == "decode"});
      lowX = std::min(lowX, flops / bytes);
      highX = std::max(highX, flops / bytes);
      lowY = std::min(lowY, flops / group.seconds);
    }
  double ridge = peak / what.device.bandwidth;
  double x0 = std::floor(std::log10(std::max(1e-3, std::min(lowX, 0.1))));
  double x1 = std::ceil(std::log10(std::max(highX, ridge * 10)));
  double y0 = std::floor(std::log10(lowY)), y1 = std::ceil(std::log10(peak));
  auto px = [&](double x) {
    return kLeft + (std::log10(x) - x0) / (x1 - x0) * (kRight - kLeft);
  };
  auto py = [&](double y) {
    return kBottom - (std::log10(y) - y0) / (y1 - y0) * (kBottom - kTop);
  };
  os << "<h2>Roofline: what holds each operation back</h2>\n"
     << "<p>Each mark is a kind of operation: a disc in decode, a square in "
        "prefill, larger where it takes more of the time. To the right, more "
        "arithmetic for each byte moved; upwards, faster. Nothing can be above "
        "the black line: on its slope memory is the limit, on its flat part "
        "arithmetic is. Marks far below it wait for the start of their "
        "kernels, or compute in vectors rather than in matrix units (dashed "
        "line). Point at a mark to read its name.</p>\n"
     << "<div class=\"wide\"><svg viewBox=\"0 0 900 450\" role=\"img\" "
        "aria-label=\"roofline plot\" font-family=\"sans-serif\" "
        "font-size=\"13\">\n";
  for (double e = x0; e <= x1; ++e) {
    double x = px(std::pow(10, e));
    os << formatv("<line x1=\"{0}\" x2=\"{0}\" y1=\"{1}\" y2=\"{2}\" "
                  "stroke=\"#e3e7ee\"/><text x=\"{0}\" y=\"{3}\" "
                  "text-anchor=\"middle\" fill=\"#5b6475\">{4}</text>\n",
                  x, kTop, kBottom, kBottom + 18,
                  e < 0 ? "0." + std::string(size_t(-e - 1), '0') + "1"
                        : formatv("{0:F0}", std::pow(10, e)).str());
  }
  for (double e = y0; e <= y1; ++e) {
    double y = py(std::pow(10, e));
    std::string label = operations(std::pow(10, e) * 1.0001);
    os << formatv("<line x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\" "
                  "stroke=\"#e3e7ee\"/><text x=\"{3}\" y=\"{4}\" "
                  "text-anchor=\"end\" fill=\"#5b6475\">{5}/s</text>\n",
                  kLeft, kRight, y, kLeft - 6, y + 4,
                  StringRef(label).contains(".0 ")
                      ? label.substr(0, label.find('.')) +
                            label.substr(label.find(' '))
                      : label);
  }
  os << formatv("<text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\" "
                "fill=\"#1c2330\">FLOP for each byte moved</text>\n",
                (kLeft + kRight) / 2, kBottom + 40);
  double start = std::max(std::pow(10, x0),
                          std::pow(10, y0) / what.device.bandwidth);
  os << formatv("<polyline fill=\"none\" stroke=\"#1c2330\" "
                "stroke-width=\"2.5\" points=\"{0},{1} {2},{3} {4},{3}\"/>\n",
                px(start), py(start * what.device.bandwidth), px(ridge),
                py(peak), kRight);
  os << formatv("<line x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\" "
                "stroke=\"#1c2330\" stroke-dasharray=\"6 5\"/>\n",
                px(what.device.vector / what.device.bandwidth), kRight,
                py(what.device.vector));
  for (const Dot &dot : dots) {
    double all = 0;
    for (const PhaseCost &phase : what.phases)
      if ((phase.name == "decode") == dot.decode)
        all = phase.total.seconds;
    double radius = 4 + 18 * std::sqrt(dot.group->seconds / all);
    double x = px(dot.x), y = py(dot.y);
    StringRef colour = colourOf(dot.group->name);
    if (dot.decode)
      os << formatv("<circle cx=\"{0}\" cy=\"{1}\" r=\"{2}\" ", x, y, radius);
    else
      os << formatv("<rect x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{2}\" ",
                    x - radius * .85, y - radius * .85, radius * 1.7);
    os << formatv("fill=\"{0}\" fill-opacity=\"0.75\" stroke=\"#fff\"><title>"
                  "{1}, {2}: {3}, {4}, {5} bound</title></{6}>\n",
                  colour, safe(dot.group->name),
                  dot.decode ? "decode" : "prefill",
                  operations(dot.group->cost.flops()),
                  duration(dot.group->seconds), boundName(dot.group->bound()),
                  dot.decode ? "circle" : "rect");
  }
  os << "</svg></div>\n";
  key();
}

void Page::key() {
  os << "<div class=\"key\">";
  for (const std::string &name : named)
    os << "<span><i style=\"background:" << colourOf(name) << "\"></i>"
       << safe(name) << "</span>";
  os << "<span><i style=\"background:" << kColours[kNamed]
     << "\"></i>everything else</span></div>\n";
}

void Page::bar(StringRef title, const PhaseCost &phase,
               function_ref<double(const CostGroup &)> value,
               function_ref<std::string(double)> show) {
  double all = 0, rest = 0;
  for (const CostGroup &group : phase.byName)
    all += value(group);
  if (all <= 0)
    return;
  os << formatv("<div class=\"soft\">{0}: {1}</div><div class=\"bar\">", title,
                show(all));
  auto piece = [&](double part, StringRef colour, StringRef name) {
    if (part > 0)
      os << formatv("<i style=\"width:{0:F3}%;background:{1}\" title=\"{2}: "
                    "{3}, {4:F1} %\"></i>",
                    100 * part / all, colour, safe(name), show(part),
                    100 * part / all);
  };
  for (const std::string &name : named)
    for (const CostGroup &group : phase.byName)
      if (group.name == name)
        piece(value(group), colourOf(name), name);
  for (const CostGroup &group : phase.byName)
    if (!llvm::is_contained(named, group.name))
      rest += value(group);
  piece(rest, kColours[kNamed], "everything else");
  os << "</div>\n";
}

void Page::bars() {
  os << "<h2>Where time, arithmetic and bytes go</h2>\n"
     << "<p>Each bar is a whole pass, divided among its kinds of operations in "
        "the same colours. <i>experts</i> are the many small networks of which "
        "a few work on each token; <i>linear</i> are products with weights; "
        "<i>attention</i> looks back over the text, by way of an index that "
        "finds where to look; <i>hyper_connection</i> mixes what goes from "
        "layer to layer. What is called <i>fused</i> is a group of operations "
        "that share kernels.</p>\n";
  key();
  for (const PhaseCost &phase : what.phases) {
    os << "<h3>" << phase.name << "</h3>\n";
    bar("time", phase, [](const CostGroup &g) { return g.seconds; }, duration);
    bar("arithmetic", phase, [](const CostGroup &g) { return g.cost.flops(); },
        operations);
    bar("bytes", phase, [](const CostGroup &g) { return g.cost.bytes(); },
        size);
  }
}

void Page::phaseTable(const PhaseCost &phase) {
  const Workload &w = phase.workload;
  os << formatv("<h3>{0}: {1} tokens of each of {2} sequences, in {3} "
                "steps</h3>\n<div class=\"wide\"><table><tr><th>operation"
                "</th><th>number</th><th>kernels</th><th>arithmetic</th>"
                "<th>weights</th><th>cache</th><th>activations</th>"
                "<th>time</th><th>share</th><th>bound</th></tr>\n",
                phase.name, w.count, w.sequences, w.steps);
  auto row = [&](const CostGroup &group) {
    os << formatv("<tr><td>{0}</td><td>{1}</td><td>{2:F0}</td><td>{3}</td>"
                  "<td>{4}</td><td>{5}</td><td>{6}</td><td>{7}</td>"
                  "<td>{8:F1} %</td><td>{9}</td></tr>\n",
                  safe(group.name), group.operations, group.kernels,
                  operations(group.cost.flops()), size(group.cost.weightBytes),
                  size(group.cost.cacheReadBytes +
                       group.cost.cacheWrittenBytes),
                  size(group.cost.activationBytes), duration(group.seconds),
                  100 * group.seconds / phase.total.seconds,
                  boundName(group.bound()));
  };
  for (const CostGroup &group : phase.byName)
    row(group);
  row(phase.total);
  os << "</table></div>\n";
}

void Page::kernels() {
  os << "<h2>Kernels before and after fusion</h2>\n<p>Fusion puts operations "
        "that follow each other into one kernel, so that what one hands to the "
        "next need not go through memory. Layers differ in how they look back: "
        "at a window of recent tokens only, at blocks of the whole text chosen "
        "for each token (sparse), or at all blocks of a coarser summary.</p>\n"
     << "<div class=\"wide\"><table><tr><th>kind of layer</th><th>layers</th>"
        "<th>kernels a layer, unfused</th><th>fused</th><th>bytes written, "
        "unfused</th><th>fused</th></tr>\n";
  for (const KindRow &row : what.kinds)
    os << formatv("<tr><td>{0}</td><td>{1}</td><td>{2}</td><td>{3}</td><td>{4}"
                  "</td><td>{5}</td></tr>\n",
                  safe(row.kind), row.layers, row.before.kernels,
                  row.after.kernels, size(row.before.bytes),
                  size(row.after.bytes));
  os << "</table></div>\n";
}

void Page::tensors(StringRef title, ArrayRef<TensorGroup> groups) {
  if (groups.empty())
    return;
  os << "<details><summary>" << title << " (" << groups.size()
     << " kinds)</summary><div class=\"wide\"><table><tr><th>tensors</th>"
        "<th>number</th><th>type and shape</th><th>bytes</th><th "
        "class=\"left\">read by</th></tr>\n";
  for (const TensorGroup &group : groups) {
    std::string readers;
    for (const std::string &kernel : group.kernels)
      readers += (readers.empty() ? "" : "<br>") + safe(kernel);
    os << formatv("<tr><td class=\"code\">{0}</td><td>{1}</td><td>{2}</td>"
                  "<td>{3}</td><td class=\"left code\">{4}</td></tr>\n",
                  safe(group.pattern), group.count, safe(group.type),
                  size(group.bytes), readers);
  }
  os << "</table></div></details>\n";
}

std::string Page::build() {
  // The operations that take most of either phase get colours of their own.
  for (size_t i = 0; named.size() < kNamed; ++i) {
    bool any = false;
    for (const PhaseCost &phase : what.phases)
      if (i < phase.byName.size()) {
        any = true;
        const std::string &name = phase.byName[i].name;
        if (named.size() < kNamed && !llvm::is_contained(named, name))
          named.push_back(name);
      }
    if (!any)
      break;
  }
  head();
  cards();
  roofline();
  bars();
  os << "<h2>By operation</h2>\n";
  for (const PhaseCost &phase : what.phases)
    phaseTable(phase);
  kernels();
  os << "<h2>Where each tensor went</h2>\n<p>The tensors of the checkpoint, "
        "those that differ in numbers only as one row, and the kernels that "
        "read them.</p>\n";
  tensors("Tensors in use", what.tensors);
  tensors("Tensors left out", what.leftOut);
  os << "<p class=\"soft\">Counted from the compiled module, not measured. A "
        "multiply-add is two FLOP; bytes are the least that must move; of the "
        "experts, as many are read as a step is expected to choose.</p>\n"
        "</body></html>\n";
  return std::move(text);
}

} // namespace

std::string explanationPage(const Explanation &what) {
  return Page(what).build();
}

} // namespace fathom
