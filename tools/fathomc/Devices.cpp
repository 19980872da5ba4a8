// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tools/fathomc/Devices.h"

#include "llvm/ADT/STLExtras.h"

#include <vector>

using namespace llvm;

namespace fathom {

constexpr uint64_t kGB = 1000 * 1000 * 1000;

/// A server processor: eight channels of DDR5-4800 and 56 cores that compute
/// in f32 vectors of 16, which is what this compiler's kernels do whatever the
/// weights are.
static Device server(std::string name, std::string description, uint64_t memory,
                     int sockets = 1, std::string target = "cpu") {
  double flops = 7e12 * sockets;
  return {std::move(name),
          std::move(description),
          memory,
          307e9 * sockets,
          flops,
          flops,
          flops,
          flops,
          3e-6,
          std::move(target)};
}

ArrayRef<Device> devices() {
  static const std::vector<Device> table = {
      {"cpu-64gb", "desktop processor, two channels of DDR5", 64 * kGB, 80e9,
       1.5e12, 1.5e12, 1.5e12, 1.5e12, 3e-6, "cpu"},
      {"cpu-128gb", "desktop processor, two channels of DDR5", 128 * kGB, 80e9,
       1.5e12, 1.5e12, 1.5e12, 1.5e12, 3e-6, "cpu"},
      server("cpu-256gb", "server, one socket, eight channels of DDR5",
             256 * kGB),
      server("cpu-512gb", "server, one socket, eight channels of DDR5",
             512 * kGB),
      server("cpu-1tb", "server, one socket, eight channels of DDR5",
             1000 * kGB),
      server("cpu-2tb", "server, two sockets, sixteen channels of DDR5",
             2000 * kGB, 2),
      {"a100-80gb", "NVIDIA A100 SXM; no FP8", 80 * kGB, 2.039e12, 312e12,
       312e12, 312e12, 19.5e12, 3e-6, "cuda:sm_80"},
      {"h100", "NVIDIA H100 SXM", 80 * kGB, 3.35e12, 989e12, 1979e12, 1979e12,
       67e12, 3e-6, "cuda:sm_90"},
      {"h200", "NVIDIA H200 SXM", 141 * kGB, 4.8e12, 989e12, 1979e12, 1979e12,
       67e12, 3e-6, "cuda:sm_90"},
      {"b200", "NVIDIA B200 SXM", 180 * kGB, 8e12, 2250e12, 4500e12, 9000e12,
       75e12, 3e-6, "cuda:sm_100"},
      {"rtx-pro-6000", "NVIDIA RTX PRO 6000 Blackwell", 96 * kGB, 1.792e12,
       500e12, 1000e12, 2000e12, 120e12, 3e-6, "cuda:sm_120"},
      {"910b", "Huawei Ascend 910B3 (A2); no FP8", 64 * kGB, 1.6e12, 313e12,
       313e12, 313e12, 10e12, 5e-6, "ascend:910b"},
      {"a3", "Huawei Ascend 910C (A3), both dies; no FP8", 128 * kGB, 3.2e12,
       752e12, 752e12, 752e12, 20e12, 5e-6, "ascend:a3"},
      {"950pr", "Huawei Ascend 950PR", 128 * kGB, 1.6e12, 500e12, 1000e12,
       2000e12, 20e12, 5e-6, "ascend:950"},
      {"950dt", "Huawei Ascend 950DT", 144 * kGB, 4e12, 500e12, 1000e12,
       2000e12, 20e12, 5e-6, "ascend:950"},
  };
  return table;
}

std::optional<Device> findDevice(StringRef text) {
  std::string name = text.lower();
  for (const Device &device : devices())
    if (device.name == name)
      return device;
  StringRef rest = name;
  double number = 0;
  size_t digits = rest.find_first_not_of("0123456789.");
  if (digits == 0 || rest.take_front(digits).getAsDouble(number))
    return std::nullopt;
  StringRef unit = digits == StringRef::npos ? "" : rest.drop_front(digits);
  constexpr std::pair<StringLiteral, double> units[] = {
      {"b", 1},    {"mb", 1e6},     {"gb", 1e9},       {"tb", 1e12},
      {"m", 1e6},  {"g", 1e9},      {"t", 1e12},       {"mib", 1048576.0},
      {"gib", 1073741824.0}, {"tib", 1099511627776.0}, {"", 1}};
  for (const auto &[suffix, scale] : units)
    if (unit == suffix && number > 0 && number * scale < 1e18)
      return server(name, "a server processor with this much memory",
                    static_cast<uint64_t>(number * scale), /*sockets=*/1,
                    /*target=*/"");
  return std::nullopt;
}

std::string targetFor(StringRef device) {
  std::optional<Device> found = findDevice(device);
  return found && !found->target.empty() ? found->target : "cpu";
}

Device deviceFor(StringRef target, ArrayRef<std::string> levels) {
  const Device *any = nullptr;
  if (target != "cpu")
    for (const Device &device : devices()) {
      auto [name, level] = StringRef(device.target).split(':');
      if (name != target)
        continue;
      if (is_contained(levels, level))
        return device;
      any = any ? any : &device;
    }
  return any ? *any : *findDevice("cpu-512gb");
}

std::string deviceNames() {
  std::string names;
  for (const Device &device : devices())
    names += (names.empty() ? "" : ", ") + device.name;
  return names;
}

} // namespace fathom
