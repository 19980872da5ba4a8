// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// llvm::json with what hostile input needs on top: a bound on nesting (the
// parser recurses) and an error for repeated keys (it keeps the last silently).
#ifndef FATHOM_FRONTENDS_SUPPORT_STRICTJSON_H
#define FATHOM_FRONTENDS_SUPPORT_STRICTJSON_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"

namespace fathom {

/// Parses `text`, which must be one JSON object. Every error is a BadFile
/// FrontendError that names `where` (already quoted).
llvm::Expected<llvm::json::Object> parseJsonObject(llvm::StringRef text,
                                                   llvm::StringRef where);

/// What kind of value this is, for messages: "a string", "a number", ...
llvm::StringRef describeKind(const llvm::json::Value &value);

} // namespace fathom

#endif // FATHOM_FRONTENDS_SUPPORT_STRICTJSON_H
