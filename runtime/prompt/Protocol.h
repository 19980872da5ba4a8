// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The protocol strings of DeepSeek-V4, letter by letter: a model that was
// trained on them understands no others. Their source is the encoder that
// DeepSeek publishes with the checkpoints (encoding/encoding_dsv4.py of
// DeepSeek-V4-Pro and of the 0731 revision, MIT licence), and for what only
// the service has, DeepSeek's deepseek-recipe 0.2.0 (MIT licence).
#pragma once

#include <string_view>

namespace fathom::rt::protocol {

constexpr std::string_view kBegin = "<｜begin▁of▁sentence｜>";
constexpr std::string_view kEnd = "<｜end▁of▁sentence｜>";
constexpr std::string_view kUser = "<｜User｜>";
constexpr std::string_view kAssistant = "<｜Assistant｜>";
constexpr std::string_view kReminder = "<｜latest_reminder｜>";
constexpr std::string_view kThink = "<think>";
constexpr std::string_view kThinkEnd = "</think>";
constexpr std::string_view kDsml = "｜DSML｜";

struct Task {
  std::string_view name, token;
};
constexpr Task kTasks[] = {
    {"action", "<｜action｜>"},       {"query", "<｜query｜>"},
    {"authority", "<｜authority｜>"}, {"domain", "<｜domain｜>"},
    {"title", "<｜title｜>"},         {"read_url", "<｜read_url｜>"}};

/// "max" of the preview, "high" of 0731.
constexpr std::string_view kAbsoluteMaximum =
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose "
    "the problem to resolve the root cause, rigorously stress-testing your "
    "logic against all potential paths, edge cases, and adversarial "
    "scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every "
    "intermediate step, considered alternative, and rejected hypothesis to "
    "ensure absolutely no assumption is left unchecked.\n\n";

/// "max" of 0731.
constexpr std::string_view kBeyondMaximum =
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and "
    "uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely "
    "nothing to chance: exhaustively decompose the problem into its most "
    "fundamental components, trace every causal chain to its root, and resolve "
    "the underlying cause rather than any surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution "
    "from multiple angles and are certain that no assumption remains unchecked "
    "and no error remains undiscovered.\n\n";

/// What tools are, around their schemas. {D}, {T} and {E} stand for the tokens
/// ｜DSML｜, <think> and </think>, {S} for the schemas.
constexpr std::string_view kTools =
    R"(## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<{D}tool_calls>" block like the following:

<{D}tool_calls>
<{D}invoke name="$TOOL_NAME">
<{D}parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</{D}parameter>
...
</{D}invoke>
<{D}invoke name="$TOOL_NAME2">
...
</{D}invoke>
</{D}tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by {T}), you MUST output your complete reasoning inside {T}...{E} BEFORE any tool calls or final response.

Otherwise, output directly after {E} with tool calls or final response.

### Available Tool Schemas

{S}

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
)";

constexpr std::string_view kResponseFormat =
    "\n\n## Response Format:\n\nYou MUST strictly adhere to the following "
    "schema to reply:\n";
/// Only deepseek-recipe has this.
constexpr std::string_view kJsonObject =
    "\n\nYou are a helpful assistant designed to output JSON.\n## Response "
    "Format:\n\nReply with JSON object ONLY.";

} // namespace fathom::rt::protocol
