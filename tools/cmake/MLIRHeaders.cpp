// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For the target that has the precompiled header.
