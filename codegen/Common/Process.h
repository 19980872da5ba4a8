// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Vendors' tools as child processes: they may be missing, refuse, die or hang,
// and none of that may take the compiler along. Threads may call at once.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>

namespace fathom {

/// How long a program may run, in seconds: by the clock, and of processor time,
/// which does not depend on what else the machine does. Processor time is that
/// of the program and its children; 0 is no limit.
struct TimeLimit {
  unsigned clock;
  unsigned processor;
  TimeLimit(unsigned clock, unsigned processor = 0)
      : clock(clock), processor(processor) {}
};

enum class ToolEnd {
  Good,
  // Its own affair: the same again would end the same way.
  Refused, // with a status that is not 0, or past the limit of processor time
  Crashed, // by a signal that it gave itself
  // The machine's, or the user's.
  Killed,      // by another's signal, such as the system's when memory is short
  Waiting,     // past the limit of the clock
  NotStarted,  // the program, or a library that it needs
  NoFiles,     // there is no place for what it says
  Interrupted, // we are to end, and so was it
};

struct ToolRun {
  ToolEnd end;
  /// What it said; after a failure the last line is how it ended.
  std::string output;
  bool good() const { return end == ToolEnd::Good; }
};

/// Runs a program in a process group of its own, of which nothing is left
/// afterwards. `folder`, if not empty, is where it puts temporary files.
ToolRun runTool(const std::string &program,
                llvm::ArrayRef<std::string> arguments, TimeLimit limit,
                const std::string &folder = "");

/// The same, once more if it died: memory may have been short for a moment.
ToolRun runToolTwice(const std::string &program,
                     llvm::ArrayRef<std::string> arguments, TimeLimit limit,
                     const std::string &folder);

/// While one lives, a signal that asks us to end (SIGINT, SIGTERM, SIGHUP) ends
/// the tools that run, and waits until the last one is gone: whoever holds one
/// can tidy up. It stands before what is to be tidied up.
class Interruptible {
public:
  Interruptible();
  ~Interruptible();
  Interruptible(const Interruptible &) = delete;
  Interruptible &operator=(const Interruptible &) = delete;
  static bool interrupted();
};

/// Whether a message of a tool, or of a library that writes files, tells of
/// what the machine lacks or forbids.
bool tellsOfLack(llvm::StringRef text);

/// How often the system ended a process for want of memory, from the text of
/// /proc/vmstat.
uint64_t memoryKills(llvm::StringRef vmstat);

/// `path`/name, or `path` itself if it is a program; empty: neither.
std::string programIn(llvm::StringRef path, llvm::StringRef name);

/// The last line of what a tool that failed said, and how it ended.
std::string lastWords(llvm::StringRef output);

/// "" where it cannot be read.
std::string readBytes(const std::string &path);
/// False: no space, no permission.
bool writeBytes(const std::string &path, llvm::StringRef bytes);

} // namespace fathom
