// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

namespace fathom::fuzz {

/// Set by a target that has accepted its input: what a replay demands of seeds
/// whose name begins with "good-". Others may be refused.
inline bool accepted = false;

} // namespace fathom::fuzz
