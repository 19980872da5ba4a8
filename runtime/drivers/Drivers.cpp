// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/drivers/Drivers.h"

#include "runtime/drivers/ascend/AscendDriver.h"
#include "runtime/drivers/cuda/CudaDriver.h"
#include "runtime/drivers/emulated/EmulatedDriver.h"
#include "runtime/drivers/host/HostDriver.h"

namespace fathom::rt {

namespace {

const DriverKind kinds[] = {
    {"host", "cpu", HostDriver::open},
    {"cuda", "cuda", CudaDriver::open},
    {"ascend", "ascend", AscendDriver::open},
    {"emulated", "cpu", EmulatedDriver::open},
};

} // namespace

const DriverKind *findDriver(const std::string &name) {
  for (const DriverKind &kind : kinds)
    if (name == kind.name)
      return &kind;
  return nullptr;
}

const DriverKind *defaultDriver(const std::string &target) {
  for (const DriverKind &kind : kinds)
    if (target == kind.target)
      return &kind;
  return nullptr;
}

std::string driverNames() {
  std::string names;
  for (const DriverKind &kind : kinds)
    names += (names.empty() ? "" : ", ") + std::string(kind.name);
  return names;
}

} // namespace fathom::rt
