// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Gives the interpreter the tensors of a checkpoint directory, read when they
// are asked for.
#ifndef FATHOM_TOOLS_FATHOM_TRANSLATE_CHECKPOINTPARAMETERS_H
#define FATHOM_TOOLS_FATHOM_TRANSLATE_CHECKPOINTPARAMETERS_H

#include "dialects/DSV4/Reference/Interpreter.h"
#include "frontends/Checkpoint/Safetensors.h"

namespace fathom {

class CheckpointParameters : public ParameterSource {
public:
  explicit CheckpointParameters(const Checkpoint &checkpoint)
      : checkpoint(checkpoint) {}
  /// Errors: no such tensor, a type that the model does not use, reading.
  llvm::Expected<ref::HostTensor> load(llvm::StringRef name) override;

private:
  const Checkpoint &checkpoint;
};

} // namespace fathom

#endif // FATHOM_TOOLS_FATHOM_TRANSLATE_CHECKPOINTPARAMETERS_H
