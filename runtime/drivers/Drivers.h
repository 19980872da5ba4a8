// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The drivers that there are. A new one adds its row to the table in
// Drivers.cpp and nothing elsewhere.
#pragma once

#include "runtime/drivers/host/Placement.h"
#include "runtime/src/Driver.h"

namespace fathom::rt {

struct DriverOptions {
  int threads = 1; // of the host, where the driver computes there
  Placement placement;
  int device = 0; // of those that the driver finds
};

struct DriverKind {
  const char *name;
  /// Which of a package's code it runs: that of the target "cpu", "cuda", ...
  const char *target;
  Status (*open)(const DriverOptions &options, Driver &out);
};

/// The driver with this name; null: there is none.
const DriverKind *findDriver(const std::string &name);
/// The one that runs packages of a target unless another is asked for; null:
/// this runtime has none.
const DriverKind *defaultDriver(const std::string &target);
/// "host, cuda, ascend, emulated"
std::string driverNames();

} // namespace fathom::rt
