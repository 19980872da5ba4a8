// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Vendors' tools as child processes: they may be missing, refuse, die or hang,
// and none of that may take the compiler along. Threads may call at once.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <string>

namespace fathom {

/// How long a program may run, in seconds: by the clock, and of processor time,
/// which does not depend on what else the machine does. Processor time is the
/// program's own, without its children's; 0 is no limit.
struct TimeLimit {
  unsigned clock;
  unsigned processor;
  TimeLimit(unsigned clock, unsigned processor = 0)
      : clock(clock), processor(processor) {}
};

/// Runs a program with its output in a string. False: it failed, and `output`
/// ends with how.
bool runTool(const std::string &program, llvm::ArrayRef<std::string> arguments,
             TimeLimit limit, std::string &output);

/// `path`/name, or `path` itself if it is a program; empty: neither.
std::string programIn(llvm::StringRef path, llvm::StringRef name);

/// The last line of what a tool that failed said, and how it ended.
std::string lastWords(llvm::StringRef output);

/// "" where it cannot be read.
std::string readBytes(const std::string &path);
/// False: no space, no permission.
bool writeBytes(const std::string &path, llvm::StringRef bytes);

} // namespace fathom
