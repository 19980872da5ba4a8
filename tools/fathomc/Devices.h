// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Machines that a plan is held against and times are predicted for: what their
// makers publish, dense arithmetic, per device.
#ifndef FATHOM_TOOLS_FATHOMC_DEVICES_H
#define FATHOM_TOOLS_FATHOMC_DEVICES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <string>

namespace fathom {

struct Device {
  std::string name, description;
  uint64_t memory = 0;     // bytes
  double bandwidth = 0;    // of that memory, bytes per second
  // Floating-point operations per second with weights of this type; a device
  // without a format computes in the next wider one that it has.
  double bf16 = 0, fp8 = 0, fp4 = 0;
  double vector = 0;       // f32 outside of matrix units
  double launchSeconds = 0; // from one kernel to the next
  std::string target;       // as --target has it; of a size of memory: empty
};

llvm::ArrayRef<Device> devices();

/// A device by its name, or, for a size of memory such as "96GB", a server
/// processor with that much. Nothing where it is neither.
std::optional<Device> findDevice(llvm::StringRef text);

/// What to compile for where the device alone is named; cpu for what is not in
/// the table.
std::string targetFor(llvm::StringRef device);

/// What to predict times for where the target alone is named: a device that one
/// of the levels is for, else one that any level of the target is for.
Device deviceFor(llvm::StringRef target, llvm::ArrayRef<std::string> levels);

/// "cpu-64gb, cpu-128gb, ..."
std::string deviceNames();

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOMC_DEVICES_H
