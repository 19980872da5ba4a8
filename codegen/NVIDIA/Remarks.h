// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the assembler says of the choices it made, of which the exit status says
// nothing: it falls back to slower instructions without a word.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <map>
#include <string>
#include <vector>

namespace fathom::nvidia {

struct Remark {
  std::string kind; // "Passed", "Missed", "Failure", "Analysis"
  std::string name; // "RemarkTensorCoreMMA"
  std::map<std::string, std::string>
      args; // "Instruction" -> "Tensor-core SM90"
  const std::string &arg(const std::string &name) const;
};

/// The documents of --remark-format=yaml. What does not look like one of them
/// is passed over.
std::vector<Remark> parseRemarks(llvm::StringRef yaml);

/// Those that tell of slower code, one line each, equal ones counted:
/// "matrix product on FMA instructions, 16x16x64 (2 times)". `number`: of the
/// architecture. The assembler tells of the first case of a kind in a kernel
/// only, so that no remark does not mean no such case.
std::vector<std::string> notices(llvm::ArrayRef<Remark> remarks, int number);

} // namespace fathom::nvidia
